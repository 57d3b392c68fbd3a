"""
Plain against residual, layer by layer
======================================

:Question: What happens to a gradient on its way from the loss to the first layer, in a plain net and in its residual twin?
:Time: under a minute on two cores
:Before this: nothing; the lesson on vanishing and exploding gradients explains the slopes that are used here

A plain net and its residual twin have the same layers and, here, the same initial weights: only the addition of the
shortcut is missing. So whatever differs between them is the work of that addition.

We take real photographs of clothing (Fashion-MNIST, averaged to 14 x 14 pixels), send 64 of them through nets of 20, 56
and 110 layers, and look at the gradient before any training, for four ways to start: with batch norm, and without it
under three initialisations.

Think about first
-----------------

* Is a small gradient at the input the trouble of a deep plain net *with* batch norm?
* Weights too small, without batch norm: which end of the plain net starves, that of the input or that of the output?
* Is the shortcut enough, without batch norm?
"""
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# The images
# ----------
# A batch of 64 for each seed, standardised with the mean and standard deviation of all 10,000 training images.

DEPTHS = options.pick(tiny=(20, 26), default=(20, 56, 110), full=(20, 56, 110))
SHALLOWEST, DEEPEST = DEPTHS[0], DEPTHS[-1]
WIDTH = 8  # channels of the first stage: 8, 16 and 32 in the three stages
BATCH_SIZE = 64

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images = mr.data.average_2x2(images)                            # -> (10000, 1, 14, 14)
images, _mean, _std = mr.data.standardize(images)


def batch(seed):
    """64 images and their labels, chosen by the seed."""
    return next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))


# %%
# One measurement
# ---------------
# A forward and a backward pass, with the recorder watching. Its rows are the seeds, its columns the named modules.


def measure(depth, residual, batch_norm, init):
    """(record of one backward pass a seed, median loss) of a net at initialisation."""
    records, losses = [], []
    for seed in options.seeds:
        model = models.cifar_net(depth, residual, WIDTH, in_channels=1, batch_norm=batch_norm, init=init, seed=seed)
        model.to(options.device)
        x, y = batch(seed)
        with mr.record_gradients(model) as record:
            loss = mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y)
            loss.backward()
        records.append(record.select(models.Block, nn.Conv2d, nn.BatchNorm2d, nn.ReLU))
        losses.append(loss.item())
    return mr.stack_records(records), float(np.median(losses))


def small_normal_(tensor, generator):
    """N(0, 0.01²), the initialisation of AlexNet."""
    return nn.init.normal_(tensor, generator, std=0.01)


STARTS = {  # the four ways to start: (title, batch norm?, initialiser)
    "a": ("with batch norm, He", True, nn.init.he_normal_),
    "b": ("without batch norm, Glorot", False, nn.init.glorot_normal_),
    "c": ("without batch norm, N(0, 0.01²)", False, small_normal_),
    "d": ("without batch norm, He", False, nn.init.he_normal_),
}
NETS = ("plain", "residual")
records, losses = {}, {}
for start, net, depth in lesson.progress([(s, n, d) for s in STARTS for n in NETS for d in DEPTHS], "measuring"):
    _title, batch_norm, init = STARTS[start]
    record, loss = measure(depth, net == "residual", batch_norm, init)
    records[start, net, depth], losses[start, net, depth] = record, loss
    record.to_csv(options.out / f"{start}_{net}{depth}.csv")

# %%
# Two numbers for each net
# ------------------------
# The *stream* is what runs from block to block: what the stem makes, and each block's output. Of its gradient we take
# the norm where the first block reads it, divided by the norm where the last block reads it: below 1 the gradient shrinks
# on its way to the input, above 1 it grows.
#
# Of dL/dW we take the mean norm over the first four convolutions of the blocks, divided by that over the last five.


def stream_ratio(record):
    """‖dL/dx‖ at the input of the first block, over that at the input of the last, for each seed."""
    inputs = record.stream().output_grad_norm[:, :-1]           # (seeds, blocks): the last block's output is no input
    return inputs[:, 0] / inputs[:, -1]


def weight_ratio(record):
    """mean ‖dL/dW‖ of the first four convolutions after the stem, over that of the last five, for each seed."""
    norms = record.select(nn.Conv2d).weight_grad_norm[:, 1:]    # (seeds, convolutions)
    return norms[:, :4].mean(axis=1) / norms[:, -5:].mean(axis=1)


def zero_fraction(record):
    """The share of the convolutions whose dL/dW is exactly zero, over all seeds."""
    return float((record.select(nn.Conv2d).weight_grad_norm == 0).mean())


DW = "dL/dW, first convolutions / last"
STREAM = "stream, first block / last"
REFERENCE = "same nets in PyTorch"

