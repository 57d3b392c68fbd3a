"""
Why batch norm and shortcuts need each other
============================================

:Question: How do gradients grow with depth under batch norm alone, under shortcuts alone, and under both? And can anything
    take the place of batch norm?
:Time: under two minutes on two cores
:Before this: the lesson that compares plain and residual nets

Batch norm alone lets the gradient of a deep net explode, and shortcuts alone do so too. Together they do not. We build nets
that differ in nothing else, of 4 to 64 blocks, and look at how the gradient grows with depth: fully connected ones on normal
inputs, where the theory is exact, and then the nets of He et al. 2015 on photographs of clothing (Fashion-MNIST, averaged
to 14 x 14 pixels). Then we take batch norm away and put one number into each branch in its place.

Think about first
-----------------

* A shortcut hands the gradient on unchanged: the derivative of x + F(x) is 1 + F′(x). How can that explode?
* Batch norm divides by the standard deviation of its input. Is that of a residual net's stream the same at each depth?
* A branch that starts as 0 · F(x) computes nothing. Can it learn?
"""
import csv
import math
from typing import Any

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops, training
from minires.course import lesson, theory

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# Blocks of one layer
# -------------------
# A branch is F(x) = W φ(bn(x)), in the order of He et al. 2016, with He's initialisation for ReLU: weights of variance
# 2/units. A plain net is a row of them. A residual net adds x to each, scaled by α or not. We give the last block a normal
# gradient, and measure by what the whole net multiplies its norm on the way to the input: the *gain*.

DEPTHS = options.pick(tiny=(4, 8), default=(4, 8, 16, 32, 64), full=(4, 8, 16, 32, 64, 128))  # blocks
HALF, DEEPEST = DEPTHS[-2:]
UNITS, SAMPLES = options.pick(tiny=(64, 32), default=(256, 128), full=(512, 128))


class DenseBlock(nn.Module):
    """F(x) or x + scale · F(x), with a fully connected branch of one layer."""

    def __init__(self, residual, batch_norm, activation, scale):
        super().__init__()
        self.residual, self.scale = residual, scale
        self.bn = nn.BatchNorm2d(UNITS) if batch_norm else nn.Identity()
        self.act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]()
        self.linear = nn.Linear(UNITS, UNITS, bias=False)

    def forward(self, x):
        """(N, units) -> (N, units)."""
        y = self.bn(x)
        y = self.act(y)
        y = self.linear(y)
        if self.scale != 1:
            y = y * self.scale
        return ops.shortcut_add(y, x) if self.residual else y


def dense_net(blocks, seed, residual=True, batch_norm=True, activation="relu", scale=lambda blocks: 1):
    """A row of `DenseBlock`s; `scale` is a function of their number."""
    variance = {"relu": 2, "tanh": 1}[activation] / UNITS
    net = nn.Sequential(*[DenseBlock(residual, batch_norm, activation, scale(blocks)) for _ in range(blocks)])
    return nn.init.initialize_(net, lambda w, generator: nn.init.normal_(w, generator, math.sqrt(variance)), seed)


def normal_pair(seed):
    """Two normal arrays (samples, units): the input, and the gradient of the output."""
    return np.random.default_rng(seed).standard_normal((2, SAMPLES, UNITS)).astype(np.float32)


def gain(blocks, seed, **kind):
    """‖dL/d(input)‖ / ‖dL/d(output)‖ of a net at initialisation."""
    net = dense_net(blocks, seed, **kind).to(options.device)
    x, gradient = (mr.Tensor(array).to(options.device) for array in normal_pair(seed))
    x = mr.Tensor(x.data, requires_grad=True)
    net(x).backward(gradient.data)
    return float(np.linalg.norm(mr.Tensor(x.grad).numpy()) / np.linalg.norm(gradient.numpy()))


def one_over_root(blocks):
    """α = 1/sqrt(L)."""
    return blocks ** -0.5


