"""
What batch norm does to a gradient
==================================

:Question: Does batch norm keep the gradient of a deep plain net from vanishing and exploding?
:Time: 40 s on two cores
:Before this: the lessons on vanishing and exploding gradients; the one on variance for its last section

Batch norm gives every channel a mean of 0 and a variance of 1, at every layer. So no signal can vanish or explode on its way
forward. We look at the way back, in plain nets at initialisation: with fully connected layers and normal inputs, where the
theory is exact, and with convolutions on photographs of clothing (Fashion-MNIST, averaged to 14 x 14 pixels).

Batch norm looks at the whole batch, so its backward pass has two parts: the division by the standard deviation, and what
comes through the mean and the variance. ``freeze_statistics`` leaves the second part out, to see what it is good for.

Think about first
-----------------

* Forward, batch norm keeps every signal at size 1. Must the gradient then keep its size too?
* All weights of a net are made ten times as large, and batch norm follows each layer. What happens to the loss? To dL/dW?
* Nets with batch norm are said to have no exploding gradients. Where would you look, to see whether it is so?
"""
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops
from minires.course import lesson, measures

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# One layer: what it does to the mean square of a gradient
# --------------------------------------------------------
# Without batch norm, He's layer doubles by Wᵀ and halves by ReLU: 1. Batch norm makes its input's variance 1, and ReLU
# leaves of that a mean square of 1/2, as in He's net. But a part of it, 1/(2π), is the square of the *mean*, which the next
# batch norm takes away. Only (1 - 1/π)/2 is left of the signal, and batch norm divides by its root to have a variance of 1
# again. The gradient is divided by the same number, and has lost no mean before: its mean square grows by
# π/(π - 1) = 1.467, its norm by 1.211 in each layer, whatever the weights are (Yang et al. 2019, arXiv:1902.08129, for large
# batches; this short derivation is ours).
#
# Without an activation there is no mean to lose, and a batch of B gives (B - 2)/(B - 3), which is nearly 1 (Yang et al.
# 2019).

UNITS = options.pick(tiny=48, default=512, full=1024)
LAYERS = options.pick(tiny=10, default=24, full=32)
BATCHES = options.pick(tiny=(8, 16), default=(8, 16, 32, 128), full=(8, 16, 32, 64, 128, 256))
LARGEST = BATCHES[-1]


def freeze(net, frozen=True):
    """Make every batch norm of a net treat its statistics as constants in backward, or not."""
    for _name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.freeze_statistics = frozen
    return net


def he_times(scale):
    """An initialiser: He's, with weights `scale` times as large."""
    def init(w, generator):
        return nn.init.normal_(w, generator, scale * math.sqrt(2 / nn.init.fans(w)[0]))
    return init


def dense_net(activation, seed, scale=1.0, units=UNITS, layers=LAYERS):
    """Fully connected layers with batch norm and an activation, if any; weights of N(0, scale² · 2/units)."""
    parts = [nn.Sequential(nn.Linear(units, units, bias=False), nn.BatchNorm2d(units),
                           *([activation()] if activation else [])) for _ in range(layers)]
    return nn.init.initialize_(nn.Sequential(*parts), he_times(scale), seed)


def dense_factors(activation, batch, frozen=False, scale=1.0):
    """By what each layer multiplies the mean square of dL/dx, (seeds,), for a normal gradient given to the last one."""
    norms = []
    for seed in options.seeds:
        net = freeze(dense_net(activation, seed, scale), frozen).to(options.device)
        x, gradient = (mr.Tensor(array).to(options.device) for array in
                       np.random.default_rng(seed).standard_normal((2, batch, UNITS)).astype(np.float32))
        with mr.record_gradients(net) as record:
            net(x).backward(gradient.data)
        norms.append(record.select(nn.BatchNorm2d).output_grad_norm[0])
    return measures.factor_per_layer(norms) ** 2


dense = {(name, frozen, batch): dense_factors(activation, batch, frozen)
         for (name, activation, frozen), batch in lesson.progress(
             [(case, batch) for case in (("ReLU", nn.ReLU, False), ("linear", None, False), ("linear", None, True))
              for batch in BATCHES], "fully connected")}
dense["ReLU", True, LARGEST] = dense_factors(nn.ReLU, LARGEST, frozen=True)

