"""
Vanishing and exploding, and at which end
=========================================

:Question: By how much does each layer change a gradient, and which end of the net starves?
:Time: under a minute on two cores
:Before this: nothing

Nets with nothing in them but 3 x 3 convolutions and their activations, up to 64 in a row, on real photographs of clothing
(Fashion-MNIST, averaged to 14 x 14 pixels): three activations, four initialisations, before any training. We follow the
gradient from the loss, at the right of each plot, to the image, at the left.

To think about before you run it:

* It is often said that gradients vanish "in the deep layers". Is it the layers near the output that get no gradient?
* And that they explode where weights are above 1. How large is a weight of the net below that explodes?
* Would a plot of dL/dW show all this just as well?
"""
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import lesson, models, nn

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# The nets
# --------

DEPTHS = (8, 16, 32, 64, 128) if options.full else (8, 16, 32, 64)
WIDTH = 16  # channels of each layer
H = 14  # pixels, down and across
BATCH_SIZE = 32

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def small_normal_(tensor, generator):
    """N(0, 0.01²), the initialisation of AlexNet."""
    return nn.init.normal_(tensor, generator, std=0.01)


def large_he_(tensor, generator):
    """He's initialisation with weights 1.5 times as large."""
    nn.init.he_normal_(tensor, generator)
    tensor.data *= 1.5
    return tensor


fan_in = 9 * WIDTH
INITS = {  # name: (initialiser, the standard deviation σ of its weights)
    "N(0, 0.01²)": (small_normal_, 0.01),
    "Glorot": (nn.init.glorot_normal_, math.sqrt(1 / fan_in)),
    "He": (nn.init.he_normal_, math.sqrt(2 / fan_in)),
    "1.5 x He": (large_he_, 1.5 * math.sqrt(2 / fan_in)),
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def measure(activation, init, depth, width=WIDTH):
    """The record of one backward pass a seed: the gradients of the activations' outputs and of the convolutions' weights."""
    records = []
    for seed in options.seeds:
        model = models.flat_net(depth, width, activation=activation, init=init, seed=seed)
        x, y = next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))
        with mr.record_gradients(model) as record:
            mr.ops.cross_entropy(model(mr.Tensor(x)), y).backward()
        records.append(record.select(nn.Conv2d, ACTIVATIONS[activation]))
    return mr.stack_records(records)


records = {}
cases = [(activation, name, depth) for activation in ACTIVATIONS for name in INITS for depth in DEPTHS]
for activation, name, depth in lesson.progress(cases, "measuring"):
    records[activation, name, depth] = measure(activation, INITS[name][0], depth)


def output_gradients(activation, record):
    """‖dL/dx‖ of each layer's output, (seeds, layers)."""
    return record.select(ACTIVATIONS[activation]).output_grad_norm


# %%
# The factor of one layer
# -----------------------
# A gradient that goes back through a convolution becomes a sum of fan_in = 9 · 16 products with weights of variance σ²:
# its norm is multiplied by sqrt(fan_in · σ²). Then comes the activation's derivative: that of ReLU is 1 for half of the
# values, so sqrt(1/2); tanh's is 1 near 0, sigmoid's 1/4. Zero padding takes a little more at the borders: on H x H pixels
# a factor λ = (1 + 2 cos(π/(H + 1)))/3.
#
# We fit a straight line through the logarithms of ‖dL/dx‖, without the layers at the two ends, and only where the gradient
# is not below what float32 can hold well. Its slope is the factor.

SMALLEST_NORMAL = 1.2e-38  # float32 has fewer digits below, and ends at 1.4e-45