# %%
# (a) Batch norm, He initialisation: the plain gradient explodes
# --------------------------------------------------------------
# These are the plain nets of He et al. 2015, made narrow. Their trouble is often called vanishing gradients. What we see
# is the opposite: each convolution with its batch norm *multiplies* the gradient on its way to the input by nearly 1.2.
# Theory for wide nets and independent samples says sqrt(π/(π - 1)) = 1.21 (Yang et al. 2019); neighbouring pixels are not
# independent, and we find a little less. Over 110 layers that is a factor of a million. In the twin with shortcuts the
# gradient grows too, but slowly, as a power of the depth.

IN_PYTORCH: dict[int, tuple[float, float]] = {20: (2, 8), 56: (3e2, 3e3), 110: (3e5, 3e7)}
for depth in [depth for depth in DEPTHS if depth in IN_PYTORCH]:
    checks.add(f"(a) plain-{depth}: {DW}", weight_ratio(records["a", "plain", depth]), *IN_PYTORCH[depth], REFERENCE)
for depth in DEPTHS:
    checks.add(f"(a) residual-{depth}: {DW}", weight_ratio(records["a", "residual", depth]), 0.5, 30, REFERENCE)


def growth_per_convolution(record):
    """The factor by which ‖dL/d(output)‖ grows with each convolution of the first stage, towards the input.

    A straight line through the logarithms, over the batch norms' outputs, without those at the two ends.
    """
    stage = [name for name in record.select(nn.BatchNorm2d).names if name.startswith("layer1.")][2:-2]
    logs = np.log(record.select(*stage).output_grad_norm)       # (seeds, convolutions)
    slopes = [-np.polyfit(np.arange(len(stage)), row, 1)[0] for row in logs]
    return float(np.exp(np.median(slopes)))


checks.add(f"(a) plain-{DEEPEST}: growth per convolution, stage 1", growth_per_convolution(records["a", "plain", DEEPEST]),
           1.15, 1.24, "1.21 if wide: Yang et al. 2019")

checks.claim(lesson.Claim("The trouble of deep plain nets with batch norm is unlikely to be vanishing gradients.",
                          "He et al. 2015, section 4.1"),
             f"plain-{DEEPEST} with batch norm, at initialisation: {DW}", weight_ratio(records["a", "plain", DEEPEST]),
             1, math.inf, contrary=(0, 0.1), comment="At initialisation they do not vanish towards the input, they explode.")

# %%
# (b) No batch norm, Glorot: the input end starves, and dL/dW does not show it
# ----------------------------------------------------------------------------
# Glorot's variance is half of what ReLU needs, so each convolution takes a factor sqrt(1/2) from the gradient; and zero
# padding takes a little more, λ = (1 + 2 cos(π/(H + 1)))/3 on images of H x H, the largest eigenvalue of the mean over
# three neighbours. With n blocks in each stage, there are 2n convolutions at H = 14, 7 and 4.
#
# In the residual twin the stream passes by: a block adds the variance of its branch, which went through two convolutions,
# to that of the stream. With c for what one convolution does to a norm, a block does sqrt(1 + c⁴).

IMAGE_SIZES = (14, 7, 4)  # H of the three stages


def after_one_convolution(gain, H):
    """The factor on a gradient's norm: `gain`, sqrt(fan_in · variance / 2) for ReLU, times that of zero padding, λ."""
    return gain * (1 + 2 * math.cos(math.pi / (H + 1))) / 3


def predicted_plain(depth, gain):
    """The stream ratio of a plain net: every convolution between the first and the last block's input takes its factor."""
    n = (depth - 2) // 6
    counts = (2 * n, 2 * n, 2 * n - 2)                          # the last block's own two do not count
    return math.prod(after_one_convolution(gain, H) ** count for H, count in zip(IMAGE_SIZES, counts, strict=True))


def predicted_residual(depth, gain):
    """The stream ratio of a residual net: each block adds its branch's variance to the stream's."""
    n = (depth - 2) // 6
    counts = (n, n, n - 1)                                      # blocks
    return math.prod(math.sqrt(1 + after_one_convolution(gain, H) ** 4) ** count
                     for H, count in zip(IMAGE_SIZES, counts, strict=True))


def tolerance_of(depth):
    """The theory is for wide nets, away from the ends: we allow it a factor of 2, and 5 % for each layer."""
    return 2 * 1.05 ** depth


GLOROT_GAIN, HE_GAIN = math.sqrt(1 / 2), 1.0
for depth in DEPTHS:
    predicted, tolerance = predicted_plain(depth, GLOROT_GAIN), tolerance_of(depth)
    checks.add(f"(b) plain-{depth}: {STREAM}", stream_ratio(records["b", "plain", depth]),
               predicted / tolerance, predicted * tolerance, "∏ sqrt(1/2)·λ")