RELU_LIMIT = math.pi / (math.pi - 1)
checks.add(f"ReLU, batch of {LARGEST}: factor per layer on the mean square", dense["ReLU", False, LARGEST],
           0.98 * RELU_LIMIT, 1.02 * RELU_LIMIT, "π/(π - 1) = 1.467: Yang et al. 2019")
for batch in BATCHES[1:]:                                       # the theory is for many more units than examples
    factor = (batch - 2) / (batch - 3)
    checks.add(f"linear, batch of {batch}: factor per layer on the mean square", dense["linear", False, batch],
               0.99 * factor, 1.01 * factor, f"(B - 2)/(B - 3) = {factor:.4f}: Yang et al. 2019")

# %%
# No scale of the weights prevents it. It is batch norm itself, and it contradicts the rule that weights of 1 or larger are
# what makes gradients explode.

YANG = lesson.Claim("In plain nets with batch norm the gradient grows exponentially with depth at initialisation, and no "
                    "choice of the weights' variance prevents it.", "Yang et al. 2019 (arXiv:1902.08129)")
scaled = {scale: dense_factors(nn.ReLU, LARGEST, scale=scale) for scale in (0.1, 10.0)}
for scale, factors in scaled.items():
    checks.claim(YANG, f"ReLU, weights {scale:g} times He's: factor per layer on the mean square", factors,
                 0.96 * RELU_LIMIT, 1.04 * RELU_LIMIT, contrary=(0, 1.05))
checks.claim("S7", f"batch norm, weights of N(0, {0.1 * math.sqrt(2 / UNITS):.4f}²): factor per layer on the mean square",
             scaled[0.1], 0, 1, contrary=(1.1, math.inf), expect="contradicts",
             comment="With batch norm the size of the weights drops out: the gradient explodes with the smallest of them.")

# %%
# What comes back through the statistics
# --------------------------------------
# The backward pass through mean and variance takes two parts out of each channel's gradient: its mean over the batch, and
# its component along the normalised output. What is left is ‖dx‖² = γ²/σ² (‖dy‖² - (Σ dy)²/m - (Σ dy·ŷ)²/m) for m values in
# a channel (Santurkar et al. 2018, arXiv:1805.11604, theorem 4.1, which is an equation here). Without that part the first
# term alone would stay. So this part makes gradients *smaller*, by a share of about 2/m; what makes them grow is the
# division.


def one_batch_norm(batch, seed):
    """‖dx‖² of one batch norm: (measured, by theorem 4.1, with frozen statistics), for normal x and dy, in float64."""
    x, dy = np.random.default_rng(seed).standard_normal((2, batch, UNITS))
    squares = []
    for frozen in (False, True):
        tensor = mr.Tensor(x).to(options.device)
        tensor.requires_grad = True
        weight, bias, mean, var = (mr.Tensor(np.full(UNITS, value)).to(options.device) for value in (1.0, 0.0, 0.0, 1.0))
        y = ops.batch_norm(tensor, weight, bias, mean.data, var.data, True, eps=0.0, freeze_statistics=frozen)
        y.backward(mr.Tensor(dy).to(options.device).data)
        squares.append(float((mr.Tensor(tensor.grad).numpy() ** 2).sum()))
    normalised = (x - x.mean(axis=0)) / x.std(axis=0)           # (batch, UNITS)
    left = (dy ** 2).sum(axis=0) - dy.sum(axis=0) ** 2 / batch - (dy * normalised).sum(axis=0) ** 2 / batch
    return squares[0], float((left / x.var(axis=0)).sum()), squares[1]


full, by_theorem, frozen = np.array([one_batch_norm(8, seed) for seed in options.seeds]).T
SANTURKAR = lesson.Claim("Batch norm makes the gradient that it passes back smaller than division by σ alone would, by its "
                         "mean and its component along the normalised output.",
                         "Santurkar et al. 2018 (arXiv:1805.11604), theorem 4.1")
checks.claim(SANTURKAR, "one batch norm: ‖dx‖² / what theorem 4.1 says", full / by_theorem, 1 - 1e-9, 1 + 1e-9,
             contrary=(1.01, math.inf))
checks.claim(SANTURKAR, "one batch norm, batch of 8: ‖dx‖² / the same with frozen statistics", full / frozen, 0.7, 0.8,
             contrary=(0.95, math.inf),
             comment="For a random gradient 1 - 2/m is left; with m as large as in a convolution that is nearly all of it.")
