"""Speed beside PyTorch, in one process, threads pinned, taking turns.

    pip install -e ".[bench]"
    python -m benchmarks                 # one thread; --threads 2 for two

Run it from the root of the repository, on a quiet machine. Ratios are of minima: below 1 minires is faster.
"""
import argparse

import torch

from benchmarks import timing, training_step


def main():
    """Measure every step and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed beside PyTorch.")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and of PyTorch (default: %(default)s)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the steps whose name contains TEXT")
    options = parser.parse_args()
    names = [name for name in training_step.STEPS if options.only in name]
    if not names:
        parser.error(f"no step contains {options.only!r}: they are {'; '.join(training_step.STEPS)}")
    timing.pin_threads(options.threads)
    print(f"{timing.machine()}, PyTorch {torch.__version__}, {options.threads} thread(s)\n")
    print("| training step | minires, ms | PyTorch, ms | channels last, ms | ratio (min / median) | to channels last |")
    print("|---|---|---|---|---|---|")
    for name, seconds in training_step.measure(names):
        ours, torch_seconds, channels_last = seconds.values()
        ratios = [f"{ours.min() / torch_seconds.min():.2f} / {_median_ratio(ours, torch_seconds):.2f}",
                  f"{ours.min() / channels_last.min():.2f} / {_median_ratio(ours, channels_last):.2f}"]
        cells = [f"{1000 * values.min():.1f}" for values in seconds.values()]
        print(f"| {' | '.join([name, *cells, *ratios])} |", flush=True)
    print(f"\nimport minires: {training_step.import_seconds():.2f} s")


def _median_ratio(a, b):
    """The median of the ratios of neighbouring rounds, which a busy machine slows alike."""
    ratios = sorted(a / b)
    return ratios[len(ratios) // 2]


if __name__ == "__main__":
    main()
