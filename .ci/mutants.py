"""Change minires in one place, run the tests that reach this place, and see whether one of them notices.

    coverage run -m pytest && python .ci/mutants.py --sample 300      # needs: pip install -e ".[dev]"

Cosmic Ray makes the mutants, of everything in minires/ but the backward methods of ops, which tests/ops/test_mutations.py
has. The sample takes the places whose hashes are smallest, and one mutant of each: it stays the same while the code does,
and a smaller one is part of a larger. What no test can notice, or need not, is listed with its reason in
.ci/mutants_that_may_live.txt. The tests shall notice 97 % of all: exits with 1 if more of the sample live than such tests
leave alive in 99 samples of 100: more than 4 of 40, or than 16 of 300.
"""
import argparse
import ast
import contextlib
import hashlib
import math
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from coverage import CoverageData

REPOSITORY = Path(__file__).resolve().parents[1]
MAY_LIVE = Path(__file__).with_name("mutants_that_may_live.txt")
SHARE_ALIVE = 0.03
TIME_LIMIT = 900  # seconds for the tests of one mutant: one that never ends is noticed
# Of Cosmic Ray's operators, those after which a program does something else. Left out are <= in place of ==, bitwise ones in
# place of +, and the like, after which it does the same, or nothing at all.
OPERATORS = (
    "AddNot", "ExceptionReplacer", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop", "ReplaceAndWithOr",
    "ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ReplaceFalseWithTrue",
    "ReplaceTrueWithFalse", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_USub_UAdd",
    *(f"ReplaceBinaryOperator_{pair}" for pair in (
        "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul", "BitAnd_BitOr",
        "BitOr_BitAnd")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in (
        "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt",
        "GtE_Lt")),
)
# Numbers that only say how a figure looks are looked at; zip's strict=True is a check of what holds anyway; flush=True says
# when a line is seen.
LOOKS = ("figsize", "fontsize", "linewidth", "markersize", "markeredgewidth", "alpha", "dpi", "zorder", "color", "rotation",
         "bbox_to_anchor", "ncols", "pad", "labelpad", "hspace", "wspace", "strict", "flush")
NEED_TORCH = "torch_*.py"  # as do their tests, which are among those of parity
PLACEMENT = "minires/drawing/output/"  # where things stand on the paper: its arithmetic is looked at as well
NOT_JUDGES = ("tests/docs/test_step_through_a_gradient.py",)  # shows lines of the source, so it would notice any change


@dataclass(frozen=True)
class Mutant:
    file: str        # as in minires/ops/loss.py
    line: int
    operator: str    # of Cosmic Ray
    occurrence: int  # of the places in this file that the operator can change, this one
    before: str      # the line without its indentation
    after: str

    def __str__(self):
        return f"{self.file}: {self.before} -> {self.after}"


# ---- which mutants


def untouched_lines(source, file):
    """The lines of what is not mutated: backward methods of ops, and imports for types alone."""
    for node in ast.walk(ast.parse(source)):
        is_backward = isinstance(node, ast.FunctionDef) and node.name in ("backward", "plain_backward")
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if (is_backward and file.startswith("minires/ops/")) or is_for_types:
            yield from range(node.lineno, node.end_lineno + 1)


def untouched_parts(source):
    """Where annotations and arguments of `LOOKS` stand: ((line, column), (line, column)) of each."""
    for node in ast.walk(ast.parse(source)):
        looks = [node.value] if isinstance(node, ast.keyword) and node.arg in LOOKS else []
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None), *looks):
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def operator_of(name):
    """The operator of Cosmic Ray of this name."""
    return plugins.get_operator(f"core/{name}")()


