"""
Vanishing gradients, and at which end
=====================================

:Question: Why do gradients vanish, by how much does each layer shrink them, and which end of the net starves?
:Time: under a minute on two cores
:Before this: the lesson on autograd by hand, or to know what a backward pass is

Nets with nothing in them but 3 x 3 convolutions and their activations, up to 64 in a row, on real photographs of clothing
(Fashion-MNIST, averaged to 14 x 14 pixels): three activations, three initialisations, before any training. We follow the
gradient from the loss, at the right of each plot, to the image, at the left.

Think about first
-----------------

* It is often said that gradients vanish "in the deep layers". Is it the layers near the output that get no gradient?
* Twice as many layers: is the gradient that arrives at the image half as large, or what?
* Would a plot of dL/dW show all this just as well as one of dL/dx?
"""
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson, measures, theory

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# The nets
# --------

DEPTHS = options.pick(tiny=(16, 32), default=(8, 16, 32, 64), full=(8, 16, 32, 64, 128))
DEEPEST = DEPTHS[-1]
WIDTH = 16  # channels of each layer
H = 14  # pixels, down and across
BATCH_SIZE = options.pick(tiny=4, default=32, full=32)

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def small_normal_(tensor, generator):
    """N(0, 0.01²), the initialisation of AlexNet."""
    return nn.init.normal_(tensor, generator, std=0.01)


FAN_IN = 9 * WIDTH
INITS = {  # name: (initialiser, the standard deviation σ of its weights)
    "N(0, 0.01²)": (small_normal_, 0.01),
    "Glorot": (nn.init.glorot_normal_, math.sqrt(1 / FAN_IN)),
    "He": (nn.init.he_normal_, math.sqrt(2 / FAN_IN)),
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def measure(activation, init, depth):
    """The record of one backward pass a seed: the gradients of the activations' outputs and of the convolutions' weights."""
    records = []
    for seed in options.seeds:
        model = models.flat_net(depth, WIDTH, activation=activation, init=init, seed=seed).to(options.device)
        x, y = next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))
        with mr.record_gradients(model) as record:
            mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y).backward()
        records.append(record.select(nn.Conv2d, ACTIVATIONS[activation]))
    return mr.stack_records(records)


records = {}
cases = [(activation, name, depth) for activation in ACTIVATIONS for name in INITS for depth in DEPTHS]
for activation, name, depth in lesson.progress(cases, "measuring"):
    records[activation, name, depth] = measure(activation, INITS[name][0], depth)


def output_gradients(activation, name, depth):
    """‖dL/dx‖ of each layer's output, (seeds, layers)."""
    return records[activation, name, depth].select(ACTIVATIONS[activation]).output_grad_norm


# %%
# The factor of one layer
# -----------------------
# A gradient that goes back through a convolution becomes a sum of fan_in = 9 · 16 products with weights of variance σ²:
# its norm is multiplied by sqrt(fan_in · σ²). Then comes the activation's derivative: that of ReLU is 1 for half of the
# values, so sqrt(1/2); tanh's is 1 near 0, sigmoid's 1/4. Zero padding takes a little more at the borders: on H x H pixels
# a factor λ = (1 + 2 cos(π/(H + 1)))/3.
#
# We fit a straight line through the logarithms of ‖dL/dx‖, without the layers at the two ends, and only where the gradient
# is not below what float32 can hold well. Its slope is the factor. (``measures.factor_per_layer`` does it.)
#
# Where weights are larger, tanh leaves its linear range: the signal grows until the activation saturates, where its
# derivative is small. A sigmoid is never quite linear: its output is near 1/2 even without any signal, and Glorot's weights
# make enough of that to reach its bends. Then the average of the squared derivative counts, over inputs that are normal
# with the variance q that repeats itself from layer to layer: q = fan_in·σ² E[φ(z)²]. The factor is
# sqrt(fan_in·σ² E[φ′(z)²])·λ (Poole et al. 2016; Schoenholz et al. 2017).

PADDING = theory.padding_factor(H)
FORMULAS = {"relu": "sqrt(fan_in·σ²/2)·λ", "tanh": "sqrt(fan_in·σ²)·λ", "sigmoid": "sqrt(fan_in·σ²)·λ/4"}
BEYOND_LINEAR = {("tanh", "He"), ("sigmoid", "Glorot"), ("sigmoid", "He")}


def predicted_factor(activation, name):
    """(the factor of one layer, its formula)."""
    gain = math.sqrt(FAN_IN) * INITS[name][1]
    linear = theory.linear_factor(activation, gain) * PADDING
    if (activation, name) not in BEYOND_LINEAR:
        return linear, f"{FORMULAS[activation]} = {linear:.3g}"
    factor = theory.mean_field_factor(activation, gain) * PADDING
    return factor, f"mean field {factor:.3g}; linear: {linear:.3g}"


