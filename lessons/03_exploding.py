"""
Exploding gradients, and what has to be large for it
====================================================

:Question: When does a gradient explode? Is it true that weights of 1 or larger do it?
:Time: 20 s on two cores
:Before this: the lesson on vanishing gradients

The factor by which a layer multiplies the gradient can be above 1 as well as below. Then the gradient explodes, again
towards the input, and again exponentially with depth. We look for what decides it, in fully connected layers first, where
the theory is exact, and then in nets of 3 x 3 convolutions on photographs of clothing (Fashion-MNIST).

Think about first
-----------------

* Nearly all weights of a net are smaller than 0.9 in size. Can its gradient explode?
* A third of the weights are larger than 1 in size. Can its gradient vanish?
* A float32 number ends at 3.4e38. How many layers does it take to get there, if each doubles the signal?
"""
import math
from typing import Any

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson, measures, theory

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# What decides: the number of inputs times the variance
# -----------------------------------------------------
# A unit adds up fan_in products. On its way back, a gradient becomes a sum of as many, with weights of variance σ², and goes
# through the activation's slope. For ReLU its mean square is multiplied by fan_in·σ²/2: the *gain* sqrt(fan_in·σ²) counts,
# and 2 is the edge of fan_in·σ² (He et al. 2015, arXiv:1502.01852, equations 10 and 14). We take 40 layers and normal
# inputs, and choose fan_in and σ apart from each other.

LAYERS, SAMPLES = 40, 128
VARIANCES = options.pick(tiny=(1, 2.4), default=(0.5, 1, 2, 2.4, 4), full=(0.25, 0.5, 1, 2, 2.4, 3, 4, 8))  # fan_in·σ²
UNITS = options.pick(tiny=(64,), default=(64, 256), full=(64, 256, 512))
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def dense_net(activation, units, sigma, seed):
    """Fully connected layers of equal width with weights of N(0, σ²)."""
    layers = [nn.Sequential(nn.Linear(units, units, bias=False), ACTIVATIONS[activation]()) for _ in range(LAYERS)]
    return nn.init.initialize_(nn.Sequential(*layers), lambda w, generator: nn.init.normal_(w, generator, sigma), seed)


def dense_gradients(activation, units, sigma):
    """‖dL/dx‖ of the layers' outputs, (seeds, layers), for a normal gradient given to the last one."""
    norms = []
    for seed in options.seeds:
        net = dense_net(activation, units, sigma, seed).to(options.device)
        generator = np.random.default_rng(seed)
        x, gradient = (mr.Tensor(generator.standard_normal((SAMPLES, units)).astype(np.float32)).to(options.device)
                       for _ in range(2))
        with mr.record_gradients(net) as record:
            net(x).backward(gradient.data)
        norms.append(record.select(ACTIVATIONS[activation]).output_grad_norm[0])
    return np.array(norms)


dense = {}  # (units, fan_in·σ²): (seeds,) factors
for units, v in lesson.progress([(units, v) for units in UNITS for v in VARIANCES], "relu"):
    dense[units, v] = measures.factor_per_layer(dense_gradients("relu", units, math.sqrt(v / units)))
for v in VARIANCES:
    factor = theory.linear_factor("relu", math.sqrt(v))
    checks.add(f"relu, {UNITS[-1]} units, fan_in·σ² = {v}: factor per layer", dense[UNITS[-1], v], 0.97 * factor,
               1.03 * factor, f"sqrt(fan_in·σ²/2) = {factor:.3g}: He et al. 2015")

# %%
# Weights of 1 or larger?
# -----------------------
# First: 256 units and σ = 0.2. Hardly one weight in a million is as large as 1, and fan_in·σ² is 10. Second: sigmoid, 64
# units, σ = 1. A third of the weights are larger than 1 in size, and the gradient vanishes, as sigmoids saturate and their
# slope, 1/4 at most, is nearly 0 (mean field: see the lesson before).

SMALL: dict[str, Any] = {"activation": "relu", "units": 256, "sigma": 0.2}
LARGE: dict[str, Any] = {"activation": "sigmoid", "units": 64, "sigma": 1.0}


def weights_above_1(activation, units, sigma):
    """The largest |w|, and the share of weights above 1 in size, for each seed."""
    weights = [np.abs(np.concatenate([w.data.ravel() for w in dense_net(activation, units, sigma, seed).parameters()]))
               for seed in options.seeds]
    return np.array([w.max() for w in weights]), np.array([(w > 1).mean() for w in weights])


small_factors = measures.factor_per_layer(dense_gradients(**SMALL))
large_factors = measures.factor_per_layer(dense_gradients(**LARGE))
small_share, large_share = weights_above_1(**SMALL)[1], weights_above_1(**LARGE)[1]
checks.add("relu, 256 units, σ = 0.2: share of weights above 1 in size", small_share, 0, 1e-5, "5 σ: 6e-7")
checks.add("sigmoid, 64 units, σ = 1: share of weights above 1 in size", large_share, 0.30, 0.33, "1 σ: 0.317")
checks.claim("S7", "if that is the rule, weights far below 1 (relu, σ = 0.2): factor per layer", small_factors, 0, 1,
             contrary=(1.5, math.inf), expect="contradicts",
             comment="It explodes with weights far below 1, as there are many of them: fan_in · σ² counts.")