KINDS: dict[str, dict[str, Any]] = {
    "plain, batch norm": {"residual": False},
    "residual, no batch norm": {"batch_norm": False},
    "residual, no batch norm, tanh": {"batch_norm": False, "activation": "tanh"},
    "residual, batch norm": {},
    "residual, no batch norm, α = 1/sqrt(L)": {"batch_norm": False, "scale": one_over_root},
}
gains = {}  # (kind, blocks): (seeds,)
with open(options.out / "gains.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["net", "blocks", "seed", "gain"])
    for kind, blocks in lesson.progress([(kind, blocks) for kind in KINDS for blocks in DEPTHS], "fully connected"):
        gains[kind, blocks] = np.array([gain(blocks, seed, **KINDS[kind]) for seed in options.seeds])
        writer.writerows([kind, blocks, seed, value] for seed, value in zip(options.seeds, gains[kind, blocks], strict=True))
        file.flush()                                            # an interrupted run keeps what it has measured

# %%
# What theory says
# ----------------
# Take mean squares. On its way back through a branch, Wᵀ doubles that of the gradient, ReLU halves it, and batch norm
# divides it by the variance σ² of its input.
#
# - **Plain, batch norm.** That input is one branch's output, whose variance is 1 - 1/π: ReLU takes away the mean's part.
#   So each layer multiplies by π/(π - 1) = 1.47, and the norm by 1.21 (Yang et al. 2019). Exponential.
# - **Residual, no batch norm.** Each branch has as much as the stream: a block doubles, forward and backward. 2^L.
# - **Residual, batch norm.** The stream is the sum of the l branches before it: σ² = 1 + l (1 - 1/π). A block multiplies by
#   1 + 1/σ², which comes ever closer to 1, as batch norm divides by an ever larger stream. The product grows as L to the
#   power π/(π - 1): a *power law*. The variance is that of De & Smith 2020; the product is our derivation.
# - **Residual, no batch norm, α = 1/sqrt(L).** (1 + 1/L)^L, which is e at most.
# - **Residual, no batch norm, tanh.** Its branches cannot grow, so the stream's mean square q rises by less than 1 with each
#   block; and tanh passes ever less of the gradient on as q rises. What comes out is between a power and an exponential:
#   about e to the power sqrt(L) (Yang & Schoenholz 2017). We repeat q and the product block by block.

BRANCH_VARIANCE = 1 - 1 / math.pi


def tanh_gain(blocks):
    """The root of ∏ (1 + E[tanh′(z)²]) over z ~ N(0, q), where each block adds E[tanh(z)²] to q."""
    z = np.linspace(-10, 10, 20001)
    weights = np.exp(-z ** 2 / 2)
    weights /= weights.sum()
    q, product = 1.0, 1.0
    for _ in range(blocks):
        product *= 1 + weights @ theory.tanh_slope(math.sqrt(q) * z) ** 2
        q += weights @ np.tanh(math.sqrt(q) * z) ** 2
    return math.sqrt(product)


PREDICTED = {
    "plain, batch norm": lambda L: BRANCH_VARIANCE ** (-(L - 1) / 2),  # the first one's input has variance 1
    "residual, no batch norm": lambda L: 2 ** (L / 2),
    "residual, no batch norm, tanh": tanh_gain,
    "residual, batch norm": lambda L: math.sqrt(math.prod(1 + 1 / (1 + i * BRANCH_VARIANCE) for i in range(L))),
    "residual, no batch norm, α = 1/sqrt(L)": lambda L: (1 + 1 / L) ** (L / 2),
}
SOURCES = {
    "plain, batch norm": "sqrt(π/(π - 1)), Yang et al. 2019",
    "residual, no batch norm": "sqrt(2)",
    "residual, no batch norm, tanh": "Yang & Schoenholz 2017",
    "residual, batch norm": "our product; variance: De & Smith 2020",
    "residual, no batch norm, α = 1/sqrt(L)": "(1 + 1/L)^(L/2)",
}
GROWTH = {"plain, batch norm": BRANCH_VARIANCE ** -0.5, "residual, no batch norm": math.sqrt(2)}  # of one block
for kind, factor in GROWTH.items():
    growth = (gains[kind, DEEPEST] / gains[kind, HALF]) ** (1 / (DEEPEST - HALF))
    checks.add(f"{kind}: factor of one block", growth, 0.98 * factor, 1.02 * factor, f"{factor:.3f}: {SOURCES[kind]}")
for kind in [kind for kind in KINDS if kind not in GROWTH]:
    predicted = PREDICTED[kind](DEEPEST)                        # for wide layers: we allow it 10 %
    checks.add(f"{kind}: gain of {DEEPEST} blocks", gains[kind, DEEPEST], 0.9 * predicted, 1.1 * predicted,
               f"{predicted:.3g}: {SOURCES[kind]}")

# %%
# Power or exponential?
# ---------------------
# Double the depth. An exponential then takes twice as many powers of ten. A power law has the same factor whatever the
# depth: with both, batch norm and shortcuts, 2 to the power 0.73, which is 1.66.


def times_more(kind):
    """Powers of ten of the deepest net's gain, over those of the net of half as many blocks; one for each seed."""
    return np.log(gains[kind, DEEPEST]) / np.log(gains[kind, HALF])


YANG_2019 = lesson.Claim("Without shortcuts, batch norm makes gradients explode exponentially with depth at initialisation, "
                         "under any of the common initialisations.", "Yang et al. 2019 (arXiv:1902.08129), abstract")
ZHANG = lesson.Claim("Without normalisation, residual nets with a standard initialisation have exploding gradients.",
                     "Zhang et al. 2019 (arXiv:1901.09321), section 2")
YANG_2017 = lesson.Claim("Shortcuts make gradients grow slower than exponentially with depth, depending on the activation.",
                         "Yang & Schoenholz 2017 (arXiv:1712.08969), abstract")
WHAT = f"powers of ten that {DEEPEST} blocks add, over those that {HALF} add"
checks.claim(YANG_2019, f"plain, batch norm: {WHAT}", times_more("plain, batch norm"), 1.8, 2.2, contrary=(0, 1.6),
             comment="It is exponential for ReLU and He's initialisation: twice the depth squares the growth.")
checks.claim(ZHANG, f"residual, no batch norm: {WHAT}", times_more("residual, no batch norm"), 1.8, 2.2, contrary=(0, 1.6),
             comment="With ReLU and He's initialisation a shortcut alone does not help: twice the depth squares the growth.")
checks.claim(YANG_2017, f"residual, no batch norm, tanh: {WHAT}", times_more("residual, no batch norm, tanh"), 1, 1.6,
             contrary=(1.8, math.inf), comment="It holds for tanh, whose branches cannot grow with the stream.")
checks.claim(YANG_2017, f"residual, batch norm: {WHAT}", times_more("residual, batch norm"), 1, 1.6,
             contrary=(1.8, math.inf),
             comment="It holds for ReLU where batch norm keeps the branches from growing with the stream.")
doubling = PREDICTED["residual, batch norm"](DEEPEST) / PREDICTED["residual, batch norm"](HALF)
checks.add(f"residual, batch norm: gain of {DEEPEST} blocks / of {HALF}",
           gains["residual, batch norm", DEEPEST] / gains["residual, batch norm", HALF], 0.95 * doubling, 1.05 * doubling,
           f"{doubling:.3g}; 2^(π/(2π - 2)) = 1.66 in the limit")

# %%
# What batch norm does to a branch
# --------------------------------
# The l-th branch has the same size as the first, but it is added to a stream of l others and the input. So it is smaller
# than the stream by about the root of l. That is what De & Smith 2020 hold to be the work of batch norm in a residual net.
# We measure it in the last block: 1/sqrt(l + 1), as it is the sum of mean squares that counts, and there are l before it.
#
# And on images: in the first stage of pre-activation nets for CIFAR, where the stream starts with the mean square s of the
# stem's output, and zero padding takes a factor λ from each branch. We measure s and predict the rest.


def branch_over_stream(net, blocks, x):
    """[(‖F(x)‖ / ‖x‖, mean square of x) for each of the `blocks`], for x + F(x) blocks."""
    sizes = []

    def hook(_block, inputs, output):
        stream, after = inputs[0].numpy(), output.numpy()
        sizes.append((np.linalg.norm(after - stream) / np.linalg.norm(stream), float((stream ** 2).mean())))

    for block in blocks:
        block.forward_hooks.append(hook)
    with mr.no_grad():
        net(mr.Tensor(x).to(options.device))
    return np.array(sizes)


images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)
H = 14
BATCH_SIZE, WIDTH = options.pick(tiny=(8, 4), default=(32, 8), full=(64, 16))