for batch in BATCHES[1:]:
    factor = (batch - 1) / (batch - 3)
    checks.add(f"linear, batch of {batch}, frozen statistics: factor per layer", dense["linear", True, batch],
               0.97 * factor, 1.03 * factor, f"(B - 1)/(B - 3) = {factor:.4f}: our derivation")
checks.add(f"ReLU, batch of {LARGEST}, frozen statistics: factor per layer", dense["ReLU", True, LARGEST],
           0.97 * RELU_LIMIT, 1.03 * RELU_LIMIT, "π/(π - 1): the division does it")

# %%
# The scale of a weight before a batch norm
# -----------------------------------------
# Make such a weight W ten times as large: its output becomes ten times as large, batch norm divides by ten times as much,
# and nothing else in the net notices. So the loss does not change along W: ⟨W, dL/dW⟩ = 0 exactly. And dL/dW becomes a tenth
# (Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.3). We take float64 and eps = 0, as the eps of batch norm spoils the
# exactness a little. With frozen statistics ⟨W, dL/dW⟩ is not 0, as the change of σ with W is what was left out: that
# gradient is a tool for looking, not one to descend along.

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def batch_of(size, seed):
    """Images and labels, chosen by the seed."""
    return next(iter(mr.data.Batches(images, labels, size, seed=seed)))


def loss_of(model, x, y):
    """The loss of a batch, with the gradients of all parameters."""
    model.zero_grad()
    loss = ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y)
    loss.backward()
    return loss.item()


def gradients(model):
    """{name: (weight, its gradient)} on the host, in float64, of all weights of convolutions and linear layers."""
    return {name: (p.numpy().astype(np.float64), mr.Tensor(p.grad).numpy().astype(np.float64))
            for name, p in model.named_parameters() if p.ndim > 1}