def places(file):
    """{(start, end) of a place in this file: [(operator, occurrence), ...], the ways to change it}."""
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    lines_left_alone, parts_left_alone = set(untouched_lines(source, file)), list(untouched_parts(source))
    tree, found = get_ast(source), defaultdict(list)
    for name in OPERATORS:
        if file.startswith(PLACEMENT) and name.startswith(("NumberReplacer", "ReplaceBinaryOperator")):
            continue
        operator, occurrence = operator_of(name), 0
        for node in ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                is_left_alone = any(first <= start and end <= last for first, last in parts_left_alone)
                if start[0] not in lines_left_alone and not is_left_alone:
                    found[start, end].append((name, occurrence))
                occurrence += 1
    return found


def mutants_by_hash():
    """One mutant of each place, in the order of hashes: of the file, the line's text and where in the line the place is."""
    drawn = []
    for path in sorted(REPOSITORY.glob("minires/**/*.py")):
        file = path.relative_to(REPOSITORY).as_posix()
        if path.match(NEED_TORCH):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        seen = defaultdict(int)
        for (start, end), ways in sorted(places(file).items()):
            text = lines[start[0] - 1]
            words = f"{file}|{text.strip()}|{start[1] - len(text) + len(text.lstrip())}|{end[1]}"
            seen[words] += 1
            digest = hashlib.sha256(f"{words}|{seen[words]}".encode()).hexdigest()
            drawn.append((digest, file, start[0], *ways[int(digest, 16) % len(ways)]))
    for _, file, line, name, occurrence in sorted(drawn):
        mutant = changed(file, line, name, occurrence)
        if mutant is not None:
            yield mutant


def changed(file, line, name, occurrence):
    """The mutant, or None where it would be the same program."""
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    after = mutate_code(source, operator_of(name), occurrence)
    with contextlib.suppress(SyntaxError):
        if ast.dump(ast.parse(after)) == ast.dump(ast.parse(source)):
            return None
    before_lines, after_lines = source.splitlines(), after.splitlines()
    differing = [i for i, pair in enumerate(zip(before_lines, after_lines, strict=False)) if pair[0] != pair[1]]
    at = differing[0] if differing else line - 1
    return Mutant(file, line, name, occurrence, before_lines[at].strip(), after_lines[at].strip() if differing else "gone")


# ---- which tests judge it


def lines_that_use(mutant):
    """Its line; of decorators and the head of a function, which run at import, the lines of the body."""
    for node in ast.walk(ast.parse((REPOSITORY / mutant.file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *[decorator.lineno for decorator in node.decorator_list]])
            if first <= mutant.line < node.body[0].lineno:
                return range(node.body[0].lineno, node.end_lineno + 1)
    return [mutant.line]


class Judges:
    """The fast tests that run a line, from what `coverage run -m pytest` has written."""

    def __init__(self, data_file):
        self._data = CoverageData(basename=str(data_file))
        self._data.read()
        if not any(name.startswith("tests.") for name in self._data.measured_contexts()):
            sys.exit(f"{data_file} does not say which test ran which line: make it with coverage run -m pytest")
        self._tests = {file.relative_to(REPOSITORY).as_posix(): file for file in REPOSITORY.glob("tests/**/test_*.py")}

    def of(self, mutant):
        """Arguments for pytest: those nearest to the mutant's file first."""
        folder, name = mutant.file.removeprefix("minires/").rpartition("/")[::2]
        own = f"tests/{folder}/test_{name}".replace("//", "/")
        contexts_of = self._data.contexts_by_lineno(str(REPOSITORY / mutant.file))
        contexts = {context for line in lines_that_use(mutant) for context in contexts_of.get(line, [])}
        tests = {found for context in contexts if (found := self._file_and_test(context)) is not None}
        chosen = [f"{file}::{test}" for file, test in sorted(tests) if file not in (own, *NOT_JUDGES)]
        chosen.sort(key=lambda test: not test.startswith(f"tests/{folder}/"))
        if not chosen and own not in self._tests:  # what runs at import, or in another process
            chosen = [f"tests/{folder}" if (REPOSITORY / "tests" / folder).is_dir() else "tests/test_package.py"]
        return [own] * (own in self._tests) + chosen

    def _file_and_test(self, context):
        """("tests/ops/test_loss.py", "test_a") of "tests.ops.test_loss.test_a"; of a class, the class; None of no test."""
        parts = context.split(".")
        for end in range(len(parts) - 1, 0, -1):
            file = "/".join(parts[:end]) + ".py"
            if file in self._tests:
                return file, parts[end]
        return None  # a function of somebody else's that is called test…


def whole_files(tests):
    """The files that these tests stand in: what the fixture of a module runs counts for its first test only."""
    return list(dict.fromkeys(test.partition("::")[0] for test in tests))


def notices(mutant, tests, copy):
    """Whether one of these tests fails in this copy of the repository while the mutant is in it."""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    path.write_text(mutate_code(source, operator_of(mutant.operator), mutant.occurrence), encoding="utf-8")
    settings = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=copy, env=settings, timeout=TIME_LIMIT, capture_output=True, encoding="utf-8")
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(source, encoding="utf-8")
    if done.returncode == 4 and "not found" in done.stderr:  # pytest's word for a test that is not there
        sys.exit(done.stderr)
    return done.returncode != 0