def factor_per_layer(norms):
    """By what each layer multiplies ‖dL/dx‖ on the way to the input: the median of the seeds, and their range."""
    factors = []
    for row in norms:                                           # (layers,)
        ends = max(1, len(row) // 10)
        layers = np.arange(len(row))[ends:-ends]
        layers = layers[row[layers] > 1e4 * SMALLEST_NORMAL]    # a norm is a sum of squares of values far smaller
        if len(layers) > 2:
            factors.append(math.exp(-np.polyfit(layers, np.log(row[layers]), 1)[0]))
    return (float(np.median(factors)), min(factors), max(factors)) if factors else (math.nan,) * 3


def linear_theory(activation, sigma):
    """The factor while the activation is in its linear range."""
    padding = (1 + 2 * math.cos(math.pi / (H + 1))) / 3
    slope = {"relu": math.sqrt(1 / 2), "tanh": 1.0, "sigmoid": 1 / 4}[activation]
    return math.sqrt(fan_in) * sigma * slope * padding


FORMULAS = {"relu": "sqrt(fan_in·σ²/2)·λ", "tanh": "sqrt(fan_in·σ²)·λ", "sigmoid": "sqrt(fan_in·σ²)·λ/4"}
BEYOND_LINEAR = {("tanh", "He"), ("tanh", "1.5 x He"), ("sigmoid", "Glorot"), ("sigmoid", "He"), ("sigmoid", "1.5 x He")}
fits = {}
for activation in ACTIVATIONS:
    for name, (_, sigma) in INITS.items():
        for depth in reversed(DEPTHS):                          # the deepest net in which anything is left to fit
            fit = factor_per_layer(output_gradients(activation, records[activation, name, depth]))
            if not math.isnan(fit[0]):
                break
        fits[activation, name] = fit[0]
        theory = linear_theory(activation, sigma)
        if (activation, name) not in BEYOND_LINEAR:
            checks.add(f"{activation}, {name}: factor per layer ({depth} layers)", fit[0], 0.93 * theory, 1.07 * theory,
                       f"{FORMULAS[activation]} = {theory:.3g}")

# %%
# Where this theory stops to hold
# -------------------------------
# With weights above Glorot's, tanh leaves its linear range: the signal grows until the activation saturates, where its
# derivative is small, and the gradient grows far more slowly than the formula promises. A sigmoid is never quite linear:
# its output is near 1/2 even without any signal, and Glorot's weights make enough of that to reach its bends.
#
# Then the average of the squared derivative counts. For wide layers the inputs of an activation are normal, N(0, q), and q
# repeats itself from layer to layer once it has settled: q = fan_in·σ² E[φ(z)²]. The factor is sqrt(fan_in·σ² E[φ′(z)²])·λ
# (Poole et al. 2016; Schoenholz et al. 2017).

nodes, weights = np.polynomial.hermite_e.hermegauss(101)        # for averages over z ~ N(0, 1)
weights /= weights.sum()


def mean_field_theory(activation, sigma):
    """The factor for wide layers, whether or not the activation saturates."""
    phi = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}[activation]
    slope = {"tanh": lambda z: 1 - np.tanh(z) ** 2, "sigmoid": lambda z: phi(z) * (1 - phi(z))}[activation]
    q = 1.0
    for _ in range(1000):
        q = fan_in * sigma ** 2 * float(weights @ phi(math.sqrt(q) * nodes) ** 2)
    padding = (1 + 2 * math.cos(math.pi / (H + 1))) / 3
    return math.sqrt(fan_in) * sigma * math.sqrt(float(weights @ slope(math.sqrt(q) * nodes) ** 2)) * padding


for activation, name in [case for case in fits if case in BEYOND_LINEAR]:
    sigma = INITS[name][1]
    theory = mean_field_theory(activation, sigma)
    checks.add(f"{activation}, {name}: factor per layer", fits[activation, name], 0.93 * theory, 1.07 * theory,
               f"mean field {theory:.3g}; linear: {linear_theory(activation, sigma):.3g}")
checks.add("tanh, 1.5 x He: factor / linear theory", fits["tanh", "1.5 x He"] / linear_theory("tanh", INITS["1.5 x He"][1]),
           0, 0.8, "below 1: saturation")

# %%
# The theory also speaks of wide layers. With 4 channels the seeds scatter more than with 32, as each layer's factor is then
# an average over few weights.


def range_of_factors(width):
    """Largest over smallest factor of the seeds, ReLU and He, 32 layers."""
    _, low, high = factor_per_layer(output_gradients("relu", measure("relu", nn.init.he_normal_, 32, width)))
    return high / low


if len(options.seeds) > 1:                                      # one seed does not scatter
    narrow, wide = range_of_factors(4), range_of_factors(32)
    checks.add("relu, He: scatter of the seeds, 4 channels / 32", (narrow - 1) / (wide - 1), 1, math.inf,
               "above 1: finite width")

# %%
# Which end starves
# -----------------
# Wherever a factor is below 1, the *input's* end gets the least: the gradient starts at the loss and is multiplied once
# more by each layer that it passes. The layers next to the loss always get theirs.


def input_over_output(activation, name, depth):
    """‖dL/dx‖ of the first layer over that of the last; the median of the seeds."""
    norms = output_gradients(activation, records[activation, name, depth])
    with np.errstate(invalid="ignore"):
        return float(np.median(norms[:, 0] / norms[:, -1]))


checks.add("relu, Glorot, 32 layers: first layer / last", input_over_output("relu", "Glorot", 32), 0, 1e-4,
           "below 1: the input's end")
checks.add("sigmoid, He, 32 layers: first layer / last", input_over_output("sigmoid", "He", 32), 0, 1e-10,
           "below 1: the input's end")
checks.add("relu, 1.5 x He, 64 layers: first layer / last", input_over_output("relu", "1.5 x He", 64), 1e6, math.inf,
           "above 1: explodes at the input's end")
checks.add("relu, 1.5 x He: share of weights below 1 in size",
           float(np.mean(np.abs(models.flat_net(1, WIDTH, WIDTH, init=large_he_).layer1.conv.weight.data) < 1)), 0.99, 1,
           'not "weights above 1": σ = 0.18')


