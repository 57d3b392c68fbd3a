"""`Results`: every time that was measured, in one JSON file, which is written again after each case."""
import json
import os
import re
from pathlib import Path

FORMAT = 1


class Results:
    """A run for each number of threads: what it was measured on, and its cases.

    Attributes:
        runs: {threads: {"environment": {name: text}, "missing": {engine: reason}, "cases": [case], "extra": {part: …}}}.
            A case is {"part", "name", "date", "quick", "operations", "seconds": {rival: {stage: [seconds]}}}. "extra" holds
            what the parts measure that are not races: memory, depth.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.runs = {}

    @classmethod
    def read(cls, path):
        """The results in a file; none where there is no file.

        Raises:
            ValueError: the file is not one of ours.
        """
        results = cls(path)
        if not results.path.exists():
            return results
        try:
            content = json.loads(results.path.read_text(encoding="utf-8"))
            known = content["format"] == FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{results.path} does not hold results of this benchmark: {error!r}. "
                             "Delete it, or name another folder with --out") from error
        if not known:
            raise ValueError(f"{results.path} has format {content['format']!r}, expected {FORMAT}: delete it, or name "
                             "another folder with --out")
        results.runs = {int(threads): run for threads, run in content["runs"].items()}
        return results

    def start(self, threads: int, environment: dict, missing: dict) -> bool:
        """Begin, or go on with, the run on so many threads.

        What was measured before on another machine or with other versions cannot stand in the same table: it is
        dropped. True where that happened.
        """
        before = self.runs.get(threads)
        dropped = before is not None and before["environment"] != environment
        if before is None or dropped:
            self.runs[threads] = {"environment": environment, "missing": missing, "cases": [], "extra": {}}
        self.runs[threads]["missing"] = missing
        return dropped

    def add(self, threads: int, case, seconds: dict, date: str, quick: bool):
        """Add what was measured of a case, in the place of an earlier measurement of it, and write the file."""
        entry = {"part": case.part, "name": case.name, "date": date, "quick": quick, "operations": case.operations,
                 "seconds": {rival: {stage: [float(f"{value:.6g}") for value in values] for stage, values in stages.items()}
                             for rival, stages in seconds.items()}}
        cases = self.runs[threads]["cases"]
        places = [i for i, other in enumerate(cases) if (other["part"], other["name"]) == (case.part, case.name)]
        if places:
            cases[places[0]] = entry
        else:
            cases.append(entry)
        self.write()

    def add_extra(self, threads: int, part: str, measured: dict, date: str, quick: bool):
        """Add what a part measured that is not a race, and write the file."""
        self.runs[threads]["extra"][part] = {"date": date, "quick": quick, "measured": measured}
        self.write()

    def write(self):
        """Write the file whole or not at all: an interrupted run leaves the last good one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": FORMAT, "runs": {str(threads): run for threads, run in sorted(self.runs.items())}}
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(to_json(content) + "\n", encoding="utf-8")
        os.replace(beside, self.path)


def to_json(content) -> str:
    """Indented JSON, but a list of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return re.sub(r"\[[\d\s.,e+-]+\]", lambda numbers: "[" + " ".join(numbers.group()[1:-1].split()) + "]", text)
