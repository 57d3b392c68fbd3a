"""The most memory of a training step, beside PyTorch: each engine in a process of its own.

    python -m benchmarks.memory

Part of `python -m benchmarks`, which puts the table into docs/.
"""
import argparse

from benchmarks.alone import alone, resident_bytes

STEPS = {  # name: (options of cifar_net, image size, batch size)
    "ResNet-20, batch 128, 32 × 32": ({"depth": 20}, 32, 128),
    "ResNet-20, batch 32, 32 × 32": ({"depth": 20}, 32, 32),
    "ResNet-56, batch 128, 32 × 32": ({"depth": 56}, 32, 128),
}
RUNS = {  # name: (engine, further options of cifar_net)
    "minires": ("minires", {}),
    "minires, each block a checkpoint": ("minires", {"checkpoint_every": 1}),
    "PyTorch": ("PyTorch", {}),
    "PyTorch, channels last": ("PyTorch, channels last", {}),
}
REPEATS = 3  # steps: the first makes gradients and velocities, which the second holds from its start
MB = 1e6


def measure(threads: int = 1, quick: bool = False) -> dict:
    """{step: {run: {"before": bytes, "peak": bytes}}}: resident after the imports, and at most during three steps."""
    names = list(STEPS)[:1] if quick else list(STEPS)
    return {name: {run: alone(train, {"name": name, "run": run, "threads": threads}, threads) for run in RUNS}
            for name in names}


def train(name, run, threads) -> dict:
    """Three steps in this process; returns what was resident before the net was made."""
    from benchmarks.peers import load_engines
    from benchmarks.training_step import steps, torch_net

    engine, further_options = RUNS[run]
    options, image_size, batch_size = STEPS[name]
    engines, missing = load_engines([engine])
    if missing:
        raise RuntimeError(f"{engine} cannot be used: {missing[engine]}")
    engines[engine].use_threads(threads)
    if engine != "minires":
        torch_net("cifar_net", options)  # imports what it needs
    before = resident_bytes()
    step = steps("cifar_net", options | further_options, image_size, batch_size, engines)[engine]
    for _ in range(REPEATS):
        step()
    return {"before": before}


def growth(numbers) -> int:
    """What the steps took beyond the imports, in bytes."""
    return numbers["peak"] - numbers["before"]


def section(measured, image=None) -> str:
    """The table and how to read it, as Markdown."""
    from minires.text.tables import markdown_table  # here, so that the processes of the other engines do not import minires

    runs = list(next(iter(measured.values())))
    lines = ["### Memory", "",
             f"The most memory that {REPEATS} training steps took beyond what the imports had taken, in MB, and in "
             "parentheses the peak of the whole process. After the colon stands what minires took over what this one took. "
             "Each figure is of a process of its own.", ""]
    rows = []
    for name, by_run in measured.items():
        ours = growth(by_run["minires"])
        cells = [f"{growth(by_run[run]) / MB:.0f} ({by_run[run]['peak'] / MB:.0f})"
                 + ("" if run == "minires" else f": **{ours / growth(by_run[run]):.2f}**") for run in runs]
        rows.append([name, *cells])
    return "\n".join([*lines, *markdown_table(["training step", *runs], rows)])


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Peak memory beside PyTorch.")
    parser.add_argument("--threads", type=int, default=1, help="of every engine (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the first step only")
    options = parser.parse_args()
    print(section(measure(options.threads, options.quick)))


if __name__ == "__main__":
    main()