def deepest_that_is_alive(activation, name):
    """The deepest net in which there is something to fit, and each seed's factor."""
    factors = {depth: measures.factor_per_layer(output_gradients(activation, name, depth)) for depth in DEPTHS}
    deepest = max([depth for depth in DEPTHS if not np.isnan(factors[depth]).any()], default=DEPTHS[0])
    return deepest, factors[deepest]


for activation in ACTIVATIONS:
    for name in INITS:
        depth, factors = deepest_that_is_alive(activation, name)
        factor, formula = predicted_factor(activation, name)
        checks.add(f"{activation}, {name}: factor per layer ({depth} layers)", factors, 0.93 * factor, 1.07 * factor,
                   formula)

# %%
# Every factor multiplies, so the gradient changes *exponentially* with the number of layers: what 32 layers do, 64 do twice.
# In powers of ten, twice as many layers take away twice as much.


def powers_of_ten(activation, name, depth):
    """log10 of ‖dL/dx‖ at the first layer over that at the last, for each seed."""
    norms = output_gradients(activation, name, depth)
    return np.log10(norms[:, 0] / norms[:, -1])


twice = (DEEPEST - 1) / (DEEPEST // 2 - 1)                      # L layers have L - 1 steps from the last to the first
checks.claim("S6", f"relu, Glorot: powers of ten that {DEEPEST} layers take, over those that {DEEPEST // 2} take",
             powers_of_ten("relu", "Glorot", DEEPEST) / powers_of_ten("relu", "Glorot", DEEPEST // 2),
             0.8 * twice, 1.2 * twice, contrary=(-math.inf, 1.5),
             comment="It is exponential: twice the layers take twice as many powers of ten.")

# %%
# Which end starves
# -----------------
# Wherever the factor is below 1, the *input's* end gets the least: the gradient starts at the loss and is multiplied once
# more by each layer that it passes. The layers next to the loss always get theirs. And these nets are fresh: their outputs
# are nowhere near their inputs, and no training has converged. Nothing but the product is needed.

first_over_last = {case: output_gradients(*case, 32)[:, 0] / output_gradients(*case, 32)[:, -1]
                   for case in (("relu", "Glorot"), ("sigmoid", "He"))}
checks.add("relu, Glorot, 32 layers: ‖dL/dx‖, first layer / last", first_over_last["relu", "Glorot"], 0, 1e-4,
           "below 1: the input's end")
checks.add("sigmoid, He, 32 layers: ‖dL/dx‖, first layer / last", first_over_last["sigmoid", "He"], 0, 1e-10,
           "below 1: the input's end")
checks.claim("S5", "relu, Glorot, 32 layers at initialisation: ‖dL/dx‖, last layer / first",
             1 / first_over_last["relu", "Glorot"], 0, 1, contrary=(1e3, math.inf), expect="contradicts",
             comment="It is the layers next to the input that starve; the deep ones, next to the loss, are fed. And they "
                     "starve before any training, by a product of weights and slopes.")

DEAD_DEPTH = options.pick(tiny=32, default=64, full=64)
dead = output_gradients("sigmoid", "N(0, 0.01²)", DEAD_DEPTH) == 0  # (seeds, layers)
from_the_input = np.argmin(dead, axis=1)                        # how many there are before the first that is alive
checks.add(f"sigmoid, N(0, 0.01²): first layers of {DEAD_DEPTH} that are dead", from_the_input, 30, 44,
           "37: same nets in PyTorch")
checks.add("sigmoid, N(0, 0.01²): dead layers anywhere else", dead.sum(axis=1) - from_the_input, 0, 0,
           "only the input's end starves")

# %%
# dL/dW hides it, in ReLU nets
# ----------------------------
# The gradient of a weight is the product of the signal that comes in and of the gradient that comes back. In a ReLU net
# with small weights the signal fades towards the output just as the gradient fades towards the input: their product is
# nearly the same everywhere, and *all* of it collapses with depth. A sigmoid keeps the signal's size (its output is near
# 1/2), and there dL/dW shows the vanishing layer by layer.


def weight_gradient_range(activation, name, depth):
    """Powers of ten between the largest and the smallest ‖dL/dW‖ over the layers, for each seed."""
    norms = records[activation, name, depth].select(nn.Conv2d).weight_grad_norm[:, 1:]  # the first sees the image itself
    return np.log10(norms.max(axis=1)) - np.log10(norms.min(axis=1))


checks.add("relu, Glorot, 32 layers: powers of ten in dL/dW", weight_gradient_range("relu", "Glorot", 32), 0, 2,
           "flat: homogeneity")
checks.add("sigmoid, Glorot, 32 layers: powers of ten in dL/dW", weight_gradient_range("sigmoid", "Glorot", 32),
           10, math.inf, "1/4 a layer")

# %%
# Wide layers, without padding
# ----------------------------
# The formulas are for wide layers, and there they are exact to a few percent: 40 fully connected layers of 256 units, normal
# inputs, and a normal gradient given to the last of them.
#
# - Sigmoid with weights of variance 1/fan_in. That its slope is 1/4 at most bounds the factor (Bengio et al. 1994): a norm
#   ratio of 1/4 or less. The exact number is smaller.
# - ReLU with PyTorch's default for a linear layer, uniform with a variance of 1/(3 fan_in): sqrt(1/6). Many a demonstration
#   of vanishing gradients shows the work of this default, which He's initialisation would undo.
# - tanh with Glorot's weights, on the edge: each layer's factor is below 1, but comes ever closer to it, as the signal
#   shrinks and tanh becomes linear: q falls as 1/(2 l), and ‖dL/dx‖ falls as a *power* of the depth, 1/sqrt(L), not
#   exponentially.

LAYERS, SAMPLES = 40, 128
UNITS = options.pick(tiny=64, default=256, full=256)


def dense_factors(activation, gain):
    """‖dL/dx‖ of the outputs of fully connected layers with weights of variance gain²/fan_in, (seeds, layers)."""
    norms = []
    for seed in options.seeds:
        layers = [nn.Sequential(nn.Linear(UNITS, UNITS, bias=False), ACTIVATIONS[activation]()) for _ in range(LAYERS)]
        net = nn.init.initialize_(nn.Sequential(*layers), lambda w, draw: nn.init.normal_(w, draw, gain / math.sqrt(UNITS)),
                                  seed).to(options.device)
        generator = np.random.default_rng(seed)
        x, gradient = (mr.Tensor(generator.standard_normal((SAMPLES, UNITS)).astype(np.float32)).to(options.device)
                       for _ in range(2))
        with mr.record_gradients(net) as record:
            net(x).backward(gradient.data)
        norms.append(record.select(ACTIVATIONS[activation]).output_grad_norm[0])
    return np.array(norms)


dense = {"sigmoid": dense_factors("sigmoid", 1.0), "relu": dense_factors("relu", math.sqrt(1 / 3)),
         "tanh": dense_factors("tanh", 1.0)}
factor = theory.mean_field_factor("sigmoid", 1.0)
checks.add("wide, sigmoid, variance 1/fan_in: factor per layer", measures.factor_per_layer(dense["sigmoid"]),
           0.97 * factor, 1.03 * factor, f"mean field {factor:.3g}; at most 1/4")
factor = theory.linear_factor("relu", math.sqrt(1 / 3))
checks.add("wide, relu, PyTorch's default: factor per layer", measures.factor_per_layer(dense["relu"]),
           0.97 * factor, 1.03 * factor, f"sqrt(1/6) = {factor:.3g}")
middle, last = LAYERS // 4, LAYERS                              # from layer 10 to layer 40: four times as deep
checks.add("wide, tanh, Glorot: ‖dL/dx‖, layer 10 / layer 40", dense["tanh"][:, middle - 1] / dense["tanh"][:, last - 1],
           0.8 * 0.5, 1.2 * 0.5, "a power law: sqrt(10/40)")

# %%
# Cannot such a net learn?
# ------------------------
# Two ReLU nets with Glorot's weights, of 4 and of 20 layers, 100 steps each: the loss of the deep one stays at ln 10, which
# is what guessing gives. (Images of 7 x 7 pixels here, as this is the slow part. He's initialisation helps at first sight;
# the lesson on why variance is not enough shows how far.)

STEPS = options.pick(tiny=10, default=100, full=200)
small_images = mr.data.average_2x2(images)                      # -> (10000, 1, 7, 7)


def train(depth, seed):
    """The loss of each step."""
    model = models.flat_net(depth, WIDTH, init=nn.init.glorot_normal_, seed=seed).to(options.device)
    optimizer = mr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    batches = mr.data.Batches(small_images, labels, 64, seed=seed)
    losses: list[float] = []
    while len(losses) < STEPS:
        for x, y in batches:
            optimizer.zero_grad()
            loss = mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
    return losses


losses = {depth: np.array([train(depth, seed) for seed in options.seeds[:3]])
          for depth in lesson.progress((4, 20), "training")}   # {depth: (seeds, steps)}
end = {depth: curves[:, -STEPS // 5:].mean(axis=1) for depth, curves in losses.items()}
checks.add("relu, Glorot, 4 layers: loss after training", end[4], 0, 2.1, "it learns: below ln 10 = 2.303")
checks.claim("S3", "relu, Glorot, 20 layers: loss after training", end[20], math.log(10) - 0.02, math.log(10) + 0.02,
             contrary=(0, 2.1), comment="It holds for nets like this one, without normalisation and with weights too small. "
             "Nothing follows from it for plain nets with batch norm and He's initialisation, as those of He et al. 2015.")

# %%
# The figures
# -----------
# Each activation with the three initialisations, and theory as dashed lines; how depth multiplies; dL/dW; the training.

figure, axes = pyplot.subplots(1, 3, figsize=(16, 5.2), layout="constrained", sharey=True)
for activation, ax in zip(ACTIVATIONS, axes, strict=True):
    mr.plot.gradient_norms([records[activation, name, DEEPEST].select(ACTIVATIONS[activation]) for name in INITS],
                           labels=list(INITS), ax=ax)
    for name in INITS:
        last = np.median(output_gradients(activation, name, DEEPEST)[:, -1])
        layers = np.arange(1, DEEPEST + 1)
        line = last * predicted_factor(activation, name)[0] ** (DEEPEST - layers)
        ax.plot(layers[line > 1e-45], line[line > 1e-45], "--", color="black", linewidth=0.8)
    ax.set_title(activation)
    ax.get_legend().set_loc("upper left" if activation == "sigmoid" else "center left")
figure.suptitle(f"Each layer multiplies the gradient by its own factor, so it is the input's end that starves "
                f"({DEEPEST} layers; dashed: theory)")
lesson.save_figure(figure, options, "vanishing.png")

figure, axes = pyplot.subplots(1, len(DEPTHS), figsize=(4 * len(DEPTHS), 4.4), layout="constrained", sharey=True)
for depth, ax in zip(DEPTHS, axes, strict=True):
    mr.plot.gradient_norms([records["relu", name, depth].select(nn.ReLU) for name in INITS], labels=list(INITS), ax=ax)
    ax.set_title(f"{depth} layers")
    ax.get_legend().set_visible(depth == DEEPEST)               # one will do
axes[-1].get_legend().set_loc((0.02, 0.12))
figure.suptitle("The slope does not depend on the depth, so what arrives at the input changes exponentially with it (ReLU)")
lesson.save_figure(figure, options, "by_depth.png")

figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained", sharey=True)
for activation, ax in zip(("relu", "sigmoid"), axes, strict=True):
    mr.plot.gradient_norms([records[activation, name, 32].select(nn.Conv2d) for name in INITS], labels=list(INITS),
                           quantity="weight_grad_norm", ax=ax)
    ax.set_title(f"{activation}, 32 layers")
figure.suptitle("dL/dW hides the vanishing in a ReLU net: it is small everywhere, not at one end; with sigmoid it shows")
lesson.save_figure(figure, options, "weight_gradients.png")

figure, ax = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
for (depth, curves), colour in zip(losses.items(), mr.plot.COLOURS, strict=False):
    steps = np.arange(1, STEPS + 1)
    ax.plot(steps, np.median(curves, axis=0), color=colour, label=f"{depth} layers: median of {len(curves)} seeds")
    ax.fill_between(steps, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0,
                    label="least to largest")
ax.axhline(math.log(10), color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
ax.set_xlabel("step")
ax.set_ylabel("training loss")
ax.legend(fontsize="small")
ax.set_title("Where the gradient has vanished, the loss stays where it was (ReLU, Glorot)")
lesson.save_figure(figure, options, "training.png")
pyplot.close("all")

for activation in ACTIVATIONS:
    for name in INITS:
        records[activation, name, DEEPEST].to_csv(options.out / f"{activation}_{lesson.file_name(name)}.csv")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "Each layer multiplies the gradient by a factor that follows from fan_in · σ², the activation and the padding. Where it "
    "is below 1 the gradient vanishes exponentially with depth, at the input's end; the layers next to the loss are fed.",
    "It happens before any training, and a plot of dL/dW over the layers of a ReLU net does not show it.",
))

# %%
# Exercises
# ---------
# 1. For which σ does tanh keep the gradient's size at 16 channels? Predict it from the formula, padding included; try it.
# 2. Put batch norm into the nets (``batch_norm=True`` in ``models.flat_net``). Which way does the slope go now?
# 3. At how many layers does the last convolution of the ReLU net with N(0, 0.01²) get a dL/dW of exactly zero? Estimate it
#    from the factor and 1e-45, then measure. Why do *all* layers die at once?
