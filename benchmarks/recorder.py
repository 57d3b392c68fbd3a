"""What the recorder costs: a training step of ResNet-20 with and without it, in minires and in PyTorch.

    python -m benchmarks.recorder

The two steps of an engine take turns in one process, each with a net of its own.
"""
import argparse
import contextlib

import minires as mr
from benchmarks.peers import load_engines
from benchmarks.timing import Candidate, interleaved, ratio_of_medians, ratio_of_minima
from benchmarks.training_step import RESNET20, steps
from minires.text.tables import markdown_table

ENGINES = "minires", "PyTorch"
BATCHES = 128, 32
KINDS = {  # name: what the recorder is asked for
    "norms": {},
    "norms, activations": {"activations": True},
    "norms, shortcut flow": {"shortcut_flow": True},
    "norms, histograms": {"histograms": True},
}


def measure(name: str, batch: int, threads: int, rounds: int) -> dict:
    """{kind: (ms with, ms without, ratio of minima, ratio of medians)} of an engine's step, for each kind of recording."""
    engines, missing = load_engines([name])
    if missing:
        raise RuntimeError(f"{name} cannot be used: {missing[name]}")
    engines[name].use_threads(threads)
    with contextlib.ExitStack() as recordings:
        candidates = {}
        for kind, options in ({"none": None} | KINDS).items():
            step = steps("cifar_net", RESNET20, 32, batch, engines)[name]
            if options is not None:
                recordings.enter_context(mr.record_gradients(step.model, step.optimizer, **options))
            candidates[kind] = Candidate({"step": step})
        seconds = {kind: stages["step"] for kind, stages in interleaved(candidates, rounds, warm_up=2).items()}
    without = seconds.pop("none")
    return {kind: (1e3 * with_it.min(), 1e3 * without.min(), ratio_of_minima(with_it, without),
                   ratio_of_medians(with_it, without)) for kind, with_it in seconds.items()}


def table(measured: dict) -> str:
    """{(engine, batch): measured} as Markdown."""
    head = ["engine", "batch", "recorded", "with, ms", "without, ms", "ratio of minima", "of medians"]
    rows = [[engine, str(batch), kind, f"{with_it:.1f}", f"{without:.1f}", f"**{minima:.3f}**", f"{medians:.3f}"]
            for (engine, batch), kinds in measured.items() for kind, (with_it, without, minima, medians) in kinds.items()]
    return "\n".join(markdown_table(head, rows))


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorder", description="What the recorder costs.")
    parser.add_argument("--threads", type=int, default=1, help="of every engine (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each step is timed (default: %(default)s)")
    options = parser.parse_args()
    print(table({(name, batch): measure(name, batch, options.threads, options.rounds)
                 for name in ENGINES for batch in BATCHES}))


if __name__ == "__main__":
    main()