def batch(seed):
    """Images and labels, chosen by the seed."""
    return next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))


shrinks = []
for seed in options.seeds:
    net = dense_net(DEEPEST, seed).to(options.device)
    shrinks.append(branch_over_stream(net, list(net), normal_pair(seed)[0])[-1, 0] * math.sqrt(DEEPEST))
DE_SMITH = lesson.Claim("At initialisation batch norm makes the residual branch smaller than the stream, by about the "
                        "square root of the depth.", "De & Smith 2020 (arXiv:2002.10444), abstract")
checks.claim(DE_SMITH, f"fully connected, block {DEEPEST}: ‖F(x)‖ / ‖x‖, times sqrt({DEEPEST})", shrinks, 0.9, 1.1,
             contrary=(2, math.inf), comment="In wide layers it is the square root to within 10 %.")

IMAGE_DEPTH = options.pick(tiny=20, default=110, full=110)
measured_over_predicted = []
for seed in options.seeds:
    net = models.cifar_net(IMAGE_DEPTH, width=WIDTH, in_channels=1, preactivation=True, seed=seed).to(options.device)
    sizes = branch_over_stream(net, list(net.layer1), batch(seed)[0])
    branch = theory.padding_factor(H) ** 2                      # the mean square of F(x)
    expected = math.sqrt(branch / (sizes[0, 1] + (len(sizes) - 1) * branch))
    measured_over_predicted.append(sizes[-1, 0] / expected)