dead = (output_gradients("sigmoid", records["sigmoid", "N(0, 0.01²)", 64]) == 0).all(axis=0)  # (seeds, layers) -> (layers,)
dead_from_the_input = int(np.argmin(dead))                      # how many there are before the first that is alive
checks.add("sigmoid, N(0, 0.01²): first layers of 64 that are dead", dead_from_the_input, 30, 44,
           "37: same nets in PyTorch")
checks.add("sigmoid, N(0, 0.01²): dead layers anywhere else", int(dead.sum()) - dead_from_the_input, 0, 0,
           "only the input's end starves")

# %%
# dL/dW hides it, in ReLU nets
# ----------------------------
# The gradient of a weight is the product of the signal that comes in and of the gradient that comes back. In a ReLU net
# with small weights the signal fades towards the output just as the gradient fades towards the input: their product is
# nearly the same everywhere, and *all* of it collapses with depth. A sigmoid keeps the signal's size (its output is near
# 1/2), and there dL/dW shows the vanishing layer by layer.


def weight_gradient_range(activation, name, depth):
    """Powers of ten between the largest and the smallest ‖dL/dW‖ over the layers; the median of the seeds."""
    norms = records[activation, name, depth].select(nn.Conv2d).weight_grad_norm[:, 1:]  # the first sees the image itself
    return float(np.median(np.log10(norms.max(axis=1)) - np.log10(norms.min(axis=1))))


checks.add("relu, Glorot, 32 layers: powers of ten in dL/dW", weight_gradient_range("relu", "Glorot", 32), 0, 2,
           "flat: homogeneity")
checks.add("sigmoid, Glorot, 32 layers: powers of ten in dL/dW", weight_gradient_range("sigmoid", "Glorot", 32),
           10, math.inf, "1/4 a layer")

# %%
# The figures
# -----------
# Each activation with the four initialisations, and theory as dashed lines; the way from 8 to 64 layers; and dL/dW.

drawn = 64
figure, axes = pyplot.subplots(1, 3, figsize=(16, 5.2), layout="constrained", sharey=True)
for activation, ax in zip(ACTIVATIONS, axes, strict=True):
    mr.plot.gradient_norms([records[activation, name, drawn].select(ACTIVATIONS[activation]) for name in INITS],
                           labels=list(INITS), ax=ax)
    for name, (_, sigma) in INITS.items():
        last = np.median(output_gradients(activation, records[activation, name, drawn])[:, -1])
        layers = np.arange(1, drawn + 1)
        factor = (mean_field_theory if (activation, name) in BEYOND_LINEAR else linear_theory)(activation, sigma)
        theory = last * factor ** (drawn - layers)
        ax.plot(layers[theory > 1e-45], theory[theory > 1e-45], "--", color="black", linewidth=0.8)
    ax.set_title(activation)
figure.suptitle(f"Each layer multiplies the gradient by its own factor, so it is the input's end that starves or explodes "
                f"({drawn} layers; dashed: theory)")
lesson.save_figure(figure, options, "vanishing_and_exploding.png")

figure, axes = pyplot.subplots(1, len(DEPTHS), figsize=(4 * len(DEPTHS), 4.4), layout="constrained", sharey=True)
for depth, ax in zip(DEPTHS, axes, strict=True):
    mr.plot.gradient_norms([records["relu", name, depth].select(nn.ReLU) for name in INITS], labels=list(INITS), ax=ax)
    ax.set_title(f"{depth} layers")
figure.suptitle("The slope does not depend on the depth, so what arrives at the input changes exponentially with it (ReLU)")
lesson.save_figure(figure, options, "by_depth.png")

figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained", sharey=True)
for activation, ax in zip(("relu", "sigmoid"), axes, strict=True):
    mr.plot.gradient_norms([records[activation, name, 32].select(nn.Conv2d) for name in INITS], labels=list(INITS),
                           quantity="weight_grad_norm", ax=ax)
    ax.set_title(f"{activation}, 32 layers")
figure.suptitle("dL/dW hides the vanishing in a ReLU net: it is small everywhere, not at one end; with sigmoid it shows")
lesson.save_figure(figure, options, "weight_gradients.png")
pyplot.close("all")

for activation in ACTIVATIONS:
    for name in INITS:
        file_name = f"{activation}_{''.join(c for c in name if c.isalnum() or c == '.')}.csv"
        records[activation, name, drawn].to_csv(options.out / file_name)

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "Each layer multiplies the gradient by a factor that follows from fan_in · σ², the activation and the padding, so depth "
    "makes it vanish or explode exponentially, and it does so at the end of the input; the layers next to the loss are fed.",
    "The factor is about the variance of the sum, not about single weights above 1; it is no longer the linear one where "
    "activations saturate, and in a ReLU net a plot of dL/dW over the layers does not show it.",
))