checks.claim("S7", "a third of weights above 1 (sigmoid, σ = 1): factor per layer", large_factors, 1, math.inf,
             contrary=(0, 0.97), expect="contradicts",
             comment="It vanishes with a third of the weights above 1, as the activation's slope is part of the factor.")
factor = theory.linear_factor("relu", math.sqrt(256) * 0.2)
checks.add("relu, 256 units, σ = 0.2: factor per layer", small_factors, 0.95 * factor, 1.05 * factor,
           f"sqrt(256·0.04/2) = {factor:.3g}")
factor = theory.mean_field_factor("sigmoid", 8.0)
checks.add("sigmoid, 64 units, σ = 1: factor per layer", large_factors, 0.93 * factor, 1.07 * factor,
           f"mean field {factor:.3g}")
factor = theory.mean_field_factor("sigmoid", 4.0)
checks.add("sigmoid, 256 units, fan_in·σ² = 16: factor per layer",
           measures.factor_per_layer(dense_gradients("sigmoid", 256, 0.25)), 0.96 * factor, 1.04 * factor,
           f"mean field {factor:.3g}; below 1")

# %%
# Convolutions
# ------------
# The same in nets of 3 x 3 convolutions: fan_in is 9 · 16, and zero padding takes a factor λ (see the lesson before). He's
# initialisation is on the edge; weights 1.5 times as large explode.

DEPTHS = options.pick(tiny=(32,), default=(16, 32, 64), full=(16, 32, 64, 128))
DEEPEST = DEPTHS[-1]
WIDTH = 16  # channels of each layer
H = 14  # pixels, down and across
BATCH_SIZE = options.pick(tiny=4, default=32, full=32)
PADDING = theory.padding_factor(H)

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def he_times(scale):
    """An initialiser: He's, with weights `scale` times as large."""
    def init(tensor, generator):
        nn.init.he_normal_(tensor, generator)
        tensor.data *= scale
        return tensor
    return init


def measure(activation, scale, depth, width=WIDTH):
    """The record of one backward pass a seed."""
    records = []
    for seed in options.seeds:
        model = models.flat_net(depth, width, activation=activation, init=he_times(scale), seed=seed)
        model.to(options.device)
        x, y = next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))
        with mr.record_gradients(model) as record:
            mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y).backward()
        records.append(record.select(ACTIVATIONS[activation]))
    return mr.stack_records(records)


NETS = (("relu", 1.0), ("relu", 1.5), ("tanh", 1.5))
cases = [(activation, scale, depth) for activation, scale in NETS for depth in DEPTHS]
records = {case: measure(*case) for case in lesson.progress(cases, "convolutions")}
for scale in (1.0, 1.5):
    factor = theory.linear_factor("relu", scale * math.sqrt(2)) * PADDING
    checks.add(f"convolutions, relu, {scale:g} x He: factor per layer",
               measures.factor_per_layer(records["relu", scale, DEEPEST].output_grad_norm), 0.93 * factor, 1.07 * factor,
               f"{scale:g}·λ = {factor:.3g}")
exploded = records["relu", 1.5, DEEPEST].output_grad_norm
checks.add(f"convolutions, relu, 1.5 x He, {DEEPEST} layers: ‖dL/dx‖, first layer / last", exploded[:, 0] / exploded[:, -1],
           1e6, math.inf, "above 1: at the input's end")
checks.add("convolutions, 1.5 x He: standard deviation σ of the weights",
           models.flat_net(1, WIDTH, WIDTH, init=he_times(1.5)).layer1.conv.weight.data.std(), 0.15, 0.20,
           '1.5·sqrt(2/144) = 0.177, not "1 or larger"')

# %%
# What saturates does not explode so fast. tanh passes on any gradient where its input is near 0, so the linear theory
# promises the gain itself, 2.1. But large signals drive it to where it is flat.

gain = 1.5 * math.sqrt(2)
tanh_factors = measures.factor_per_layer(records["tanh", 1.5, DEEPEST].output_grad_norm)
factor = theory.mean_field_factor("tanh", gain) * PADDING
checks.add("convolutions, tanh, 1.5 x He: factor per layer", tanh_factors, 0.93 * factor, 1.07 * factor,
           f"mean field {factor:.3g}")
checks.add("convolutions, tanh, 1.5 x He: factor / linear theory",
           tanh_factors / (theory.linear_factor("tanh", gain) * PADDING), 0, 0.8, "below 1: saturation")

# %%
# Narrow layers leave more to chance
# ----------------------------------
# The theory is about wide layers. With 4 channels the seeds scatter more than with 32, as each layer's factor is then an
# average over few weights. He's initialisation keeps the gradient's size on average, not in every net.

