"""Speed beside PyTorch and other engines, in one process, threads pinned, taking turns.

    pip install -e ".[bench]"
    python -m benchmarks                 # one thread; --threads 2 for two

Run it from the root of the repository, on a quiet machine. It writes docs/benchmarks.md and its figure, from
docs/benchmarks.json, which holds every time measured so far.
"""
import argparse
import sys
import time
from pathlib import Path

from benchmarks import environment, figure, ops, startup, tape, training_step
from benchmarks.page import extra_figure_name, extra_module, figure_name, page
from benchmarks.peers import load_engines
from benchmarks.results import Results
from benchmarks.tables import FIRST
from benchmarks.timing import ratio_of_minima

CASES = [*training_step.CASES, *tape.CASES, *ops.CASES, *startup.CASES]  # the ResNet-20 step is the one that is quoted
EXTRA_PARTS = ("memory", "depth")  # not races: modules with functions of their own
NEEDED = ("minires", "PyTorch", "PyTorch, channels last")


def main(argv=None) -> int:
    """Measure, store, and write page and figure; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    extra_parts = [part for part in EXTRA_PARTS if extra_module(part) is not None]
    chosen = [case for case in CASES if is_chosen(case, options)]
    extra_chosen = [part for part in extra_parts if not options.only or part in options.only]
    if not chosen and not extra_chosen:
        parser.error(f"no part or case matches {' '.join(options.only)}: --list shows them")
    if options.list:
        print("\n".join([f"{case.part}: {case.name}" for case in chosen] + extra_chosen))
        return 0
    out = options.out or Path("minires-output/benchmarks" if options.quick else "docs")
    try:
        results = Results.read(out / "benchmarks.json")
    except ValueError as error:
        parser.error(str(error))
    if options.report:
        write_report(results, out)
        return 0
    engines, missing = load_engines()
    absent = [name for name in NEEDED if name not in engines]
    if absent:
        parser.error(f'{absent[0]} cannot be used ({missing[absent[0]]}): pip install -e ".[bench]"')
    for name, reason in missing.items():
        say(f"without {name}: {reason}")
    if results.start(options.threads, environment.describe(engines), missing):
        say(f"{results.path}: the earlier results on {options.threads} thread(s) are of another machine or other versions, "
            "and are dropped")
    status = measure(chosen, extra_chosen, engines, options, results)
    write_report(results, out)
    return status


def measure(chosen, extra_chosen, engines, options, results) -> int:
    """Measure one case after the other and store each at once; returns 0, 1 where one failed, 130 after Ctrl-C."""
    status, start = 0, time.perf_counter()
    todo = [*chosen, *extra_chosen]
    for i, case in enumerate(todo, start=1):
        name = case if isinstance(case, str) else f"{case.part}: {case.name}"
        say(f"[{i}/{len(todo)}, {time.perf_counter() - start:.0f} s] {name}")
        try:
            if isinstance(case, str):
                measured = extra_module(case).measure(threads=options.threads, quick=options.quick)
                results.add_extra(options.threads, case, measured, environment.today(), options.quick)
            else:
                seconds = case.measure(engines, options.threads, options.quick)
                results.add(options.threads, case, seconds, environment.today(), options.quick)
                say(f"    {in_short(seconds)}")
        except KeyboardInterrupt:
            say(f"interrupted: {i - 1} of {len(todo)} are kept")
            return 130
        except Exception as error:
            say(f"    failed, and is left out: {type(error).__name__}: {error}")
            status = 1
    return status


def write_report(results, out):
    """Write the page, and the figures of each run, and say where they are."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmarks.md").write_text(page(results), encoding="utf-8")
    print(out / "benchmarks.md")
    for threads, run in results.runs.items():
        path = out / "images" / figure_name(threads)
        if figure.draw(run, threads, path):
            print(path)
        for part, stored in run["extra"].items():
            path = out / "images" / extra_figure_name(part, threads)
            if hasattr(extra_module(part), "draw"):
                path.parent.mkdir(parents=True, exist_ok=True)
                extra_module(part).draw(stored["measured"], path)
                print(path)


def in_short(seconds) -> str:
    """"minires 512 ms; PyTorch 0.97; …": minires's least time, and the ratio of minima to each rival."""
    total = {rival: sum(stages.values()) for rival, stages in seconds.items()}
    ratios = [f"{rival} {ratio_of_minima(total[FIRST], total[rival]):.2f}" for rival in total if rival != FIRST]
    return "; ".join([f"minires {1000 * min(total[FIRST]):.3g} ms", *ratios])


def is_chosen(case, options) -> bool:
    """Do the options ask for this case?"""
    matches = not options.only or any(word == case.part or word.casefold() in case.name.casefold() for word in options.only)
    return matches and (case.quick or not options.quick)


def say(text):
    """Progress, on the standard error stream."""
    print(text, file=sys.stderr, flush=True)


def positive(text) -> int:
    """A number of threads."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed beside PyTorch and other engines.")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD",
                        help=f"parts ({', '.join(dict.fromkeys(case.part for case in CASES))}, {', '.join(EXTRA_PARTS)}) or "
                             "words in the names of cases")
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: to see that all works")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of every rival (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder for page, figures and times (default: docs; with --quick minires-output/benchmarks)")
    parser.add_argument("--list", action="store_true", help="print the cases that would run, and measure nothing")
    parser.add_argument("--report", action="store_true",
                        help="write page and figures from the times stored, and measure nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
