"""The page in docs/, made from the stored results."""
import importlib
import importlib.util

from benchmarks import tables

COMMAND = "python -m benchmarks"

HEAD = f"""# Speed

This page, its figures and `benchmarks.json`, which holds every single time, are written by

```sh
pip install -e ".[bench]"
{COMMAND}                # on one thread
{COMMAND} --threads 2    # adds the tables for two
```

from the root of a clone, on a machine that does nothing else meanwhile. `--quick` is a short look, `--only steps` one part.
"""

HOW_TO_READ = """## How to read it

* All rivals of a row run in one process, on the same arrays and the same number of threads, and take turns: each round runs
  every one of them once. Before that, their outputs, gradients or losses are compared; a row is only timed where they agree
  to float32's precision.
* Times are minima, in milliseconds: what a rival does when nothing disturbs it. After the colon stand two ratios of
  minires's time to the rival's: **that of the minima**, and the median of those of the single rounds. Below 1 minires is
  faster. Where the two differ by much, the machine was busy.
* A training step is forward, loss, backward, and SGD with momentum and weight decay, on random images. A lesson net is the
  CIFAR net of the lessons, on images of 14 × 14 pixels and one channel: so small that what an operation costs beside its
  arithmetic decides.
* The gradient of a shortcut add is passed on and not computed, so its forward and backward are one figure.
* An operation is timed as in the middle of a net: its forward notes what its backward needs, and its backward gives the
  gradients of its input and its parameters. Shapes are those of the input, N × C × H × W.
"""

NOT_COMPARABLE = """## What is not comparable

* Each engine gets its arrays in the memory order that its own operations leave: PyTorch's default and most peers (N, C, H,
  W), PyTorch channels last, minires and SmallPebble (N, H, W, C). In a net of minires one copy of the images goes before.
* PyTorch runs as installed: eager, float32, no `torch.compile`. Its tape is written in C++; the chain of negations measures
  it with the dispatch of its kernels, which cannot be told apart from outside.
* DeZero runs with two corrections that it needs on NumPy 2, and with a zero-padding shortcut of ours, as its own indexing is
  much slower. Its batch norm layer gets the eps of the others. In a training step its loss turns all gradients into float64
  where the labels are int64, as those of its data sets are: the column DeZero. Given int16 labels they stay float32: the
  column beside it.
* autograd and SmallPebble have no batch norm: theirs is written out in their own operations, as a user would. autograd has
  no such convolution. SmallPebble and DeZero also compute gradients that nobody asks for, such as that of the images.
* MyGrad runs with its memory guard off, as its documentation advises for speed. It refuses strides that leave rows over.
* DeZero, autograd, SmallPebble and MyGrad are written to be read or to be general, and say so; their columns tell what a
  person waits for, not how good they are. They are timed in fewer rounds, as they would hold up the others.
* Tables for different numbers of threads are different runs. Minima of another machine, or with other versions, differ.
"""


def page(results) -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, HOW_TO_READ]
    for threads, run in sorted(results.runs.items()):
        parts.append(run_section(threads, run))
    return "\n".join([*parts, NOT_COMPARABLE])


def figure_name(threads: int) -> str:
    """The file of the figure of one run, inside the folder of images."""
    return f"benchmarks_{threads}_thread{'s' * (threads > 1)}.png"


def extra_figure_name(part: str, threads: int) -> str:
    """The file of the figure of a part that is not a race."""
    return figure_name(threads).replace("benchmarks", part, 1)


def run_section(threads, run) -> str:
    """What was measured on so many threads."""
    title = "One thread" if threads == 1 else f"{threads} threads"
    lines = [f"## {title}", "", provenance(run), ""]
    of_part = {part: [case for case in run["cases"] if case["part"] == part]
               for part in ("steps", "tape", "ops", "startup")}
    if of_part["steps"] or of_part["ops"]:
        lines += [f"![Time of minires over that of each rival, on {title.lower()}](images/{figure_name(threads)})", ""]
    if of_part["steps"]:
        lines += ["### Training steps", "", tables.race_table(of_part["steps"], "training step"), ""]
    for case in of_part["tape"]:
        lines += ["### The tape", "", f"Microseconds for each operation of a {case['name']}: forward and backward do one "
                  "NumPy call each, all else is the engine's bookkeeping.", "", tables.tape_table(case), ""]
    if of_part["ops"]:
        lines += ["### Single operations", "", tables.race_table(of_part["ops"], "operation"), ""]
    for part, stored in run["extra"].items():
        module = extra_module(part)
        if module is not None:
            lines += [module.section(stored["measured"], f"images/{extra_figure_name(part, threads)}").strip(), ""]
    if of_part["startup"]:
        lines += ["### Starting", "", tables.seconds_table(of_part["startup"]), ""]
    return "\n".join(lines)


def provenance(run) -> str:
    """Machine, versions, dates, what is missing, and whether it was a quick look only."""
    environment = ", ".join(f"{name} {text}" for name, text in run["environment"].items())
    stored = [*run["cases"], *run["extra"].values()]
    dates = sorted({entry["date"] for entry in stored})
    lines = [f"Measured on {' to '.join(sorted({dates[0], dates[-1]}))}." if dates else "Nothing was measured yet.",
             f"{environment}."]
    if any(entry["quick"] for entry in stored):
        lines.append("**A quick look only (`--quick`), in two or three rounds: too few for these figures to be quoted.**")
    for name, reason in run["missing"].items():
        lines.append(f"{name} is not in these tables: it could not be imported ({reason}).")
    return "\n".join(lines)


def extra_module(part):
    """`benchmarks.memory` or `benchmarks.depth`, where there is one. It measures what is not a race, and has

        measure(threads, quick) -> a dict that JSON can hold
        section(measured, image) -> Markdown, from its heading (###) on; `image` is where the page finds its figure
        draw(measured, path): write that figure as PNG; a module without a figure has no such function
    """
    if importlib.util.find_spec(f"benchmarks.{part}") is None:
        return None
    return importlib.import_module(f"benchmarks.{part}")