SCATTER_DEPTH = 32
scatter = {}
for width in (4, 32):
    factors = measures.factor_per_layer(measure("relu", 1.0, SCATTER_DEPTH, width).output_grad_norm)
    scatter[width] = float(np.log(factors.max() / factors.min()))
if len(options.seeds) > 1:                                      # one seed does not scatter
    checks.add("convolutions, relu, He: scatter of the seeds, 4 channels / 32", scatter[4] / scatter[32], 1, math.inf,
               "above 1: finite width")

# %%
# Where float32 ends
# ------------------
# What explodes backward explodes forward too, and a float32 ends at 3.4e38. With 2 x He each layer multiplies the signal by
# about 2λ. We count the layers that a signal of size 1 survives.


def layers_until_overflow(scale, depth, seed):
    """The number of layers whose outputs are finite."""
    model = models.flat_net(depth, WIDTH, init=he_times(scale), seed=seed).to(options.device)
    y = mr.Tensor(next(iter(mr.data.Batches(images, labels, 4, seed=seed)))[0]).to(options.device)
    with mr.no_grad(), np.errstate(over="ignore", invalid="ignore"):
        for i, name in enumerate(model.layers):
            y = getattr(model, name)(y)
            if not np.isfinite(y.numpy()).all():
                return i
    return depth


expected = math.log(measures.LARGEST) / math.log(2 * PADDING)
survived = [layers_until_overflow(2.0, 200, seed) for seed in options.seeds]
checks.add("convolutions, relu, 2 x He: layers before float32 overflows", survived, 0.85 * expected, 1.15 * expected,
           f"ln 3.4e38 / ln 2λ = {expected:.0f}")

# %%
# The figures
# -----------

figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), layout="constrained")
line = np.geomspace(min(VARIANCES), 2.0 * max(*VARIANCES, 5.12), 100)
left.plot(line, np.sqrt(line / 2), "--", color="black", linewidth=0.8, label="theory for ReLU: sqrt(fan_in·σ²/2)")
for units, colour, marker in zip(UNITS, mr.plot.COLOURS, mr.plot.MARKERS, strict=False):
    for v in VARIANCES:
        left.errorbar(v, np.median(dense[units, v]), [[np.median(dense[units, v]) - dense[units, v].min()],
                                                      [dense[units, v].max() - np.median(dense[units, v])]],
                      color=colour, marker=marker, linestyle="none", capsize=3,
                      label=f"ReLU, {units} units" if v == VARIANCES[0] else None)
left.plot(SMALL["units"] * SMALL["sigma"] ** 2, np.median(small_factors), color=mr.plot.COLOURS[2], marker="^", markersize=9,
          linestyle="none", label="ReLU, 256 units, σ = 0.2: nearly all |w| < 1")
left.plot(LARGE["units"] * LARGE["sigma"] ** 2, np.median(large_factors), color=mr.plot.COLOURS[3], marker="D", markersize=8,
          linestyle="none", label="sigmoid, 64 units, σ = 1: a third of |w| > 1")
left.axhline(1, color="0.6", linewidth=0.8)
left.set_xscale("log")
left.set_yscale("log")
left.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
left.set_yticks([0.5, 0.7, 1, 1.5, 2], ["0.5", "0.7", "1", "1.5", "2"])
left.minorticks_off()
left.set_xlabel("fan_in · σ²")
left.set_ylabel("factor per layer on ‖dL/dx‖")
left.legend(fontsize="small")
left.set_title("fully connected: above the line at 1 it explodes")
mr.plot.gradient_norms([records["relu", 1.0, DEEPEST], records["relu", 1.5, DEEPEST], records["tanh", 1.5, DEEPEST]],
                       labels=["ReLU, He", "ReLU, 1.5 x He", "tanh, 1.5 x He"], ax=right)
right.set_title(f"convolutions, {DEEPEST} layers: it explodes at the input's end")
figure.suptitle("What explodes is decided by fan_in · σ² and the activation, not by weights of 1 or larger")
lesson.save_figure(figure, options, "exploding.png")
pyplot.close("all")

for (activation, scale, depth), record in records.items():
    if depth == DEEPEST:
        record.to_csv(options.out / f"{activation}_{scale:g}xHe.csv")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "A gradient explodes where fan_in · σ², times the mean of the activation's squared slope, is above 1 in every layer; it "
    "explodes at the input's end, exponentially with depth. Single weights above 1 are neither needed for it nor enough.",
    "Saturation slows it down, zero padding takes a little, and in narrow nets each net has a factor of its own.",
))

# %%
# Exercises
# ---------
# 1. Give LARGE another σ. Above which does the gradient of the sigmoid net explode after all? Let
#    ``theory.mean_field_factor`` tell you first.
# 2. Divide the initial weights of the 1.5 x He net by 1.5 after it was made: ``w.data /= 1.5``. Is that all that it takes?
# 3. Put batch norm into the convolutional nets and try 1 x He and 1.5 x He again. Why are both slopes the same, and why do
#    both explode? (The lesson on batch norm measures it.)