def cosine(a, b):
    """a · b / (‖a‖ ‖b‖)."""
    return float(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def scale_invariance(seed):
    """Of a net of eight convolutions: (largest |cos(W, dL/dW)| of the convolutions, the same with frozen statistics,
    change of the loss where W of layer 4 is ten times as large, ‖dL/dW‖ of layer 4 after / before, of layer 2)."""
    model = models.flat_net(8, 8, batch_norm=True, seed=seed).astype(np.float64).to(options.device)
    for _name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    x, y = batch_of(16, seed)
    x = x.astype(np.float64)
    cosines = []
    for frozen in (True, False):
        loss = loss_of(freeze(model, frozen), x, y)
        before = gradients(model)
        cosines.append(max(abs(cosine(*pair)) for name, pair in before.items() if "conv" in name))
    model.layer4.conv.weight.data *= 10.0
    changed = loss_of(model, x, y) / loss - 1
    after = gradients(model)
    ratios = [np.linalg.norm(after[name][1]) / np.linalg.norm(before[name][1])
              for name in ("layer4.conv.weight", "layer2.conv.weight")]
    return cosines[1], cosines[0], abs(changed), *ratios


largest_cosine, frozen_cosine, loss_change, own_ratio, other_ratio = np.array(
    [scale_invariance(seed) for seed in options.seeds]).T
IOFFE = lesson.Claim("The scale of the weights before a batch norm changes neither its output nor the gradient that goes on "
                     "to earlier layers, and larger weights get smaller gradients.",
                     "Ioffe & Szegedy 2015 (arXiv:1502.03167), section 3.3")
checks.add("batch norm: largest |cos(W, dL/dW)| of eight convolutions", largest_cosine, 0, 1e-10, "⟨W, dL/dW⟩ = 0 exactly")
checks.add("batch norm, frozen statistics: largest |cos(W, dL/dW)|", frozen_cosine, 1e-3, 1, "not 0: no true gradient")
checks.claim(IOFFE, "W of one layer times 10: relative change of the loss", loss_change, 0, 1e-10, contrary=(1e-4, math.inf))
checks.claim(IOFFE, "W of one layer times 10: its ‖dL/dW‖, after / before", own_ratio, 0.1 - 1e-9, 0.1 + 1e-9,
             contrary=(0.5, math.inf))
checks.claim(IOFFE, "W of one layer times 10: ‖dL/dW‖ of an earlier layer, after / before", other_ratio, 1 - 1e-9, 1 + 1e-9,
             contrary=(2, math.inf))

# %%
# Layer by layer, on images
# -------------------------
# Plain nets of 3 x 3 convolutions, three starts each, with batch norm and without. Without it, every start has a slope of
# its own; with it, all have the same. That helps a start that is wrong, and is no help to He's, which was nearly flat. The
# slope lies a little below 1.211, which is for wide layers and independent examples; neighbouring pixels are not.

DEPTH = options.pick(tiny=12, default=64, full=96)
WIDTH, BATCH_SIZE = options.pick(tiny=4, default=8, full=16), options.pick(tiny=4, default=32, full=32)


STARTS = {"He / 1.4 (Glorot)": math.sqrt(1 / 2), "He": 1.0, "He x 1.5": 1.5}


def profile(scale, batch_norm, frozen=False):
    """The record of one backward pass a seed, of the activations' outputs."""
    records = []
    for seed in options.seeds:
        model = models.flat_net(DEPTH, WIDTH, batch_norm=batch_norm, init=he_times(scale), seed=seed).to(options.device)
        with mr.record_gradients(freeze(model, frozen)) as record:
            loss_of(model, *batch_of(BATCH_SIZE, seed))
        records.append(record.select(nn.ReLU))
    return mr.stack_records(records)


profiles = {(name, batch_norm): profile(STARTS[name], batch_norm)
            for name, batch_norm in lesson.progress([(n, b) for n in STARTS for b in (True, False)], "convolutions")}
frozen_profile = profile(1.0, True, frozen=True)


def first_over_last(record):
    """‖dL/dx‖ of the first layer's output over that of the last, (seeds,)."""
    return record.output_grad_norm[:, 0] / record.output_grad_norm[:, -1]


for name in STARTS:
    checks.add(f"batch norm, {name}, {DEPTH} convolutions: factor per layer on ‖dL/dx‖",
               measures.factor_per_layer(profiles[name, True].output_grad_norm), 1.15, 1.24,
               "1.211 if wide: Yang et al. 2019")
checks.add(f"batch norm, He, {DEPTH} convolutions, frozen statistics: factor per layer",
           measures.factor_per_layer(frozen_profile.output_grad_norm), 1.15, 1.24, "the same: the division does it")
checks.claim(lesson.Claim("In plain nets with batch norm the gradients do not vanish.",
                          "He et al. 2015 (arXiv:1512.03385), section 4.1"),
             f"batch norm, He, {DEPTH} convolutions: ‖dL/dx‖, first layer / last",
             first_over_last(profiles["He", True]), 1, math.inf, contrary=(0, 0.1),
             comment="They explode: a factor of 1.2 for each layer makes tens of thousands over 64.")
HELPS = lesson.Claim("Batch norm is good for the flow of gradients through a net, as it makes them depend less on the scale "
                     "of the weights and on their initial values.", "Ioffe & Szegedy 2015 (arXiv:1502.03167), section 1")
for name, expect, comment in (
        ("He / 1.4 (Glorot)", "agrees", "Weights too small: what vanished now explodes, but less."),
        ("He x 1.5", "agrees", "Weights too large: it explodes more slowly."),
        ("He", "contradicts", "With He's weights the gradient was nearly flat, and batch norm makes it explode.")):
    powers = {batch_norm: np.abs(np.log10(first_over_last(profiles[name, batch_norm]))) for batch_norm in (True, False)}
    checks.claim(HELPS, f"{name}, {DEPTH} layers: powers of ten between first and last, batch norm / without",
                 powers[True] / powers[False], 0, 0.9, contrary=(1.1, math.inf), expect=expect, comment=comment)

# %%
# Then one step
# -------------
# Why do such nets train at all, up to a depth? As dL/dW is perpendicular to W, a step of plain gradient descent makes W
# *longer*: ‖W‖² becomes ‖W‖² + lr²‖dL/dW‖², by Pythagoras. The weights with the largest gradients, next to the input, become
# much longer at once, and a longer W has a smaller gradient: 1/‖W‖. The explosion cuts itself down. (The price: those
# weights now turn slowly. A step of lr·‖dL/dW‖ against a length ‖W‖ counts as lr/‖W‖².) We take the plain net of He et al.
# 2015 with 56 layers, 8 channels in its first stage, a learning rate of 0.1, no momentum.

TRAINED_DEPTH, STEPS = options.pick(tiny=8, default=56, full=56), options.pick(tiny=3, default=10, full=30)
LEARNING_RATE = 0.1


def train(seed):
    """The record of the first steps: its convolutions after the first."""
    model = models.cifar_net(TRAINED_DEPTH, False, 8, in_channels=1, seed=seed).to(options.device)
    optimizer = mr.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = iter(mr.data.Batches(images, labels, 64, seed=seed))
    with mr.record_gradients(model) as record:
        for _ in range(STEPS + 1):
            loss_of(model, *next(batches))
            optimizer.step()
    return record.select(nn.Conv2d)


trained = [train(seed) for seed in lesson.progress(options.seeds, "training")]
dw = np.array([record.weight_grad_norm[:, 1:] for record in trained])  # (seeds, steps, convolutions); the first sees images
w = np.array([record.weight_norm[:, 1:] for record in trained])
span = dw.max(axis=2) / dw.min(axis=2)                          # (seeds, steps)
pythagoras = np.sqrt(w[:, 0] ** 2 + LEARNING_RATE ** 2 * dw[:, 0] ** 2)
checks.add(f"plain-{TRAINED_DEPTH}: |‖W‖ after one step / by Pythagoras - 1|, worst layer",
           np.abs(w[:, 1] / pythagoras - 1).max(axis=1), 0, 1e-4, "0: dL/dW ⟂ W (float32, eps of batch norm)")
checks.claim(lesson.Claim("After a single step of training the gradients of plain nets with batch norm have a dramatically "
                          "smaller dynamic range.", "Yang et al. 2019 (arXiv:1902.08129)"),
             f"plain-{TRAINED_DEPTH}: largest / smallest ‖dL/dW‖ of the layers, after one step / before",
             span[:, 1] / span[:, 0], 0, 0.2, contrary=(1, math.inf),
             comment="Most of the explosion is gone after one step: look for it at initialisation.")
checks.claim("S3", f"batch norm, plain-{TRAINED_DEPTH} at initialisation: largest / smallest ‖dL/dW‖ of the layers",
             span[:, 0], 100, math.inf, contrary=(1, 10),
             comment="Gradients do explode in stacked layers with batch norm, at initialisation. Whether such a net can "
                     "learn is another question; the lesson on degradation asks it.")

# %%
# Is the gradient more predictive?
# --------------------------------
# Santurkar et al. 2018 explain the success of batch norm by a smoother loss: after a step, the gradient still points where
# it pointed. We go along the gradient by a small part of the length of all weights together, and take the cosine between
# the gradients before and after. With batch norm minus without: above 0, batch norm is the more predictive. (The step is
# relative to the weights, as with batch norm an absolute length means nothing: their scale is free.) They look at a net of
# the VGG family in training; we look at nets of 8 and of 32 layers before it, at one step length each.

PREDICTED = ((8, 0.01), (32, 0.001)) if not options.tiny else ((4, 0.01), (8, 0.001))  # (layers, step / ‖weights‖)


def predictiveness(depth, step, batch_norm, seed):
    """The cosine between the gradients of all weights at initialisation and after the step."""
    model = models.flat_net(depth, 16, batch_norm=batch_norm, seed=seed).to(options.device)
    x, y = batch_of(32, seed)
    loss_of(model, x, y)
    before = gradients(model)
    weights, there = (np.concatenate([pair[i].ravel() for pair in before.values()]) for i in (0, 1))
    rate = step * np.linalg.norm(weights) / np.linalg.norm(there)
    for parameter in model.parameters():
        parameter.data -= np.float32(rate) * parameter.grad
    loss_of(model, x, y)
    return cosine(there, np.concatenate([gradient.ravel() for _weight, gradient in gradients(model).values()]))


SMOOTH = lesson.Claim("Batch norm makes the gradients more predictive: they change less along a step.",
                      "Santurkar et al. 2018 (arXiv:1805.11604)")
predictive = {(depth, step): np.array([[predictiveness(depth, step, batch_norm, seed) for seed in options.seeds]
                                       for batch_norm in (True, False)]) for depth, step in PREDICTED}
for (depth, step), expect, comment in zip(PREDICTED, ("agrees", "contradicts"), (
        "So it is in a net of eight layers, at initialisation, for this step.",
        "In a deep plain net, after a step a tenth as long, it is the other way round."),
        strict=True):
    with_it, without = predictive[depth, step]                  # (seeds,) each
    checks.claim(SMOOTH, f"{depth} convolutions, step of {step:g}: cosine before/after, batch norm - without",
                 with_it - without, 0.05, 2, contrary=(-2, -0.05), expect=expect, comment=comment)

# %%
# Singular values near 1?
# -----------------------
# Ioffe & Szegedy also guess, as a conjecture, that batch norm brings the singular values of a layer's Jacobian close to 1:
# both sides of it have a variance of 1. The lesson on variance says why that does not follow. With Gaussian weights a layer
# has the quarter circle of singular values between 0 and 2, with batch norm as without, and 16 layers lose most directions.
# (This is the Jacobian of one example: the nets run in ``eval()``, with the statistics of one batch.)

JACOBIAN_UNITS = options.pick(tiny=24, default=192, full=256)
JACOBIAN_DEPTH = options.pick(tiny=4, default=16, full=16)


def squared_singular_values(depth, seed):
    """s² of linear layers with batch norm, at one input, with the statistics of a batch of it and many others."""
    net = dense_net(None, seed, units=JACOBIAN_UNITS, layers=depth).astype(np.float64).to(options.device)
    for _name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0                               # the running statistics are those of the last batch
    x = np.random.default_rng(seed).standard_normal((8 * JACOBIAN_UNITS, JACOBIAN_UNITS))
    with mr.no_grad():
        net(mr.Tensor(x).to(options.device))
    net.eval()
    return measures.squared_singular_values(net, mr.Tensor(x[:1]).to(options.device))


one, many = (np.array([squared_singular_values(depth, seed) for seed in options.seeds]) for depth in (1, JACOBIAN_DEPTH))
below_half = (0.25 * math.sqrt(4 - 0.25) + 2 * math.asin(0.25)) / math.pi
checks.add("one linear layer, batch norm: share of directions with s < 1/2", (one < 0.25).mean(axis=1), 0.9 * below_half,
           1.1 * below_half, f"quarter circle: {below_half:.3f}")
checks.claim(lesson.Claim("Batch norm may lead the Jacobians of the layers to have singular values close to 1; this is a "
                          "conjecture.", "Ioffe & Szegedy 2015 (arXiv:1502.03167), section 3.3"),
             f"{JACOBIAN_DEPTH} linear layers, batch norm: share of directions with s < 1/10", (many < 0.01).mean(axis=1),
             0, 0.1, contrary=(0.5, 1), expect="contradicts",
             comment="At initialisation, with Gaussian weights, most directions are lost with batch norm too.")

# %%
# The figures
# -----------

figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(16, 5), layout="constrained")
for ax, batch_norm, title in ((left, False, "without batch norm: a slope for each start"),
                              (middle, True, "with batch norm: the three lines are one")):
    mr.plot.gradient_norms([profiles[name, batch_norm] for name in STARTS], labels=list(STARTS), ax=ax)
    ax.set_title(title)
