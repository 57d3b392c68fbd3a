"""
How deep can a net be?
======================

:Question: Can one add layers without end, and does each of them make a ResNet better?
:Time: about two minutes on two cores, in two processes
:Before this: the lessons on degradation, and on which shortcut and which order

With shortcuts, depth seems to be for free: the post that minires grew from says that in principle layers can be added
without limit, and that 1202 of them are better than 110. We train 1202 layers, in both orders of a residual block, and see
what it takes. What such a net ends with after days is published, and printed beside it.

Think about first
-----------------

* 1202 layers in place of 110: how much more time does a step take, and how much more memory?
* He et al. 2015 report a test error of 6.43 % for 110 layers and 7.93 % for 1202. Name three possible reasons. Which of them
  could be told from the training error?
* Why would anybody train a net of which a quarter of the blocks is missing, others in each step?
"""
import csv
import functools
import math
import time
import tracemalloc

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson
from minires.course.brief_training import train_briefly
from minires.course.processes import in_processes
from minires.engine.backward import topological_order

options = lesson.options(__doc__, seeds=3)
checks = lesson.Checks()

DEEP = options.pick(tiny=14, default=110, full=110)
DEEPEST = options.pick(tiny=20, default=1202, full=1202)
DEEP_STEPS, STEPS = options.pick(tiny=(4, 2), default=(80, 40), full=(200, 100))
WARM_UP = DEEP_STEPS // 2  # steps at a tenth of the learning rate
LAST = max(1, DEEP_STEPS // 8)  # steps whose mean is "the loss at the end of the warm-up"
CHANCE = math.log(10)

net = functools.partial(models.cifar_net, width=4, in_channels=1)  # 4, 8 and 16 channels
images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)

# %%
# Time and memory
# ---------------
# A step goes through each layer once forward and once back, and the graph keeps what the backward will need. So both should
# grow in proportion to the depth, and no faster. For time, we take the processor's seconds for a step; for memory, the bytes
# of all arrays that the graph holds when the forward is done, and the most that Python allocates in a step.
#
# A *checkpoint* keeps the input of some blocks and forgets all that lies between; the backward pass runs their forward
# again. With parts of √n blocks (Chen et al. 2016), each stage of n blocks holds √n inputs and, one at a time, what √n
# blocks save.

COST_DEPTHS = options.pick(tiny=(8, 14, 20), default=(20, 56, 110, 302, 602, 1202), full=(20, 56, 110, 302, 602, 1202))
COST_BATCH = 16
cost_images, cost_labels = mr.Tensor(images[:COST_BATCH].copy()), labels[:COST_BATCH]


