"""Time and memory of a training step against depth, from 20 layers to 1202, with and without checkpoints.

    python -m benchmarks.depth                # --quick for the first depths only

Part of `python -m benchmarks`, which puts the table and the figure into docs/. Each point is measured in a process of its
own, so that its peak memory is its own.
"""
import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

import minires as mr
from benchmarks.alone import alone, resident_bytes
from minires.text.tables import markdown_table

DEPTHS = (20, 56, 110, 302, 602, 1202)
QUICK_DEPTHS = (20, 32, 56)
BATCH = 32
CHECKPOINT_EVERY = 10  # blocks; near the square root of the 200 blocks that each stage of ResNet-1202 has
LAYERS_IN_ALL = 800  # a depth is timed for as many steps as have so many layers together, and for two at least
LESSON_RUNS = (  # (name, options of cifar_net, learning rate)
    ("pre-activation", {"preactivation": True}, 0.1),
    ("original order", {"preactivation": False}, 0.01),
)
LESSON_STEPS, LESSON_BATCH, LESSON_SEEDS = 40, 16, (0, 1)
MB = 1e6


def measure(threads: int = 1, quick: bool = False, depths=None, batch: int = BATCH,
            checkpoint_every: int = CHECKPOINT_EVERY) -> dict:
    """Train ResNets of these depths, each with and without checkpoints in a process of its own, and the lesson's nets.

    Args:
        depths: 6n+2 each; the default goes from 20 to 1202, and with `quick` to 56.
        checkpoint_every: blocks in a checkpoint.

    Returns:
        {"batch", "checkpoint_every", "points": [{"depth", "checkpoint_every", "seconds", "before", "peak"}],
        "lesson": [{"name", "rate", "seed", "losses", "seconds", "peak"}]}, memory in bytes; no "lesson" with `quick`.
    """
    depths = depths or (QUICK_DEPTHS if quick else DEPTHS)
    points = []
    for depth in depths:
        for every in (None, checkpoint_every):
            say(f"    ResNet-{depth}, {'no checkpoints' if every is None else f'checkpoints of {every} blocks'}")
            arguments = {"depth": depth, "batch": batch, "checkpoint_every": every, "threads": threads}
            points.append({"depth": depth, "checkpoint_every": every, **alone(train, arguments, threads)})
    return {"batch": batch, "checkpoint_every": checkpoint_every, "points": points,
            "lesson": [] if quick else measure_lesson(threads)}


def measure_lesson(threads) -> list:
    """The 1202 layers of the lesson's size, in both orders and from several seeds."""
    runs = []
    for name, options, rate in LESSON_RUNS:
        for seed in LESSON_SEEDS:
            say(f"    lesson-sized ResNet-1202, {name}, seed {seed}")
            arguments = {"options": options, "rate": rate, "seed": seed, "threads": threads}
            runs.append({"name": name, "rate": rate, "seed": seed, **alone(train_lesson_net, arguments, threads)})
    return runs


def train(depth, batch, checkpoint_every, threads) -> dict:
    """In this process: the least seconds of a step of a ResNet at 3 × 32 × 32, and the memory before the net was made."""
    use_threads(threads)
    before = resident_bytes()
    generator = np.random.default_rng(0)
    images = mr.Tensor(generator.standard_normal((batch, 3, 32, 32)).astype(np.float32))
    labels = generator.integers(0, 10, batch)
    net = mr.models.cifar_net(depth, checkpoint_every=checkpoint_every)
    optimizer = mr.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    seconds = []
    for _ in range(max(2, math.ceil(LAYERS_IN_ALL / depth))):
        start = time.perf_counter()
        step(net, optimizer, images, labels)
        seconds.append(time.perf_counter() - start)
    return {"before": before, "seconds": min(seconds)}


def train_lesson_net(options, rate, seed, threads) -> dict:
    """In this process: 40 steps of 1202 layers, widths 4, 8 and 16, on Fashion-MNIST at 14 × 14."""
    use_threads(threads)
    images, labels = mr.data.fashion_mnist_sample("train")
    images, _, _ = mr.data.standardize(mr.data.average_2x2(images))
    batches = iter(mr.data.Batches(images, labels, LESSON_BATCH, seed=seed))
    net = mr.models.cifar_net(1202, width=4, in_channels=1, seed=seed, **options)
    optimizer = mr.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    start, losses = time.perf_counter(), []
    for _ in range(LESSON_STEPS):
        batch_images, batch_labels = next(batches)
        losses.append(step(net, optimizer, mr.Tensor(batch_images), batch_labels))
    return {"losses": losses, "seconds": time.perf_counter() - start}


def step(net, optimizer, images, labels) -> float:
    """One training step; returns the loss."""
    loss = mr.ops.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def use_threads(count):
    """minires's own, where it has some; those of BLAS come with the environment of the process."""
    if hasattr(mr, "set_threads"):
        mr.set_threads(count)


# ---- lines through the points

def series(measured, checkpoint_every):
    """(depths, seconds, bytes that the steps took) of the points with or without checkpoints."""
    points = [point for point in measured["points"] if point["checkpoint_every"] == checkpoint_every]
    return (np.array([point["depth"] for point in points]), np.array([point["seconds"] for point in points]),
            np.array([point["peak"] - point["before"] for point in points]))


def line(x, y) -> tuple:
    """(a, b, the largest distance as a share of y): the line y = a + b x of least squares of the relative distances.

    Relative ones, as otherwise the shallow nets, whose values are a hundredth of the deepest one's, would not count.
    """
    b, a = np.polyfit(x, y, 1, w=1 / y)
    return a, b, float(np.max(np.abs(a + b * x - y) / y))