limits = [limit for ax in (left, middle) for limit in ax.get_ylim()]
for ax in (left, middle):
    ax.set_ylim(min(limits), max(limits))
layers = np.arange(1, DEPTH + 1)
last = np.median(profiles["He", True].output_grad_norm[:, -1])
middle.plot(layers, last * RELU_LIMIT ** ((DEPTH - layers) / 2), "--", color="black", linewidth=0.8)
handles, names = middle.get_legend_handles_labels()
middle.legend([*handles, middle.lines[-1]], [*names, "theory: 1.211 a layer"], loc="upper right")
left.get_legend().set_loc("upper right")
steps = [0, 1, STEPS]
for step, colour in zip(steps, mr.plot.COLOURS, strict=False):
    layers = np.arange(2, dw.shape[2] + 2)
    right.plot(layers, np.median(dw[:, step], axis=0), color=colour,
               label=f"after {step} step{'' if step == 1 else 's'}" if step else "at initialisation")
    right.fill_between(layers, dw[:, step].min(axis=0), dw[:, step].max(axis=0), color=colour, alpha=0.2, linewidth=0)
right.set_yscale("log")
right.set_xlabel("convolution in forward order (input at the left)")
right.set_ylabel("‖dL/dW‖")
right.legend()
right.grid(True, alpha=0.3)
right.set_title(f"plain-{TRAINED_DEPTH} with batch norm: mostly gone after one step")
figure.suptitle("Batch norm makes the gradient of a plain net explode towards the input, whatever the weights, at "
                f"initialisation (medians and ranges of {len(options.seeds)} seeds)")