for depth in DEPTHS:
    checks.add(f"(b) residual-{depth}: {STREAM}", stream_ratio(records["b", "residual", depth]),
               0.3, predicted_residual(depth, GLOROT_GAIN) * tolerance_of(depth), "does not fall; ∏ sqrt(1 + c⁴)")

checks.claim("S5", f"if the layers near the loss starve (plain-{DEEPEST}, no batch norm, Glorot): {STREAM}",
             stream_ratio(records["b", "plain", DEEPEST]), 1, math.inf, contrary=(0, 1e-3), expect="contradicts",
             comment="Where gradients vanish, they do so towards the input: the first layers starve, not the deep ones.")

# %%
# And dL/dW? Beside that, it is nearly flat over the layers of the plain net! The reason: without biases, a ReLU net is a
# product. Scale the weight of one layer by (1 + ε), and the logits scale by (1 + ε), whichever layer it was; so
# ⟨W, dL/dW⟩ is one and the same number for all layers. The signal shrinks on its way forward as the gradient shrinks on
# its way back, and dL/dW is the product of both. Where the stream's gradient falls by twenty powers of ten, dL/dW changes
# by one or two, and the other way: a plot of dL/dW over the layers hides the vanishing. What it does show is that *all* of
# dL/dW collapses as the net gets deeper.


def spread_of_weight_dot_gradient(depth):
    """Largest over smallest ⟨W, dL/dW⟩ of all layers of a plain net, Glorot, no batch norm; the worst of the seeds."""
    spreads = []
    for seed in options.seeds:
        model = models.cifar_net(depth, False, WIDTH, in_channels=1, batch_norm=False, init=nn.init.glorot_normal_,
                                 seed=seed).to(options.device)
        x, y = batch(seed)
        mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y).backward()
        products = [abs(np.vdot(w.data.astype(np.float64), w.grad)) for w in model.to("cpu").parameters() if w.ndim > 1]
        spreads.append(max(products) / min(products))
    return max(spreads)


checks.add(f"(b) plain-{DEPTHS[1]}: ⟨W, dL/dW⟩, largest / smallest layer", spread_of_weight_dot_gradient(DEPTHS[1]), 1, 1.01,
           "1 exactly: homogeneity")
for depth in DEPTHS:
    checks.add(f"(b) plain-{depth}: {DW}", weight_ratio(records["b", "plain", depth]), 0.1, 1e3,
               "no fall towards the input")


def weight_level(record):
    """The median ‖dL/dW‖ over convolutions and seeds."""
    return float(np.median(record.select(nn.Conv2d).weight_grad_norm))


shallow, deep = (weight_level(records["b", "plain", depth]) for depth in (SHALLOWEST, DEEPEST))
checks.add(f"(b) dL/dW of all layers, plain-{DEEPEST} / plain-{SHALLOWEST}", deep / shallow, 0, 1e-12, REFERENCE)

# %%
# (c) No batch norm, N(0, 0.01²): dead to the exact zero
# ------------------------------------------------------
# With weights this small, each convolution divides the signal by 8 to 17 on its way forward. Float32 ends at 1e-45, and
# in plain-56 and plain-110 every dL/dW is exactly zero: no learning rate can help. The residual twin hardly notices: its
# branches are nearly silent, and its stream is the identity. That its ratio is below 1 comes with the channels that option
# A adds: they hold zeros, the gradient that arrives in them meets closed ReLUs or ends where they begin. It does not get
# worse with depth.

LEAST_FLOAT32 = 1.4e-45
SMALL_GAINS = [math.sqrt(9 * width * 0.01 ** 2 / 2) for width in (WIDTH, 2 * WIDTH, 4 * WIDTH)]


def predicted_signal(depth):
    """What is left of a signal of size 1 after the convolutions of a plain net with weights of N(0, 0.01²)."""
    n = (depth - 2) // 6
    return math.prod(after_one_convolution(gain, H) ** (2 * n) for gain, H in zip(SMALL_GAINS, IMAGE_SIZES, strict=True))


for depth in DEPTHS:
    dies = predicted_signal(depth) < LEAST_FLOAT32
    checks.add(f"(c) plain-{depth}: share of dL/dW that is exactly zero", zero_fraction(records["c", "plain", depth]),
               int(dies), int(dies), f"∏ = {predicted_signal(depth):.0e}, {'below' if dies else 'above'} 1e-45")
for depth in DEPTHS:
    checks.add(f"(c) residual-{depth}: {STREAM}", stream_ratio(records["c", "residual", depth]), 0.25, 0.5,
               REFERENCE + ": flat")