# ---- all of them


def judged(mutants, judges, workers):
    """(mutant, whether it was noticed, seconds) of each, as they are ready."""
    copies = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        for i in range(workers):
            copies.put(Path(shutil.copytree(REPOSITORY, Path(folder) / str(i), ignore=shutil.ignore_patterns(
                ".?*", "venv", "build", "dist", "__pycache__", "*.egg-info", "minires-output"))))

        def judge(mutant):
            copy, start = copies.get(), time.perf_counter()
            try:
                tests = judges.of(mutant)
                noticed = notices(mutant, tests, copy) or notices(mutant, whole_files(tests), copy)
                return mutant, noticed, time.perf_counter() - start
            finally:
                copies.put(copy)

        for ended in as_completed([pool.submit(judge, mutant) for mutant in mutants]):
            yield ended.result()


def most_alive(sample):
    """The 99 % quantile of the number that live, where a share of SHARE_ALIVE of all does: a binomial distribution."""
    share = 0.0
    for alive in range(sample + 1):
        share += math.comb(sample, alive) * SHARE_ALIVE ** alive * (1 - SHARE_ALIVE) ** (sample - alive)
        if share >= 0.99:
            return alive
    return sample


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=300, help="how many mutants (default 300)")
    parser.add_argument("--skip", type=int, default=0, help="how many of them were judged before")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time (default 2)")
    parser.add_argument("--data-file", default=REPOSITORY / ".coverage", help="what coverage run has written")
    arguments = parser.parse_args()
    listed = MAY_LIVE.read_text(encoding="utf-8").splitlines()
    may_live = {line for line in listed if line and not line.startswith(("#", " "))}
    mutants = [mutant for mutant, _ in zip(mutants_by_hash(), range(arguments.sample), strict=False)][arguments.skip:]
    if not mutants:
        sys.exit("there is no mutant: nothing was tried")
    unlisted, tried = [], [mutant for mutant in mutants if str(mutant) not in may_live]  # no tests are run for the others
    for i, (mutant, noticed, seconds) in enumerate(judged(tried, Judges(arguments.data_file), arguments.workers), 1):
        print(f"{i:4}/{len(tried)} {'noticed' if noticed else 'ALIVE  '} {seconds:6.1f} s  {mutant}", flush=True)
        unlisted += [] if noticed else [str(mutant)]
    alive = unlisted + [str(mutant) for mutant in mutants if str(mutant) in may_live]
    noticed = len(mutants) - len(alive)
    print(f"{noticed} of {len(mutants)} mutants were noticed; {len(alive)} live, {len(unlisted)} of which are not listed")
    for line in unlisted:
        print(f"let a test notice it, or list it in {MAY_LIVE.name} with the reason:\n{line}")
    if len(alive) > most_alive(len(mutants)):
        sys.exit(f"more than {most_alive(len(mutants))} live, which tests that notice {1 - SHARE_ALIVE:.0%} seldom leave")


if __name__ == "__main__":
    main()