checks.add(f"pre-activation net of {IMAGE_DEPTH} layers, last block of stage 1: ‖F(x)‖ / ‖x‖, measured / predicted",
           measured_over_predicted, 0.85, 1.15, "λ / sqrt(s + l·λ²): De & Smith 2020")

# %%
# Instead of batch norm: one number in each branch
# ------------------------------------------------
# If small branches are the point, they can be had without batch norm. Three proposals, all for nets without it:
#
# - a fixed α = 1/sqrt(number of blocks) in front of each branch;
# - SkipInit (De & Smith 2020): a trainable α that starts at 0;
# - Fixup (Zhang et al. 2019, section 3), for L blocks of two convolutions: the last convolution of each branch and the
#   classifier start at 0, the first is made smaller by 1/sqrt(L); and there is a trainable factor, starting at 1, in each
#   branch, and trainable shifts, starting at 0, between its parts and before the classifier.


class ScaledBlock(models.BasicBlock):
    """α · F(x) + shortcut(x)."""

    def __init__(self, *args, alpha, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def add_shortcut(self, y, x):
        """(N, O, OH, OW), (N, C, H, W) -> (N, O, OH, OW)."""
        return super().add_shortcut(y * self.alpha, x)


class SkipInitBlock(ScaledBlock):
    """De & Smith 2020, section 4: α is trained, and starts at 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, alpha=mr.Tensor(np.zeros(1, np.float32), requires_grad=True), **kwargs)


class Shift(nn.Module):
    """x + b with one trainable number b, which starts at 0."""

    def __init__(self):
        super().__init__()
        self.bias = mr.Tensor(np.zeros(1, np.float32), requires_grad=True)

    def forward(self, x):
        """Any shape -> the same shape."""
        return x + self.bias


class FixupBlock(models.BasicBlock):
    """The block of Zhang et al. 2019, figure 1 at the right."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift1, self.shift2, self.shift3, self.shift4 = Shift(), Shift(), Shift(), Shift()
        self.scale = mr.Tensor(np.ones(1, np.float32), requires_grad=True)

    def forward(self, x):
        """(N, C, H, W) -> (N, O, OH, OW)."""
        y = self.conv1(self.shift1(x))
        y = self.relu1(self.shift2(y))
        y = self.conv2(self.shift3(y))
        y = self.shift4(y * self.scale)
        return self.relu2(self.add_shortcut(y, x))


def without_batch_norm(depth, seed, block, **block_options):
    """`models.cifar_net` with blocks of another class."""
    net = models.ResNet(block, [(depth - 2) // 6] * 3, [WIDTH, 2 * WIDTH, 4 * WIDTH], in_channels=1, num_classes=10,
                        stem="cifar", preactivation=False, batch_norm=False, residual=True, **block_options)
    return nn.init.initialize_(net, nn.init.he_normal_, seed, linear_init=nn.init.lecun_normal_)


def blocks_in(depth):
    """The number of blocks, 3n, of a net of 6n + 2 layers."""
    return (depth - 2) // 2


def fixup(depth, seed):
    """A net with Fixup."""
    net: Any = without_batch_norm(depth, seed, FixupBlock)      # its last layer becomes two
    for _name, block in net.named_modules():
        if isinstance(block, FixupBlock):
            block.conv1.weight.data *= blocks_in(depth) ** -0.5  # L^(-1/(2m - 2)), with m = 2 layers in a branch
            nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(net.fc.weight)
    net.fc = nn.Sequential({"shift": Shift(), "linear": net.fc})
    return net


NETS = {  # name: a function of (depth, seed)
    "plain, batch norm": lambda depth, seed: models.cifar_net(depth, False, WIDTH, in_channels=1, seed=seed),
    "residual, no batch norm": lambda depth, seed: models.cifar_net(depth, True, WIDTH, in_channels=1, batch_norm=False,
                                                                    seed=seed),
    "residual, batch norm": lambda depth, seed: models.cifar_net(depth, True, WIDTH, in_channels=1, seed=seed),
    "α = 1/sqrt(L)": lambda depth, seed: without_batch_norm(depth, seed, ScaledBlock, alpha=blocks_in(depth) ** -0.5),
    "SkipInit": lambda depth, seed: without_batch_norm(depth, seed, SkipInitBlock),
    "Fixup": fixup,
}

# %%
# How they start
# --------------
# The gradients on images at initialisation: the norm where the first block reads the stream, over that where the last
# block reads it. For SkipInit and Fixup we take the first stage alone, where each block is exactly the identity. (Fixup's
# classifier of zeros stops every gradient of the first step, so we give the net's last block a normal one.)

IMAGE_DEPTHS = options.pick(tiny=(8, 14), default=(8, 14, 20, 32, 56, 110), full=(8, 14, 20, 32, 56, 110, 218))
SHOWN = ("plain, batch norm", "residual, no batch norm", "residual, batch norm", "α = 1/sqrt(L)", "SkipInit")


def stream_gradients(name, depth):
    """‖dL/dx‖ of the stream where each block reads it, (seeds, blocks)."""
    norms = []
    for seed in options.seeds:
        net = NETS[name](depth, seed).to(options.device)
        with mr.record_gradients(net) as record:
            y = mr.Tensor(batch(seed)[0]).to(options.device)
            for part in (net.conv1, net.bn1, net.relu, net.layer1, net.layer2, net.layer3):
                y = part(y)
            gradient = np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32)
            y.backward(mr.Tensor(gradient).to(options.device).data)
        norms.append(record.stream().output_grad_norm[0, :-1])  # the last block's output is no input
    return np.array(norms)


stream = {}
for name, depth in lesson.progress([(name, depth) for name in NETS for depth in IMAGE_DEPTHS], "images"):
    stream[name, depth] = stream_gradients(name, depth)
    np.savetxt(options.out / f"stream_{list(NETS).index(name)}_{depth}.csv", stream[name, depth], delimiter=",")


def ratios(name, depth):
    """First block's input / last block's, for each seed."""
    return stream[name, depth][:, 0] / stream[name, depth][:, -1]


MIDDLE, DEEP = IMAGE_DEPTHS[-2:]
doubled = (blocks_in(DEEP) - 1) / (blocks_in(MIDDLE) - 1)       # how many times as many steps lie between the two ends
WHAT = f"images, {DEEP} layers: powers of ten of the stream's gradient, over those of {MIDDLE} layers"
exponential = np.log(ratios("plain, batch norm", DEEP)) / np.log(ratios("plain, batch norm", MIDDLE))
power_law = np.log(ratios("residual, batch norm", DEEP)) / np.log(ratios("residual, batch norm", MIDDLE))
checks.claim(YANG_2019, f"plain, batch norm; {WHAT}", exponential, 0.85 * doubled, 1.15 * doubled,
             contrary=(0, 0.75 * doubled), comment="So it is in convolutional nets on images.")
checks.claim(YANG_2017, f"residual, batch norm; {WHAT}", power_law, 0, 0.75 * doubled, contrary=(0.85 * doubled, math.inf),
             comment="So it is in convolutional nets with batch norm on images.")


def small_branch_gain(depth, alpha):
    """∏ sqrt(1 + α²·λ⁴) over the blocks, whose branches go through two convolutions on H x H pixels; and 1/sqrt(2) for
    each of the two changes of stage, as half of the channels end there: option A made them, of zeros. Our derivation.
    """
    n = (depth - 2) // 6
    return math.prod(math.sqrt(1 + alpha ** 2 * theory.padding_factor(pixels) ** 4) ** count
                     for pixels, count in ((14, n), (7, n), (4, n - 1))) / 2


steps = blocks_in(DEEP) - 1
factor = small_branch_gain(DEEP, 1) ** (1 / steps)
checks.add(f"residual, no batch norm, {DEEP} layers on images: factor of one block",
           ratios("residual, no batch norm", DEEP) ** (1 / steps), 0.95 * factor, 1.05 * factor,
           f"{factor:.3g}: sqrt(1 + λ⁴)")
predicted = small_branch_gain(DEEP, blocks_in(DEEP) ** -0.5)    # within 2: ReLUs close where the stem's output is 0
checks.add(f"α = 1/sqrt(L), {DEEP} layers on images: stream's gradient, first block / last", ratios("α = 1/sqrt(L)", DEEP),
           predicted / 2, predicted * 2, f"{predicted:.2g}: ∏ sqrt(1 + λ⁴/L)")
for name in ("SkipInit", "Fixup"):
    first_stage = stream[name, DEEP][:, :(DEEP - 2) // 6]
    checks.add(f"{name}, {DEEP} layers on images: gradient in stage 1, first block / last",
               first_stage[:, 0] / first_stage[:, -1], 0.99, 1, "1: F(x) = 0, and ReLU closed only where x = 0")

# %%
# Can they learn?
# ---------------
# Nets of 44 layers, the same learning rate for all; but, as in the code of its authors, Fixup's single numbers have a tenth
# of it. Guessing has a loss of ln 10 = 2.303. This is a short run of narrow nets: it shows who starts, not who ends up best.

TRAIN_DEPTH, STEPS = options.pick(tiny=(8, 3), default=(44, 100), full=(56, 300))
LEARNING_RATE, MOMENTUM = 0.05, 0.9
TRAINED = ("residual, batch norm", "α = 1/sqrt(L)", "SkipInit", "Fixup", "residual, no batch norm")
TRAINED_SEEDS = options.seeds[:3]


def optimizer_of(name, net):
    """Stochastic gradient descent; for Fixup, the single numbers have a tenth of the learning rate of the kernels."""
    parameters = list(net.parameters())
    groups: list[dict] = [{"params": parameters}]
    if name == "Fixup":
        groups = [{"params": [p for p in parameters if p.size > 1]},
                  {"params": [p for p in parameters if p.size == 1], "lr": LEARNING_RATE / 10}]
    return mr.optim.SGD(groups, LEARNING_RATE, MOMENTUM)


def train(name, seed):
    """The loss before each step, (steps,); infinite from where it is not finite on."""
    net = NETS[name](TRAIN_DEPTH, seed).to(options.device)
    optimizer = optimizer_of(name, net)
    losses = np.full(STEPS, math.inf)
    batches = iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed))
    with np.errstate(over="ignore", invalid="ignore"):          # a net that explodes overflows float32
        for i in range(STEPS):
            x, y = next(batches)
            loss = float(training.train_step(net, optimizer, x, y, options.device)[1])
            if not math.isfinite(loss):
                break
            losses[i] = loss
    return losses


