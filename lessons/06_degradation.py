"""
Degradation is not vanishing
============================

:Question: A deeper plain net has the higher *training* error: is it because its gradient vanishes?
:Time: under a minute on two cores, in two processes
:Before this: the lesson on vanishing gradients

He et al. 2015 start from an observation that they call *degradation*: of two plain nets, the deeper one ends with the higher
training error, though it could copy the shallow one and let its other layers do nothing. Many texts, the post that minires
grew from among them, take this for another name of vanishing gradients.

We train plain nets of 8, 20 and 44 layers and their residual twins on photographs of clothing (Fashion-MNIST, 14 x 14
pixels), and record the gradient of each layer in the same steps. Beside them stands a net whose gradient *does* vanish.

Think about first
-----------------

* Training error rises with depth. Why can that not be overfitting?
* A deeper net can do all that a shallow one can. So what is it that fails, if not the net?
* How would the training loss of a net behave whose gradient has vanished? And that of a net which learns slowly?
* How much can one hundred steps say of nets that the paper trained for 64,000?
"""
import csv
import functools
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson, theory
from minires.course.brief_training import train_briefly
from minires.course.processes import in_processes

options = lesson.options(__doc__, seeds=3)
checks = lesson.Checks()

DEPTHS = options.pick(tiny=(8, 14, 20), default=(8, 20, 44), full=(8, 20, 44))
STEPS = options.pick(tiny=2, default=100, full=200)
SHALLOW, MIDDLE, DEEP = DEPTHS
LAST = max(1, min(20, STEPS // 2))  # steps whose mean is "the training loss after these steps"
RECORDED = options.pick(tiny=(0, 1), default=(0, 1, 5, 20, 50, 99), full=(0, 1, 5, 20, 50, 100, 199))

# %%
# The nets
# --------
# The nets of He et al. 2015 for CIFAR-10, with a quarter of their channels: 4, 8 and 16. Batch norm after each convolution,
# He's initialisation, zero padding on the shortcuts. Twins start from the same weights and see the same images in the same
# order. One more net is plain, without batch norm, and starts from Glorot's weights, whose variance is half of what ReLU
# needs.

net = functools.partial(models.cifar_net, width=4, in_channels=1)
NETS = {(name, depth): functools.partial(net, depth, residual=name == "residual")
        for depth in reversed(DEPTHS) for name in ("plain", "residual")}
NETS["vanishing", DEEP] = functools.partial(net, DEEP, residual=False, batch_norm=False, init=nn.init.glorot_normal_)

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)

# %%
# Training
# --------
# Batches of 64, learning rate 0.1, momentum 0.9, weight decay 1e-4, no augmentation: the paper's recipe but for the number
# of steps, the batch (128 there) and the augmentation. ``minires/course/brief_training.py`` has the loop; a forward, a
# backward and an update make a step, and in some steps the recorder watches the backward.

keys = [(*key, seed) for key in NETS for seed in options.seeds]
jobs = [(NETS[name, depth], images, labels, seed, STEPS, 0.1, 64, RECORDED, options.device) for name, depth, seed in keys]
trained = {}
with open(options.out / "losses.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["net", "depth", "seed", "step", "loss"])
    for key, curve in zip(keys, in_processes(train_briefly, jobs, "training", options.processes), strict=True):
        trained[key] = curve
        writer.writerows([*key, step, loss] for step, loss in enumerate(curve.losses))
        file.flush()                                            # what is done is kept, whatever comes


def losses_of(name, depth):
    """The loss of each step, (seeds, steps)."""
    return np.array([trained[name, depth, seed].losses for seed in options.seeds])


def final(name, depth):
    """The training loss after these steps: the mean of the last ones, for each seed."""
    return losses_of(name, depth)[:, -LAST:].mean(axis=1)


# %%
# Deeper plain nets are worse, in training loss
# ---------------------------------------------
# The differences are between nets of the same seed. A positive one says that the deeper net is behind. At 20 layers it is
# small: another order of the same sums, which differ in the last digits, has put one seed of three on the other side. So
# that row is shown, and nothing is expected of it.

degradation = lesson.Claim("Of plain nets, the deeper one has the higher training error.", "He et al. 2015, section 1")
for depth, expect, comment in (
        (MIDDLE, None, ""),
        (DEEP, "agrees", "So it is seen early in training; that it stays so for 64,000 steps is the paper's result.")):
    checks.claim(degradation, f"training loss after {STEPS} steps, plain-{depth} - plain-{SHALLOW}",
                 final("plain", depth) - final("plain", SHALLOW), 0, math.inf, contrary=(-math.inf, -1e-9), expect=expect,
                 comment=comment)
checks.claim(lesson.Claim("The shortcuts address the degradation: at the same depth, the residual net trains better.",
                          "He et al. 2015, section 4.1"),
             f"training loss after {STEPS} steps, residual-{DEEP} - plain-{DEEP}",
             final("residual", DEEP) - final("plain", DEEP), -math.inf, 0, contrary=(1e-9, math.inf))
checks.claim(lesson.Claim("Where the plain net is not too deep to learn, its residual twin learns faster.",
                          "He et al. 2015, section 4.1, on the nets of 18 layers"),
             f"training loss after {STEPS} steps, residual-{MIDDLE} - plain-{MIDDLE}",
             final("residual", MIDDLE) - final("plain", MIDDLE), -math.inf, 0, contrary=(1e-9, math.inf))

# %%
# How far does depth set each kind of net back? In the paper the plain nets lose by it and the residual ones gain. That the
# shortcuts take away most of the loss is seen here. The gain is not: so early, the residual net of 44 layers is level with
# that of 8, or a little behind, as the seed decides. Its row is shown, and nothing is expected of it.

setback = {name: final(name, DEEP) - final(name, SHALLOW) for name in ("plain", "residual")}
checks.add(f"loss that {DEEP} layers cost over {SHALLOW}: residual / plain", setback["residual"] / setback["plain"],
           -math.inf, 0.5, "below 0: He et al. 2015, figure 6; below half so early")
checks.claim("S12", f"training loss after {STEPS} steps, residual-{DEEP} - residual-{SHALLOW}", setback["residual"],
             -math.inf, 0, expect=None)

# %%
# The paper's numbers
# -------------------
# They are published, and not measured here: ImageNet, nets of 18 and 34 layers, up to 600,000 steps. Figure 4 of the paper
# draws two curves for each net. The thin ones are training errors: there too the plain net of 34 layers lies above that of
# 18, but the paper gives no numbers for them. The bold ones are errors on the validation images, whose ends are in table 2.
# On CIFAR-10 (figure 6) the training error of plain nets is the higher, the deeper they are, from 20 to 56 layers, and the
# error of one with 110 layers stays above 60 %.

PUBLISHED = {"plain": {18: 27.94, 34: 28.54}, "residual": {18: 27.88, 34: 25.03}}  # top-1 error in %, table 2
SOURCE = "published: He et al. 2015, table 2"
checks.claim("S11", "ImageNet top-1 error in %, plain-34 - plain-18", PUBLISHED["plain"][34] - PUBLISHED["plain"][18],
             0.01, 100, contrary=(-100, 0), published=True, seeds=0,
             comment=f"Validation errors ({SOURCE}); the training errors are the thin curves of its figure 4.")
checks.claim("S11", "ImageNet top-1 error in %, ResNet-34 - ResNet-18",
             PUBLISHED["residual"][34] - PUBLISHED["residual"][18], -100, -0.01, contrary=(0, 100), published=True, seeds=0)

# %%
# Meanwhile, the gradients
# ------------------------
# Of the stream, what runs from block to block, we take ‖dL/dx‖ where the first block reads it over that where the last block
# does: below 1 it shrinks on its way to the input, above 1 it grows. (Not ‖dL/dW‖: with batch norm, the loss does not change
# when a weight is scaled, so its gradient is inversely proportional to its size, which the training changes. The stream's
# gradient does not depend on that.)
#
# Theory for the net without batch norm: sqrt(1/2) for each convolution, times what zero padding takes, as in the lesson on
# vanishing gradients.


def stream_ratios(name, depth):
    """‖dL/dx‖ at the first block's input over that at the last block's, (seeds, recorded steps)."""
    norms = [trained[name, depth, seed].record.stream().output_grad_norm[:, :-1] for seed in options.seeds]
    return np.array([inputs[:, 0] / inputs[:, -1] for inputs in norms])


def vanishing_theory(depth):
    """That ratio in a plain net without batch norm at initialisation, with Glorot's weights."""
    n = (depth - 2) // 6
    convolutions = {14: 2 * n, 7: 2 * n, 4: 2 * n - 2}          # of each image size, from the first block to the last
    return math.prod((theory.linear_factor("relu", 1.0) * theory.padding_factor(H)) ** count
                     for H, count in convolutions.items())


predicted = vanishing_theory(DEEP)
tolerance = 2 * 1.05 ** DEEP                                    # the theory is for wide nets: 5 % a layer, and the ends
checks.add(f"vanishing-{DEEP}, first step: ‖dL/dx‖ of the stream, first block / last",
           stream_ratios("vanishing", DEEP)[:, 0], predicted / tolerance, predicted * tolerance,
           f"∏ sqrt(1/2)·λ = {predicted:.1g}")
checks.add(f"vanishing-{DEEP}: training loss after {STEPS} steps", final("vanishing", DEEP), math.log(10) - 0.02,
           math.log(10) + 0.02, "ln 10 = 2.303: it does not learn")
checks.add(f"plain-{DEEP}: training loss after {STEPS} steps", final("plain", DEEP), 0, 2.2,
           "below ln 10: it learns, too slowly")

# %%
# And plain-44 with batch norm, the net that degrades? In each of the recorded steps we look at the ratio. If degradation was
# vanishing, it would be tiny at least in some of them, as in the vanishing net. If it was exploding, it would be huge, and
# stay so. We count in powers of ten. Three of them, we say, deserve one of these names; half of that or less does not.

powers = np.log10(stream_ratios("plain", DEEP))                 # (seeds, recorded steps)
healthy = lesson.Claim("In plain nets with batch norm the gradients do not vanish: they have healthy norms.",
                       "He et al. 2015, section 4.1")
WHAT = f"plain-{DEEP}, ‖dL/dx‖ of the stream, first block / last, powers of ten:"
checks.claim(healthy, f"{WHAT} the least of {len(RECORDED)} recorded steps", powers.min(axis=1), -1.5, math.inf,
             contrary=(-math.inf, -3))
checks.claim("S4", f"{WHAT} the least of these steps", powers.min(axis=1), -math.inf, -3, contrary=(-1.5, math.inf),
             expect="contradicts", comment="This net degrades, and in no recorded step is its gradient vanishing.")
checks.claim("S4", f"{WHAT} the last step, without sign", abs(powers[:, -1]), 3, math.inf, contrary=(0, 1.5),
             expect="contradicts", comment="Nor does it explode then, though the net is still far behind.")

# %%
# One thing is not healthy: in the *first* step the ratio is far above 1. This is the explosion of plain nets with batch norm
# (the lesson on plain against residual measures it), and it is gone within some tens of steps. It leaves the first layers
# with weights that are far larger than before, which may be part of why these nets are slow. The paper conjectures
# "exponentially low convergence rates" and leaves the reason open; we do not decide it either.

grows = {name: stream_ratios(name, DEEP)[:, 0] for name in ("plain", "residual")}
checks.add(f"first step: ‖dL/dx‖, first block / last, plain-{DEEP} / residual-{DEEP}", grows["plain"] / grows["residual"],
           1, math.inf, "the plain one grows faster: Yang et al. 2019, Yang & Schoenholz 2017")

# %%
# The figures
# -----------


def draw_losses(ax, cases):
    """Running means of the losses, median and range of the seeds; cases: (net, depth, label)."""
    width = min(10, STEPS)
    for (name, depth, label), colour in zip(cases, mr.plot.COLOURS, strict=False):
        smooth = np.array([np.convolve(row, np.full(width, 1 / width), "valid") for row in losses_of(name, depth)])
        steps = np.arange(width, STEPS + 1)
        ax.plot(steps, np.median(smooth, axis=0), color=colour, linewidth=1.8, label=label)
        ax.fill_between(steps, smooth.min(axis=0), smooth.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    ax.axhline(math.log(10), color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
    ax.set_xlabel("step")
    ax.set_ylim(0, 3)


figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.8), layout="constrained", width_ratios=(3, 3, 2))
for name, ax in (("plain", left), ("residual", middle)):
    draw_losses(ax, [(name, depth, f"{name}-{depth}") for depth in DEPTHS])
    ax.set_ylabel(f"training loss (mean of {min(10, STEPS)} steps)")
    ax.set_title(f"{name}, measured: median and range of {len(options.seeds)} seeds")
    ax.legend(loc="lower left")
for (name, errors), colour, marker in zip(PUBLISHED.items(), mr.plot.COLOURS[3:], mr.plot.MARKERS, strict=False):
    right.plot(list(errors), list(errors.values()), color=colour, marker=marker, label=name)
right.set_xticks([18, 34])
right.set_xlim(14, 38)
right.set_ylim(24, 30)
right.set_xlabel("layers")
right.set_ylabel("ImageNet top-1 validation error, %")
right.set_title("published: He et al. 2015, table 2")
right.legend()
figure.suptitle(f"After {STEPS} steps depth has set the plain nets far back in training loss, and the residual nets little")
lesson.save_figure(figure, options, "degradation.png")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), layout="constrained")
CASES = [("plain", DEEP, f"plain-{DEEP}, batch norm: degraded"), ("residual", DEEP, f"residual-{DEEP}, batch norm"),
         ("vanishing", DEEP, f"plain-{DEEP}, no batch norm, Glorot: vanishing")]