lesson.save_figure(figure, options, "batch_norm.png")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
CURVES = (("ReLU", False, "ReLU"), ("linear", True, "linear, frozen statistics"), ("linear", False, "linear"))
for (name, frozen, label), colour, marker in zip(CURVES, mr.plot.COLOURS, mr.plot.MARKERS, strict=False):
    values = np.array([dense[name, frozen, batch] for batch in BATCHES])  # (batches, seeds)
    middle = np.median(values, axis=1)
    left.errorbar(BATCHES, middle, [middle - values.min(axis=1), values.max(axis=1) - middle], color=colour, marker=marker,
                  linestyle="none", capsize=3, label=label)
sizes = np.geomspace(BATCHES[0], LARGEST, 100)
left.axhline(RELU_LIMIT, color="black", linestyle="--", linewidth=0.8, label="theory")
left.plot(sizes, (sizes - 1) / (sizes - 3), "--", color="black", linewidth=0.8)
left.plot(sizes, (sizes - 2) / (sizes - 3), "--", color="black", linewidth=0.8)
left.set_xscale("log")
left.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
left.minorticks_off()
left.set_xlabel("batch size B")
left.set_ylabel("factor per layer on the mean square of dL/dx")
left.legend(fontsize="small")
left.set_title("ReLU: 1.467 for large batches; linear: nearly 1")
labels_of = [f"{depth} layers,\nstep {step:g}" for depth, step in PREDICTED]
for i, (net, colour) in enumerate(zip(("batch norm", "without"), mr.plot.COLOURS, strict=False)):
    for j, case in enumerate(PREDICTED):
        values = predictive[case][i]
        right.plot(np.full(len(values), j + 0.16 * (2 * i - 1)), values, mr.plot.MARKERS[i], color=colour, alpha=0.7,
                   label=net if j == 0 else None)