curves: dict[str, list[np.ndarray]] = {}  # name: (seeds, steps)
for name, seed in lesson.progress([(name, seed) for name in TRAINED for seed in TRAINED_SEEDS], "training"):
    curves.setdefault(name, []).append(train(name, seed))
    np.savetxt(options.out / f"loss_{list(NETS).index(name)}_seed{seed}.csv", curves[name][-1], delimiter=",")
end = {name: np.array(curves[name])[:, -max(1, STEPS // 10):].mean(axis=1) for name in TRAINED}

GUESSING = math.log(10)
WHAT = f"{TRAIN_DEPTH} layers: loss after {STEPS} steps, over ln 10"
checks.add(f"residual, no batch norm; {WHAT}", end["residual, no batch norm"] / GUESSING, 0.98, math.inf,
           "2^L before the first step")
checks.claim(lesson.Claim("SkipInit trains deep residual nets without normalisation.",
                          "De & Smith 2020 (arXiv:2002.10444), section 4"),
             f"SkipInit; {WHAT}", end["SkipInit"] / GUESSING, 0, 0.85, contrary=(0.98, math.inf),
             comment="It starts where the same net without the factor does not. Nothing is said of how good it becomes.")
checks.claim(lesson.Claim("Fixup trains deep residual nets without normalisation.", "Zhang et al. 2019, abstract"),
             f"Fixup; {WHAT}", end["Fixup"] / GUESSING, 0, 0.85, contrary=(0.98, math.inf),
             comment="It starts where the same net with a standard initialisation does not.")
checks.claim(lesson.Claim("He's initialisation is not the best one for residual nets without normalisation: the best "
                          "variance depends on the depth.", "Yang & Schoenholz 2017, abstract"),
             f"α = 1/sqrt(L); {WHAT}", end["α = 1/sqrt(L)"] / GUESSING, 0, 0.85, contrary=(0.98, math.inf),
             comment="With branches made smaller by the root of their number the net learns; with He's alone it does not.")
checks.add(f"residual, batch norm; {WHAT}", end["residual, batch norm"] / GUESSING, 0, 0.85, "it learns")

# %%
# The figures
# -----------

colours: dict[str, tuple[str, str]] = dict(zip(
    ("plain, batch norm", "residual, no batch norm", "residual, batch norm", "α = 1/sqrt(L)", "SkipInit"),
    zip(mr.plot.COLOURS, mr.plot.MARKERS, strict=True), strict=False))
colours["residual, no batch norm, α = 1/sqrt(L)"] = colours["α = 1/sqrt(L)"]
colours["residual, no batch norm, tanh"] = mr.plot.COLOURS[5], mr.plot.MARKERS[5]
colours["Fixup"] = mr.plot.COLOURS[5], mr.plot.MARKERS[5]


def draw_growth(ax, blocks, values, name):
    """The median over the seeds as a line, from the least to the largest as bars; values: (seeds,) for each depth."""
    values = np.array(values)                                   # (depths, seeds)
    colour, marker = colours[name]
    median = np.median(values, axis=1)
    ax.errorbar(blocks, median, [median - values.min(axis=1), values.max(axis=1) - median], color=colour, marker=marker,
                markersize=5, capsize=3, linewidth=1.2, label=name)


figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.6), layout="constrained")
lines = np.arange(min(DEPTHS), DEEPEST + 1)
for kind in KINDS:
    draw_growth(left, DEPTHS, [gains[kind, blocks] for blocks in DEPTHS], kind)
    left.plot(lines, [PREDICTED[kind](L) for L in lines], "--", color="black", linewidth=0.8)
left.plot([], [], "--", color="black", linewidth=0.8, label="theory")
left.set_title("fully connected, one layer a block")
left.set_ylabel("gain: ‖dL/d(input)‖ / ‖dL/d(output)‖")
for name in SHOWN:
    draw_growth(right, [blocks_in(depth) for depth in IMAGE_DEPTHS], [ratios(name, depth) for depth in IMAGE_DEPTHS], name)
right.set_title("nets of 6n + 2 layers on images, two convolutions a block")
right.set_ylabel("‖dL/dx‖ of the stream, first block / last")
for ax, numbers in ((left, DEPTHS), (right, [blocks_in(depth) for depth in IMAGE_DEPTHS])):
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.set_xticks(numbers, [str(L) for L in numbers])
    ax.set_xlabel("blocks, L (a power law is a straight line)")
    ax.grid(True, which="major", alpha=0.3)
    ax.legend(fontsize="small")
figure.suptitle("Batch norm alone, or shortcuts alone: exponential growth with depth. "
                "Both, or small branches: a power at most")
lesson.save_figure(figure, options, "growth.png")

figure, ax = pyplot.subplots(figsize=(8.5, 5), layout="constrained")
for name in TRAINED:
    values, colour = np.array(curves[name]), colours[name][0]
    ended = int(np.isfinite(np.median(values, axis=0)).sum())
    label = name if ended == STEPS else f"{name}: not finite after {ended} steps"
    with np.errstate(invalid="ignore"):
        ax.plot(np.arange(1, STEPS + 1), np.median(values, axis=0), color=colour, label=label)
    ax.fill_between(np.arange(1, STEPS + 1), values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
ax.axhline(GUESSING, color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
ax.set_ylim(0, 6)
ax.set_xlabel("step")
ax.set_ylabel(f"training loss, median and range of {len(TRAINED_SEEDS)} seeds")
ax.legend(fontsize="small")
ax.set_title(f"Small branches do what batch norm does at the start: {TRAIN_DEPTH} layers begin to learn")
lesson.save_figure(figure, options, "training.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "At initialisation the gradient grows exponentially with depth in plain nets with batch norm, and in residual ReLU nets "
    "without it. With both it grows like a power of the depth, as batch norm makes each branch small beside the stream.",
    "One small number in each branch, 1/sqrt(L), or one that starts at 0, does the same without batch norm: nets that "
    "could not start begin to learn.",
))

# %%
# Exercises
# ---------
# 1. Give the branches of ``DenseBlock`` two layers. The exponent of the gain becomes (π/(π - 1))²/2 = 1.08: where does the
#    square come from? Measure it.
# 2. Take α = 1/L, and α = 2/sqrt(L). What does (1 + α²)^(L/2) say for large L? Which of them begins to learn?
# 3. De & Smith 2020 find that batch norm allows for larger learning rates than SkipInit. Raise ``LEARNING_RATE`` until the
#    first net fails. Which one is it?
# 4. Let SkipInit's α start at 1 in place of 0. Is it the training of α that helps, or its start?
# 5. Give Fixup's single numbers the whole learning rate, and run with ``--seed 100``. What do you see?