draw_losses(left, CASES)
left.set_ylabel(f"training loss (mean of {min(10, STEPS)} steps)")
left.set_title("the degraded net learns, slowly; the vanishing one does not learn")
left.legend(loc="lower left")
for (name, depth, label), colour, marker in zip(CASES, mr.plot.COLOURS, mr.plot.MARKERS, strict=False):
    ratios = stream_ratios(name, depth)
    right.plot(RECORDED, np.median(ratios, axis=0), color=colour, marker=marker, label=label)
    right.fill_between(RECORDED, ratios.min(axis=0), ratios.max(axis=0), color=colour, alpha=0.2, linewidth=0)
right.axhline(1, color="0.6", linewidth=0.8)
right.plot(0, predicted, "_", color="black", markersize=18, label="theory for the vanishing one")
right.set_xscale("symlog", linthresh=1)
right.set_xticks(RECORDED, [str(step) for step in RECORDED])
right.minorticks_off()
right.set_yscale("log")
right.set_xlabel("step (0: the initial weights)")
right.set_ylabel("‖dL/dx‖ of the stream, first block / last")
right.set_title("its gradient reaches the first block in every recorded step")
right.legend(loc="center right", bbox_to_anchor=(1, 0.4), fontsize="small")
figure.suptitle("Degradation is not vanishing: the net that degrades has gradients everywhere, and learns too slowly")
lesson.save_figure(figure, options, "not_vanishing.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    f"After the same {STEPS} steps, deeper plain nets have the higher training loss, and shortcuts take away most of "
    "what depth costs. Training loss: so it is no overfitting.",
    "In the net that degrades, the gradient arrives at the first block in every step that we recorded. Degradation is "
    "another thing than vanishing gradients, which leave a net at the loss of guessing.",
    "These are the first steps of small nets. They do not say that a plain net never gets there, and not that a deeper "
    "residual net ends with a lower error: for that there are only the paper's numbers here.",
))

# %%
# Exercises
# ---------
# 1. Take away the explosion of the first steps: train plain-44 with a learning rate of 0.01 for the first 20 steps (the
#    argument ``lr`` of ``train_briefly`` may have one number for each step). Predict: does the degradation go away?
# 2. Record ‖dL/dW‖ too: ``record.select(nn.Conv2d).weight_grad_norm``. In plain-44 its ratio falls below 1 after some steps.
#    Multiply it by ``weight_norm`` before you call that vanishing. Why is this product the right thing to look at?
# 3. Copy a trained plain-8 into a plain net of more layers whose other blocks do nothing. What weights would they need, with
#    ReLU and batch norm in the way? What would they need in a residual net?