def full_checkpoints(every, depths, seconds, taken) -> tuple:
    """The points of the nets that fill a checkpoint in each stage: shallower ones hold no more than a part of one."""
    fills = depths >= fills_from(every)
    return depths[fills], seconds[fills], taken[fills]


def fills_from(every) -> int:
    """The least depth with so many blocks in each of the three stages."""
    return 6 * every + 2


# ---- the report

def section(measured, image=None) -> str:
    """The tables, and the figure, as Markdown."""
    batch, every = measured["batch"], measured["checkpoint_every"]
    depths, seconds, taken = series(measured, None)
    _, seconds_again, taken_again = series(measured, every)
    lines = ["### Depth", "",
             f"A training step of ResNets at batch {batch} and 3 × 32 × 32: the least time of a step, and the most memory "
             f"that the training took beyond the imports. With checkpoints of {every} blocks, each one's forward runs again "
             "in the backward pass.", ""]
    rows = []
    for row in zip(depths, seconds, taken, seconds_again, taken_again, strict=True):
        depth, plain_s, plain_b, again_s, again_b = row
        rows.append([f"{depth}", f"{plain_s:.2f} s", f"{plain_b / MB:.0f} MB", f"{again_s:.2f} s", f"{again_b / MB:.0f} MB",
                     f"× {again_s / plain_s:.2f}", f"× {again_b / plain_b:.2f}"])
    lines += markdown_table(["layers", "step", "memory", "step, checkpoints", "memory, checkpoints", "time", "memory"], rows)
    lines += ["", "The lines through them, by least squares of the relative distances:", ""]
    for name, (x, t, m) in {"without checkpoints": (depths, seconds, taken), f"with, {note_on_shallow(every)}":
                            full_checkpoints(every, depths, seconds_again, taken_again)}.items():
        if len(x) < 2:
            continue
        (a, b, off), (c, d, off_memory) = line(x, t), line(x, m / MB)
        lines.append(f"* {name}: {1000 * a:+.0f} ms and {1000 * b:.2f} ms a layer, at most {100 * off:.0f} % off; "
                     f"{c:+.0f} MB and {d:.2f} MB a layer, at most {100 * off_memory:.0f} % off.")
    if image is not None:
        lines += ["", f"![Time and memory of a training step against depth]({image})"]
    return "\n".join(lines + lesson_lines(measured["lesson"]))


def note_on_shallow(every) -> str:
    """Why the line leaves out the shallow nets."""
    return f"from {fills_from(every)} layers on, which fill a checkpoint in each stage"


def lesson_lines(runs) -> list:
    """The lesson's nets, as Markdown."""
    if not runs:
        return []
    lines = ["", f"The lesson's size, 1202 layers of 4, 8 and 16 channels on 1 × 14 × 14, for {LESSON_STEPS} steps at batch "
             f"{LESSON_BATCH}. A net that knows nothing has a loss of ln 10 = {math.log(10):.2f}.", ""]
    head = ["order", "learning rate", "seed", "first loss", "largest", "mean of the last 5", "in all", "peak of the process"]
    rows = []
    for run in runs:
        losses = run["losses"]
        rows.append([run["name"], f"{run['rate']}", f"{run['seed']}", f"{losses[0]:.2f}", f"{max(losses):.2f}",
                     f"{np.mean(losses[-5:]):.2f}", f"{run['seconds']:.0f} s", f"{run['peak'] / MB:.0f} MB"])
    return [*lines, *markdown_table(head, rows)]


def draw(measured, path):
    """The figure: the points and the lines through them, time on the left, memory on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    every = measured["checkpoint_every"]
    for checkpoints, marker, label in ((None, "o", "everything kept"), (every, "s", f"checkpoints of {every} blocks")):
        depths, seconds, taken = series(measured, checkpoints)
        for ax, values in ((left, seconds), (right, taken / MB)):
            [points] = ax.plot(depths, values, marker, markersize=5, label=label)
            fitted = (depths, values) if checkpoints is None else full_checkpoints(every, depths, values, values)[:2]
            if len(fitted[0]) < 2:
                continue
            a, b, _ = line(*fitted)
            ends = np.array([0 if checkpoints is None else min(fitted[0]), max(depths)])
            ax.plot(ends, np.maximum(a + b * ends, 0), color=points.get_color(), linewidth=1)
    left.set_ylabel("a training step (s)")
    right.set_ylabel("memory beyond the imports (MB)")
    for ax in (left, right):
        ax.set_xlabel("layers")
        ax.set_xlim(0)
        ax.set_ylim(0)
        ax.grid(alpha=0.3)
    left.legend()
    figure.suptitle(f"ResNets at batch {measured['batch']}, 3 × 32 × 32, and the lines through the points")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def say(text):
    """Progress, on the standard error stream."""
    print(text, file=sys.stderr, flush=True)


def main():
    """Measure, print the tables and write the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth", description="Time and memory against depth.")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help=f"depths {', '.join(map(str, QUICK_DEPTHS))} only")
    parser.add_argument("--depths", type=int, nargs="+", help=f"6n+2 each (default: {' '.join(map(str, DEPTHS))})")
    parser.add_argument("--batch", type=int, default=BATCH, help="default: %(default)s")
    parser.add_argument("--checkpoint-every", type=int, default=CHECKPOINT_EVERY, help="blocks (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("minires-output/benchmarks/depth.png"), help="the figure's file")
    options = parser.parse_args()
    measured = measure(options.threads, options.quick, options.depths, options.batch, options.checkpoint_every)
    print(section(measured))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(measured, options.out)
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