right.axhline(0, color="0.6", linewidth=0.8)
right.set_xticks(range(len(PREDICTED)), labels_of)
right.set_xlim(-0.6, len(PREDICTED) - 0.4)
right.set_ylim(-1.05, 1.05)
right.set_ylabel("cosine of the gradients before and after a step")
right.legend(fontsize="small", loc="lower left")
right.set_title("predictive in a shallow net, not in a deep one")
figure.suptitle("Batch norm's division makes the gradient grow after ReLU; in a deep plain net it does not outlast a step")
lesson.save_figure(figure, options, "batch_size_and_smoothness.png")
pyplot.close("all")

for (name, batch_norm), record in profiles.items():
    record.to_csv(options.out / f"{lesson.file_name(name)}_{'batch_norm' if batch_norm else 'plain'}.csv")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "In a plain net with ReLU, batch norm takes the mean out of each signal and scales the rest up; the gradient is scaled "
    "up with it, by 1.2 a layer, whatever the weights: at initialisation it explodes towards the input; it does not vanish.",
    "The loss does not change along a weight before a batch norm. So a step makes the weight longer and its next gradient "
    "smaller, and one step takes most of the explosion away.",
))

# %%
# Exercises
# ---------
# 1. Give the fully connected nets tanh in place of ReLU. It has no mean to lose. Predict whether the factor is above 1, then
#    measure.
# 2. Weight decay shortens the weights. With batch norm behind them the loss does not notice. What does weight decay then do
#    to the next gradients, and to how fast the weights turn? Add ``weight_decay=0.01`` to the optimizer and look at ``w``.
# 3. Put shortcuts in: ``models.cifar_net(56, True, …)`` in ``train``. What is the range of dL/dW at initialisation now? (The
#    lesson on why batch norm and shortcuts need each other says why.)
# 4. Multiply all weights of the net of ``predictiveness`` by 10 before the first gradient, and take an absolute step instead
#    of a relative one. By how much "smoother" has batch norm become, and is that a fact about the net?