checks.claim(lesson.Claim("The gradient that reaches a block of a residual net does not vanish, even when the weights are "
                          "arbitrarily small.", "He et al. 2016, section 2"),
             f"residual-{DEEPEST}, N(0, 0.01²), no batch norm: {STREAM}", stream_ratio(records["c", "residual", DEEPEST]),
             0.1, math.inf, contrary=(0, 1e-3), comment="What is missing to 1 ends in the channels of zeros of option A.")

# %%
# (d) No batch norm, He: the shortcut alone is no cure
# ----------------------------------------------------
# He's initialisation gives the branch nearly as much variance as the stream (c = λ): each block nearly doubles it, forward
# and backward, and the norm of the gradient grows by nearly sqrt(2) with each block. So does the signal: the loss before
# the first step is in the millions. What batch norm does for a residual net is to keep the branches small beside the
# stream, which grows with every block that is added to it.

for depth in DEPTHS:
    predicted, tolerance = predicted_residual(depth, HE_GAIN), tolerance_of(depth)
    checks.add(f"(d) residual-{depth}: {STREAM}", stream_ratio(records["d", "residual", depth]),
               predicted / tolerance, predicted * tolerance, "∏ sqrt(1 + λ⁴)")
checks.add(f"(d) residual-{DEEPEST}: loss before training", losses["d", "residual", DEEPEST], 1e4, math.inf,
           "ln 10 = 2.3 is chance")

# %%
# The figures
# -----------
# All four starts at 110 layers, then each start at the three depths.

SENTENCES = {
    "a": "(a) batch norm, He: the plain gradient explodes towards the input, the residual one does not",
    "b": "(b) no batch norm, Glorot: the gradient of the plain stream dies towards the input, the residual one does not",
    "c": "(c) no batch norm, N(0, 0.01²): the plain net is dead to the exact zero, the residual stream is flat",
    "d": "(d) no batch norm, He: a shortcut alone is no cure, the residual gradient explodes",
}
figure, axes = pyplot.subplots(2, 2, figsize=(13, 9), layout="constrained")
for start, ax in zip(STARTS, axes.flat, strict=True):
    mr.plot.gradient_norms([records[start, net, DEEPEST].stream() for net in NETS],
                           labels=[f"{net}-{DEEPEST}" for net in NETS], ax=ax)
    ax.set_title(f"({start}) {STARTS[start][0]}")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, 1e-5), max(high, 1e2))                 # what is flat should look flat
figure.suptitle(f"The gradient of the stream at initialisation, {DEEPEST} layers: medians and range of "
                f"{len(options.seeds)} seeds")
lesson.save_figure(figure, options, "plain_vs_residual.png")

for start, sentence in SENTENCES.items():
    quantities = ("weight_grad_norm",) if start == "a" else ("output_grad_norm", "weight_grad_norm")
    figure, axes = pyplot.subplots(len(quantities), 2, figsize=(13, 4.7 * len(quantities)), layout="constrained",
                                   sharey="row", squeeze=False)
    for row, quantity in zip(axes, quantities, strict=True):
        for net, ax in zip(NETS, row, strict=True):
            kind = nn.Conv2d if quantity == "weight_grad_norm" else models.Block
            mr.plot.gradient_norms([records[start, net, depth].select(kind) for depth in reversed(DEPTHS)],
                                   labels=[f"{net}-{depth}" for depth in reversed(DEPTHS)], quantity=quantity, ax=ax)
            ax.set_title({"weight_grad_norm": "convolutions' weights", "output_grad_norm": "blocks' outputs (the stream)"}
                         [quantity] + f", {net}")
    figure.suptitle(sentence)
    lesson.save_figure(figure, options, f"{start}_by_depth.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "Deep plain nets with batch norm do not suffer from vanishing gradients at initialisation: theirs explode towards the "
    "input; they vanish without batch norm, and then it is the input end that starves, unseen in a plot of dL/dW.",
    "The shortcut keeps the gradient of the stream from vanishing under every start tried here, but it does not set its "
    "scale: without batch norm and with He's initialisation the residual net explodes, so the two need each other.",
))

# %%
# Exercises
# ---------
# 1. Give the nets option B shortcuts (``shortcut="B"`` in ``measure``). Which of the figures changes, and why so little?
# 2. In (d), multiply the last convolution of every block by 1/sqrt(number of blocks). Predict the residual stream's ratio
#    first: a block then does sqrt(1 + λ⁴/blocks).
# 3. Plot (a) after one step of ``mr.optim.SGD`` with a learning rate of 0.1. The explosion is gone; look at the norms of
#    the weights to see what it has done.