def blocks_per_checkpoint(depth):
    """√n, for n blocks in each stage."""
    return round(math.sqrt((depth - 2) // 6))


def forward(model):
    """The loss of a fresh step."""
    for parameter in model.parameters():
        parameter.grad = None
    return mr.ops.cross_entropy(model(cost_images), cost_labels)


def arrays_in(value):
    """The arrays in what an op keeps: an array, a tensor, or a tuple or list of these."""
    if isinstance(value, mr.Tensor):
        value = value.data
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base                                  # a view keeps the whole array alive
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_in(part)


def bytes_held(loss, model):
    """The size of all arrays that the graph behind a loss keeps alive, each counted once, without the parameters."""
    ops = [op for op in topological_order(loss.op) if not isinstance(op, mr.Tensor)]
    held = {id(array): array.nbytes for op in ops for value in vars(op).values() for array in arrays_in(value)}
    weights = {id(array) for parameter in model.parameters() for array in arrays_in(parameter)}
    return sum(size for key, size in held.items() if key not in weights)


def cost(depth, every):
    """(seconds of a step, bytes held after the forward, largest allocation of a step in bytes, gradients)."""
    model = net(depth, preactivation=True, seed=options.seed, checkpoint_every=every)
    seconds = []
    for _ in range(max(2, 400 // depth)):
        start = time.process_time()
        forward(model).backward()
        seconds.append(time.process_time() - start)
    loss = forward(model)
    held = bytes_held(loss, model)
    del loss
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    forward(model).backward()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return min(seconds), held, peak, [parameter.grad for parameter in model.parameters()]


cases = [(depth, every) for depth in COST_DEPTHS for every in (None, blocks_per_checkpoint(depth))]
costs = {(depth, every is not None): cost(depth, every) for depth, every in lesson.progress(cases, "time and memory")}
with open(options.out / "cost.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["depth", "blocks_per_checkpoint", "cpu_seconds_per_step", "bytes_held", "peak_bytes"])
    writer.writerows([depth, every or "", *costs[depth, every is not None][:3]] for depth, every in cases)

DEEPEST_COST, MIDDLE_COST = COST_DEPTHS[-1], COST_DEPTHS[len(COST_DEPTHS) // 2 - 1]


def held_per_layer(depth):
    """Bytes that the graph holds for each layer, without checkpoints."""
    return costs[depth, False][1] / depth


checks.add(f"bytes held for each layer, {DEEPEST_COST} layers / {MIDDLE_COST} layers",
           held_per_layer(DEEPEST_COST) / held_per_layer(MIDDLE_COST), 0.95, 1.05, "1: linear in the depth", seeds=0)
checks.add(f"bytes held after the forward of {DEEPEST_COST} layers, with checkpoints / without",
           costs[DEEPEST_COST, True][1] / costs[DEEPEST_COST, False][1], 0, 1 / blocks_per_checkpoint(DEEPEST_COST),
           f"one block's input in {blocks_per_checkpoint(DEEPEST_COST)}: Chen et al. 2016", seeds=0)
differences = [float(np.abs(a - b).max()) for a, b in
               zip(costs[DEEPEST_COST, True][3], costs[DEEPEST_COST, False][3], strict=True)]
checks.add(f"largest difference of a gradient of {DEEPEST_COST} layers, with checkpoints or without", max(differences), 0, 0,
           "the same operations again", seeds=1)

# %%
# 110 layers: is a learning rate of 0.1 too large to start with?
# --------------------------------------------------------------
# He et al. 2015 train their 110 layers at 0.01 first, until the training error is below 80 %, some 400 steps, and then at
# 0.1 as all others: from 0.1 the net would begin to converge only after several epochs. Here the batches are of 32, and half
# of the steps are the warm-up. Beside it, the *pre-activation* order of He et al. 2016 at 0.1 from the first step on.

constant, warm = 0.1, [0.01] * WARM_UP + [0.1] * (DEEP_STEPS - WARM_UP)
RUNS = {  # what is trained: (depth, pre-activation?, learning rates, steps, batch size)
    ("pre-activation", DEEPEST): (True, constant, STEPS, 16),
    ("original", DEEPEST): (False, 0.01, STEPS, 16),
    ("original, 0.1", DEEP): (False, constant, DEEP_STEPS, 32),
    ("original, warm-up", DEEP): (False, warm, DEEP_STEPS, 32),
    ("pre-activation, 0.1", DEEP): (True, constant, DEEP_STEPS, 32),
}
SEEDS = {(name, depth): options.seeds[:2] if name == "original" else options.seeds for name, depth in RUNS}
keys = [(*run, seed) for run in RUNS for seed in SEEDS[run]]
jobs = [(functools.partial(net, depth, preactivation=preactivation), images, labels, seed, steps, lr, batch_size, (),
         options.device)
        for name, depth, seed in keys for preactivation, lr, steps, batch_size in [RUNS[name, depth]]]
losses: dict[tuple[str, int], list[np.ndarray]] = {run: [] for run in RUNS}
with open(options.out / "losses.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["net", "depth", "seed", "step", "loss"])
    for key, curve in zip(keys, in_processes(train_briefly, jobs, "training", options.processes), strict=True):
        losses[key[:2]].append(curve.losses)
        writer.writerows([*key, step, loss] for step, loss in enumerate(curve.losses))
        file.flush()                                            # what is done is kept, whatever comes


def mean_loss(run, start, stop):
    """The mean of the losses of the steps from start to before stop, for each seed."""
    return np.array(losses[run])[:, start:stop].mean(axis=1)


at_warm_up = {name: mean_loss((name, depth), WARM_UP - LAST, WARM_UP) for name, depth in RUNS if depth == DEEP}
checks.claim(lesson.Claim("With 110 layers, a learning rate of 0.1 is too large to start with, and 0.01 is not.",
                          "He et al. 2015, section 4.2"),
             f"{DEEP} layers, original order: loss after {WARM_UP} steps, at 0.1 - at 0.01",
             at_warm_up["original, 0.1"] - at_warm_up["original, warm-up"], 0, math.inf, contrary=(-math.inf, -1e-9),
             expect=None)                                       # seldom, but on some seeds, it is the other way round
checks.claim(lesson.Claim("In the pre-activation order deep nets are easier to train.", "He et al. 2016, section 4"),
             f"{DEEP} layers at 0.1: loss after {WARM_UP} steps, pre-activation - original",
             at_warm_up["pre-activation, 0.1"] - at_warm_up["original, 0.1"], -math.inf, 0, contrary=(1e-9, math.inf),
             comment="In these first steps, without any warm-up.")

# %%
# 1202 layers
# -----------
# The same nets with 200 blocks in each stage, at batches of 16. Whatever guesses has a loss of ln 10 = 2.30. The
# pre-activation order gets below it, at 0.1 from the first step on. The original order does not, though it is kept at the
# 0.01 of the paper's warm-up: what 200 blocks have added up in a stage reaches the classifier without any normalisation, so
# it begins with a loss of 10 or 20, and falls *towards* ln 10. That is not learning yet: only what is below ln 10 is. The
# paper trained 64,000 steps, and its net did learn; these steps do not reach that.

END = max(1, STEPS // 4)
at_end = {name: mean_loss((name, depth), STEPS - END, STEPS) for name, depth in RUNS if depth == DEEPEST}
checks.claim("S14", f"{DEEPEST} layers, pre-activation: loss of the last {END} of {STEPS} steps",
             at_end["pre-activation"], 0, CHANCE - 0.1, contrary=(CHANCE, math.inf),
             comment="So deep a net can be paid for and begins to learn, in minutes on a laptop. That does not say that its "
                     "layers are of use.")
checks.claim(lesson.Claim("1202 layers show no difficulty of optimisation: the training error goes below 0.1 %.",
                          "He et al. 2015, section 4.2"),
             f"{DEEPEST} layers, original order at 0.01: loss of the last {END} of {STEPS} steps", at_end["original"], 0,
             CHANCE - 0.1, expect="not seen in this run",
             comment="In so few steps this order does not get below the loss of guessing; in the paper's 64,000 it does.")

# %%
# What 1202 layers end with: published, not measured here
# -------------------------------------------------------
# Test errors on CIFAR-10 in %. Those of one paper are from one recipe; they were not made for a comparison with the others.

HE_2015 = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}  # table 6; 110 is the best of five runs
REPRODUCED = {20: 8.27, 32: 7.37, 44: 6.90, 56: 6.61, 110: 6.32, 1202: 6.18}  # github.com/akamaster/pytorch_resnet_cifar10
HE_2016 = {110: 6.37, 164: 5.46, 1001: 4.92}  # pre-activation: tables 2 and 3 (164 and 1001 with bottlenecks)
HUANG_2016 = {110: 5.23, 1202: 4.91}  # stochastic depth, figures 3 and 4; a first version of the paper has 5.25
published = functools.partial(checks.claim, published=True, seeds=0)
WHAT = "CIFAR-10 test error in %,"
published("S12", f"{WHAT} ResNet-110 - ResNet-20 (He et al. 2015, table 6)", HE_2015[110] - HE_2015[20], -100, -0.01,
          contrary=(0, 100))
published("S12", f"{WHAT} ResNet-1202 - ResNet-110 (the same table)", HE_2015[1202] - HE_2015[110], -100, -0.01,
          contrary=(0, 100), expect="contradicts")
published("S13", f"{WHAT} ResNet-1202 - ResNet-110 (He et al. 2015, table 6)", HE_2015[1202] - HE_2015[110], -100, -0.01,
          contrary=(0, 100), expect="contradicts",
          comment="It rises, from 6.43 to 7.93, though the training error, below 0.1 %, is similar to that of 110 layers "
                  "(published).")
published(lesson.Claim("1202 layers are unnecessarily many for this small data set: the net overfits.",
                       "He et al. 2015, section 4.2"),
          f"{WHAT} 1202 layers - 110 (the repository akamaster/pytorch_resnet_cifar10)", REPRODUCED[1202] - REPRODUCED[110],
          0, 100, contrary=(-100, -0.01), expect="contradicts",
          comment="The same architecture, trained by somebody else, is no worse with 1202 layers: 6.18 against 6.32, one "
                  "run each. So that it is worse is a fact of one recipe, not a law.")
published(lesson.Claim("With stochastic depth, more than 1200 layers still improve the test error.",
                       "Huang et al. 2016, abstract"),
          f"{WHAT} 1202 layers - 110, both with stochastic depth", HUANG_2016[1202] - HUANG_2016[110], -100, -0.01,
          contrary=(0, 100), comment="By a third of a point, for eleven times the computation.")

# %%
# Stochastic depth
# ----------------
# Huang et al. 2016 leave blocks out: in each step, block l of L runs with probability 1 - (l/L)(1 - p), p = 1/2; otherwise x
# goes through the shortcut alone. The first blocks nearly always run, the last one in half of the steps. On average it is
# (3L - 1)/4 blocks, a quarter less work, and the net that is trained is short while the net that is used is deep. (To use
# it, all blocks run, and each F(x) counts with its probability.)


class SometimesSkipped(nn.Module):
    """A block that runs with a probability, in training; otherwise x takes the shortcut. For the pre-activation order."""

    def __init__(self, block, probability, generator):
        super().__init__()
        self.block = block
        self.probability = probability
        self.generator = generator
        self.runs = 0  # how often it has run

    def forward(self, x):
        """(N, C, H, W) -> (N, O, OH, OW)."""
        if self.generator.random() < self.probability:
            self.runs += 1
            return self.block(x)
        return x if self.block.downsample is None else self.block.downsample(x)


def with_stochastic_depth(model, last_probability, seed):
    """The model, with each block wrapped; and the wrappers."""
    L = sum(len(getattr(model, stage)) for stage in model.stages)
    generator = np.random.default_rng([seed, 11])
    skipped: list[SometimesSkipped] = []
    for stage in [getattr(model, stage) for stage in model.stages]:
        for name, block in zip([str(i) for i in range(len(stage))], list(stage), strict=True):
            probability = 1 - (len(skipped) + 1) / L * (1 - last_probability)
            skipped.append(SometimesSkipped(block, probability, generator))
            setattr(stage, name, skipped[-1])
    return model, skipped


x, y = mr.Tensor(images[:16]).to(options.device), labels[:16]
usual = net(DEEP, preactivation=True, seed=options.seed).to(options.device)(x).numpy()
wrapped, _skipped = with_stochastic_depth(net(DEEP, preactivation=True, seed=options.seed), 1.0, options.seed)
checks.add(f"{DEEP} layers, all probabilities 1: largest difference of the logits", float(
    np.abs(wrapped.to(options.device)(x).numpy() - usual).max()), 0, 0, "the same net", seeds=1)

SKIP_STEPS = WARM_UP
blocks_run, skip_losses, skipped = [], [], []
for seed in lesson.progress(options.seeds, "stochastic depth"):
    model, skipped = with_stochastic_depth(net(DEEP, preactivation=True, seed=seed), 0.5, seed)
    curve = train_briefly(lambda seed, model=model: model, images, labels, seed, SKIP_STEPS, batch_size=32,
                          device=options.device)
    blocks_run.append(sum(block.runs for block in skipped) / SKIP_STEPS)
    skip_losses.append(curve.last(LAST))

probabilities = np.array([block.probability for block in skipped])
L = len(probabilities)
checks.add(f"{L} blocks: mean number that runs", probabilities.sum(), (3 * L - 1) / 4 - 1e-9, (3 * L - 1) / 4 + 1e-9,
           f"(3L - 1)/4 = {(3 * L - 1) / 4:g}: Huang et al. 2016, section 3", seeds=0)
spread = 4 * math.sqrt((probabilities * (1 - probabilities)).sum() / SKIP_STEPS)
checks.add(f"{L} blocks: mean number that ran in {SKIP_STEPS} steps", blocks_run, probabilities.sum() - spread,
           probabilities.sum() + spread, "that, within 4 standard deviations")
checks.add(f"{DEEP} layers with stochastic depth: loss after {SKIP_STEPS} steps", skip_losses, 0, CHANCE - 0.1,
           "below ln 10: it learns")

# %%
# That stochastic depth is a regulariser, and lowers the *test* error in the end, such a run does not show: one has to train
# until the net knows its images by heart.

# %%
# The figures
# -----------

blue, orange, green, pink, *_ = mr.plot.COLOURS


def draw(ax, cases):
    """The losses, median and range of the seeds; cases: (run, label, colour, running mean of so many steps)."""
    for run, label, colour, width in cases:
        smooth = np.array([np.convolve(row, np.full(width, 1 / width), "valid") for row in losses[run]])
        steps = np.arange(width, width + smooth.shape[1])
        ax.plot(steps, np.median(smooth, axis=0), color=colour, linewidth=1.8, label=label)
        ax.fill_between(steps, smooth.min(axis=0), smooth.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    ax.axhline(CHANCE, color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
    ax.set_yscale("log")
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
    ax.set_xlabel("step")
    ax.set_ylabel("training loss (mean of 5 steps)")
    ax.legend()


figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), layout="constrained", sharey=True)
WIDTH = min(5, STEPS)
draw(left, [(("original, 0.1", DEEP), "original order, 0.1", blue, WIDTH),
            (("original, warm-up", DEEP), f"original order, 0.01 for {WARM_UP} steps", orange, WIDTH),
            (("pre-activation, 0.1", DEEP), "pre-activation, 0.1", green, WIDTH)])
left.axvline(WARM_UP, color="0.6", linewidth=0.8, linestyle=":")
left.set_title(f"{DEEP} layers, batches of 32, {len(options.seeds)} seeds")
draw(right, [(("original", DEEPEST), f"original order, 0.01 ({len(SEEDS['original', DEEPEST])} seeds)", blue, WIDTH),
             (("pre-activation", DEEPEST), f"pre-activation, 0.1 ({len(options.seeds)} seeds)", green, WIDTH)])
right.set_title(f"{DEEPEST} layers, batches of 16")
right.set_ylabel("")
right.tick_params(labelleft=True)
figure.suptitle(f"In the pre-activation order {DEEPEST} layers start to learn at once; in the original one they do not in "
                f"{STEPS} steps (lines: medians, bands: range)")
lesson.save_figure(figure, options, "training.png")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
for with_checkpoints, colour, marker, label in ((False, blue, "o", "everything kept"),
                                                (True, orange, "s", "checkpoints of √n")):
    seconds, held, peak = np.array([costs[depth, with_checkpoints][:3] for depth in COST_DEPTHS]).T
    left.plot(COST_DEPTHS, seconds, color=colour, marker=marker, label=label)
    right.plot(COST_DEPTHS, peak / 1e6, color=colour, marker=marker, label=f"{label}: most in a step")
    right.plot(COST_DEPTHS, held / 1e6, color=colour, marker=marker, linestyle=":", fillstyle="none",
               label=f"{label}: held after the forward")
left.set_ylabel("processor seconds for forward and backward")
right.set_ylabel("memory, MB")
for ax in (left, right):
    ax.set_xlabel("layers")
    ax.set_xlim(0)
    ax.set_ylim(0)
    ax.legend()
figure.suptitle(f"Time and memory are linear in depth; checkpoints save most of the memory for a second forward (batch "
                f"{COST_BATCH})")
lesson.save_figure(figure, options, "cost.png")

figure, ax = pyplot.subplots(figsize=(9, 4.8), layout="constrained")
for (label, errors), colour, marker in zip({
        "He et al. 2015": HE_2015, "the same nets, akamaster's repository": REPRODUCED,
        "He et al. 2016, pre-activation": HE_2016, "Huang et al. 2016, stochastic depth": HUANG_2016}.items(),
        (blue, pink, green, orange), mr.plot.MARKERS, strict=False):
    ax.plot(list(errors), list(errors.values()), color=colour, marker=marker, label=label)
ax.set_xscale("log")
ax.set_xticks([20, 32, 44, 56, 110, 164, 1001], ["20", "32", "44", "56", "110", "164", "1001/1202"])
ax.minorticks_off()
ax.set_xlabel("layers")
ax.set_ylabel("CIFAR-10 test error, %")
ax.set_ylim(4, 9.5)
ax.legend()
ax.set_title("Published: whether a thousand layers help depends on the recipe")
lesson.save_figure(figure, options, "published.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "Memory is linear in depth, and checkpoints buy most of it back at equal gradients, to the last bit.",
    f"{DEEPEST} layers in the pre-activation order begin to learn at once, at a learning rate of 0.1; in the original order "
    f"they do not get below the loss of guessing in {STEPS} steps.",
    "\"More layers, always better\" is false of the published numbers: from 110 to 1202 the test error rises in He et al. "
    "2015. With other recipes it falls by less than half a point, for eleven times the computation.",
))

# %%
# Exercises
# ---------
# 1. A checkpoint of every block, or of 50 blocks: predict the memory of 1202 layers for both, then measure
#    (``cost(1202, 1)``). Why is √n near the best?
# 2. Give the 1202 layers in the original order a learning rate of 0.1 from the first step on. What is the largest loss?
# 3. Write the rule for using a net with stochastic depth: all blocks run, and F(x) counts with its probability. In the
#    pre-activation order F(x) is ``block(x) - shortcut(x)``. Compare the loss on test images with and without the factor.
