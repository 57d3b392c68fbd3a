"""
Why the right variance is not enough
====================================

:Question: He's initialisation keeps the mean square of a gradient. Why can a deep net still fail to learn?
:Time: 75 s on two cores
:Before this: the lessons on vanishing and on exploding gradients

The lessons before found the variance at which the mean square of a gradient neither shrinks nor grows. A mean is made of
many: of the directions that a gradient can have, of the nets that a seed can give, of the inputs that go in. We look at each
of them one by one, in nets whose mean is right. Then we start a net of 64 convolutions so that *every* direction keeps its
size, and train it.

Think about first
-----------------

* A layer with random weights keeps the mean square over all directions of a gradient. Does it keep each direction?
* Two nets differ only in their seed. By how much do their gradients at the input differ, after 32 layers?
* Which matrices keep the length of every vector? Can a layer with ReLU do so?
"""
import math
from collections.abc import Callable

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson, measures, theory

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# All directions at once: the Jacobian
# ------------------------------------
# The Jacobian J of a net has the entries ∂y_i/∂x_j: a gradient dL/dy that comes in at the output arrives at the input as
# Jᵀ dL/dy. Its singular values s say what happens to each of n perpendicular directions: one with s = 1 passes as it is, one
# with s = 0.01 is all but gone. "The right variance" says that the mean of s² is 1, and no more.
#
# A backward pass gives one row of J. With a batch of n copies of one input, and the n unit vectors as gradients, it gives
# them all. (``measures.squared_singular_values`` does it.)

DEPTHS = options.pick(tiny=(4, 16), default=(4, 16, 64), full=(4, 16, 64, 128))
CHECKED = 16  # the depth of the rows below
UNITS = options.pick(tiny=32, default=256, full=512)


def gaussian(gain):
    """An initialiser: N(0, gain²/fan_in)."""
    return lambda w, generator: nn.init.normal_(w, generator, gain / math.sqrt(nn.init.fans(w)[0]))


def orthogonal(gain):
    """An initialiser: `gain` times a random orthogonal matrix."""
    return lambda w, generator: nn.init.orthogonal_(w, generator, gain)


def dense_net(activation, init, units, depth, seed, dtype: type = np.float32):
    """`depth` fully connected layers of equal width, each with its activation, if any."""
    layers = [nn.Sequential(nn.Linear(units, units, bias=False), *([activation()] if activation else []))
              for _ in range(depth)]
    return nn.init.initialize_(nn.Sequential(*layers).astype(dtype), init, seed).to(options.device)


def dense_spectra(activation, init, depth, size=1.0):
    """s² of one net a seed, (seeds, UNITS), at a normal input of that size."""
    spectra = []
    for seed in options.seeds:
        x = mr.Tensor(size * np.random.default_rng(seed).standard_normal((1, UNITS))).to(options.device)
        spectra.append(measures.squared_singular_values(dense_net(activation, init, UNITS, depth, seed, np.float64), x))
    return np.array(spectra)


ROOT2 = math.sqrt(2)
NETS: dict[str, tuple[type[nn.Module] | None, Callable]] = {  # each keeps the mean square
    "linear, Gaussian": (None, gaussian(1)),
    "linear, orthogonal": (None, orthogonal(1)),
    "ReLU, Gaussian (He)": (nn.ReLU, gaussian(ROOT2)),
    "ReLU, orthogonal": (nn.ReLU, orthogonal(ROOT2)),
}
spectra = {(name, depth): dense_spectra(*NETS[name], depth)
           for name, depth in lesson.progress([(name, depth) for name in NETS for depth in DEPTHS], "spectra")}

# %%
# What theory says of the spectrum
# --------------------------------
# For wide layers, the variance of s² grows in proportion to the number of layers L: as L for linear Gaussian layers, 2L with
# ReLU, L for orthogonal layers with ReLU, and it stays 0 only for linear orthogonal layers (Pennington et al. 2017,
# arXiv:1711.04735: L·(μ₂/μ₁² - 1 - s₁)). A mean of 1 with a variance of 16 needs a few large values and many that are
# almost 0.
#
# The largest s² follows too, from the S-transforms of the layers (our derivation, by the method of that paper, for many more
# units than layers): it is nearly e·L, or 2e·L with He's weights. We look at it in the shallow nets, as the largest of n
# values comes near to the end of its distribution only as (L/n)^(2/3) becomes small.


def largest_of_he(L):
    """The largest s² of L wide Gaussian layers with ReLU: the minimum over z of (1 + z)(1 + 2z)^L / z; our derivation."""
    z = (math.sqrt(L ** 2 + 1) - (L - 1)) / (2 * L)             # where its derivative is 0
    return (1 + z) * (1 + 2 * z) ** L / z


PREDICTED = {  # name: (variance of s² after L layers, the largest s²)
    "linear, Gaussian": (lambda L: L, lambda L: (L + 1) ** (L + 1) / L ** L),
    "ReLU, Gaussian (He)": (lambda L: 2 * L, largest_of_he),
    "ReLU, orthogonal": (lambda L: L, lambda L: L ** L / (L - 1) ** (L - 1)),
}
for name, (variance_of, largest_of) in PREDICTED.items():
    deep, shallow = spectra[name, CHECKED], spectra[name, DEPTHS[0]]  # (seeds, UNITS)
    variance, largest = variance_of(CHECKED), largest_of(DEPTHS[0])
    checks.add(f"{name}, {CHECKED} layers: mean of s²", deep.mean(axis=1), 0.5, 1.5,
               f"1; one net scatters by sqrt(5·{CHECKED}/{UNITS}) at most")
    checks.add(f"{name}, {CHECKED} layers: variance of s² / mean²", deep.var(axis=1) / deep.mean(axis=1) ** 2,
               0.7 * variance, 1.3 * variance, f"{variance}: Pennington et al. 2017")
    checks.add(f"{name}, {DEPTHS[0]} layers: largest s² / mean", shallow[:, 0] / shallow.mean(axis=1),
               0.75 * largest, 1.25 * largest, f"{largest:.1f}: our derivation, wide layers")

# %%
# Of linear Gaussian layers the whole distribution is known, that of Fuss and Catalan. With an angle 0 < φ < π/(L+1),
# s² = sin((L+1)φ)^(L+1) / (sin φ · sin(Lφ)^L), of density sin²φ · sin(Lφ)^(L-1) / (π sin((L+1)φ)^L). (See, for instance,
# Penson & Życzkowski 2011, arXiv:1103.3453.) So we can say beforehand how many directions keep at least a tenth.


def fuss_catalan(L, points=20001):
    """(s², the share of values above it) for L wide linear Gaussian layers, the largest first."""
    phi = math.pi / (L + 1) * (1 - np.geomspace(1 - 1e-9, 3e-3, points))  # (points,), dense where s² nears 0
    ratio = np.sin((L + 1) * phi) / np.sin(L * phi)             # its power alone stays within a float
    squares = ratio ** L * np.sin((L + 1) * phi) / np.sin(phi)
    density = np.sin(phi) ** 2 / (math.pi * np.sin(L * phi) * ratio ** L)
    steps = (density[1:] + density[:-1]) / 2 * -np.diff(squares)  # the trapezoidal rule
    return squares, np.concatenate([[0], np.cumsum(steps)])


for depth in DEPTHS[:-1] if options.full else DEPTHS:           # theory wants far more units than layers
    squares, above = fuss_catalan(depth)
    share = np.interp(-0.01, -squares, above)                   # s > 1/10
    checks.add(f"linear, Gaussian, {depth} layers: share of directions with s > 1/10",
               (spectra["linear, Gaussian", depth] > 0.01).mean(axis=1), 0.85 * share, 1.15 * share,
               f"{share:.3f}: Fuss and Catalan")

# %%
# Dynamical isometry
# ------------------
# Where all singular values are near 1, one speaks of *dynamical isometry* (Saxe et al. 2013, arXiv:1312.6120). Orthogonal
# layers without activation have it exactly, at any depth. ReLU puts half of each layer's directions to 0 and doubles the
# rest; that does not go away, however the weights are chosen. tanh is nearly linear where its inputs are small, so there
# orthogonal weights help: we give the net an input of size 0.1.

SAXE = lesson.Claim("In a deep linear net, orthogonal initial weights keep every singular value of the Jacobian at 1, "
                    "whatever the depth.", "Saxe et al. 2013 (arXiv:1312.6120)")
RELU_CANNOT = lesson.Claim("Nets with ReLU cannot have dynamical isometry, not even with orthogonal weights.",
                           "Pennington et al. 2017 (arXiv:1711.04735)")
TANH_CAN = lesson.Claim("Nets with a sigmoidal activation can have dynamical isometry, but only with orthogonal weights.",
                        "Pennington et al. 2017 (arXiv:1711.04735)")
deepest = spectra["linear, orthogonal", DEPTHS[-1]]
checks.claim(SAXE, f"linear, orthogonal, {DEPTHS[-1]} layers: largest s² / smallest", deepest[:, 0] / deepest[:, -1],
             1, 1 + 1e-9, contrary=(1.01, math.inf))
relu = spectra["ReLU, orthogonal", CHECKED]
checks.claim(RELU_CANNOT, f"ReLU, orthogonal, {CHECKED} layers: share of directions with s < 1/10",
             (relu < 0.01).mean(axis=1), 0.4, 1, contrary=(0, 0.1),
             comment="Orthogonal weights halve the variance of s², compared with Gaussian ones; most directions are lost "
                     "all the same.")
tanh = {name: dense_spectra(nn.Tanh, init, CHECKED, size=0.1)
        for name, init in (("orthogonal", orthogonal(1)), ("Gaussian", gaussian(1)))}
checks.claim(TANH_CAN, f"tanh, orthogonal, {CHECKED} layers, small signals: largest s² / mean",
             tanh["orthogonal"][:, 0] / tanh["orthogonal"].mean(axis=1), 1, 2, contrary=(10, math.inf))
checks.claim(TANH_CAN, f"tanh, Gaussian, {CHECKED} layers, small signals: largest s² / mean",
             tanh["Gaussian"][:, 0] / tanh["Gaussian"].mean(axis=1), 10, math.inf, contrary=(1, 2),
             comment="With small signals tanh is nearly linear, and the weights decide.")

# %%
# A mean over nets: finite width
# ------------------------------
# A layer of n units multiplies the square of a gradient's norm by a sum of n random terms, 2/n each where ReLU is open: 1 on
# average, with a variance of 5/n. Over L layers the logarithms add up: ln(‖dL/dx‖² at the input / at the output) has the
# variance 5 L/n, and a mean of -2.5 L/n, as the mean of a logarithm is below the logarithm of the mean (Hanin 2018,
# arXiv:1801.03744; Hanin & Nica 2018, arXiv:1812.05994: the sum of the reciprocals of the widths counts). He's variance is
# right for the average of all nets. You train one of them, and a deep and narrow one is often far from it. (The theory is
# the first term for large n; 32 units scatter a little more.)

SHAPES = options.pick(tiny=((16, 4), (16, 8)), default=((32, 8), (32, 32), (64, 8), (64, 32), (128, 32)),
                      full=((32, 8), (32, 32), (64, 8), (64, 32), (128, 32), (128, 64), (256, 32)))  # (units, layers)
NETS_A_SEED = options.pick(tiny=5, default=80, full=200)


def logarithm_of_gain(units, depth, seed, number):
    """ln(‖dL/dx‖² at the input / at the output) of one He-initialised net with ReLU, for one normal input and gradient."""
    net = dense_net(nn.ReLU, gaussian(ROOT2), units, depth, seed * 10 ** 6 + number)
    generator = np.random.default_rng([seed, number])
    x, gradient = (mr.Tensor(generator.standard_normal((1, units)).astype(np.float32)).to(options.device) for _ in range(2))
    x.requires_grad = True
    net(x).backward(gradient.data)
    arrived = mr.Tensor(x.grad).numpy()
    return 2 * math.log(np.linalg.norm(arrived) / np.linalg.norm(gradient.numpy()))


gains = {(units, depth): np.array([[logarithm_of_gain(units, depth, seed, i) for i in range(NETS_A_SEED)]
                                   for seed in options.seeds])  # (seeds, nets)
         for units, depth in lesson.progress(SHAPES, "many nets")}
HANIN = lesson.Claim("How much the gradients of ReLU nets scatter at initialisation is decided by the sum of the "
                     "reciprocals of the widths, so that deep and narrow nets scatter most.",
                     "Hanin 2018 (arXiv:1801.03744)")
for shape in SHAPES[-2:]:
    units, depth = shape
    checks.add(f"ReLU, He, {units} units, {depth} layers: variance over nets of ln ‖dL/dx‖²",
               gains[shape].var(axis=1, ddof=1), 0.7 * 5 * depth / units, 1.3 * 5 * depth / units,
               f"5 L/n = {5 * depth / units:.3g}: Hanin & Nica 2018")
    checks.add(f"ReLU, He, {units} units, {depth} layers: mean over nets of ln ‖dL/dx‖²", gains[shape].mean(axis=1),
               -1.4 * 2.5 * depth / units, -0.6 * 2.5 * depth / units, f"-2.5 L/n = {-2.5 * depth / units:.3g}: the same")
same = [gains[shape].var(axis=1, ddof=1) for shape in ((32, 8), (128, 32)) if shape in gains]
if len(same) == 2:
    checks.claim(HANIN, "variance of ln ‖dL/dx‖²: 32 units and 8 layers / 128 units and 32 layers", same[0] / same[1],
                 0.5, 2, contrary=(3, math.inf),
                 comment="Four times as deep and four times as wide: the same scatter, as far as so few nets can tell.")

# %%
# A mean over inputs: they become one
# -----------------------------------
# Two inputs at right angles are no longer so after one layer with ReLU: the cosine ρ between them becomes
# (sqrt(1 - ρ²) + ρ (π - arccos ρ))/π (Cho & Saul 2009, the arc-cosine kernel of degree 1), and so on, layer after layer,
# towards 1. Every norm is as it should be, and the net says nearly the same of every input.

ANGLE_UNITS, ANGLE_DEPTH, INPUTS = options.pick(tiny=64, default=512, full=1024), 10, 24


def next_cosine(rho):
    """The cosine between two signals after one more wide layer with ReLU."""
    return (math.sqrt(1 - rho ** 2) + rho * (math.pi - math.acos(rho))) / math.pi


def mean_cosine(seed):
    """The mean cosine between the outputs of a deep ReLU net for inputs that were at right angles."""
    net = dense_net(nn.ReLU, gaussian(ROOT2), ANGLE_UNITS, ANGLE_DEPTH, seed)
    x = orthogonal(1)(mr.Tensor(np.empty((INPUTS, ANGLE_UNITS), np.float32)), np.random.default_rng(seed))
    with mr.no_grad():
        y = net(x.to(options.device)).numpy()
    y /= np.linalg.norm(y, axis=1, keepdims=True)               # (INPUTS, ANGLE_UNITS)
    return (y @ y.T)[np.triu_indices(INPUTS, 1)].mean()


cosine = 0.0
for _ in range(ANGLE_DEPTH):
    cosine = next_cosine(cosine)
checks.add(f"ReLU, He: cosine after {ANGLE_DEPTH} layers between inputs at right angles",
           [mean_cosine(seed) for seed in options.seeds], cosine - 0.03, cosine + 0.03, f"arc-cosine kernel: {cosine:.3f}")

# %%
# Convolutions: orthogonal is not orthogonal
# ------------------------------------------
# The weight (O, C, 3, 3) of a convolution is no matrix. ``orthogonal_`` gives it orthonormal rows as if it were one of
# (O, 9C), as PyTorch does. The map from image to image is then not orthogonal at all. *Delta-orthogonal* weights have an
# orthogonal matrix at the kernel's centre and zeros elsewhere (Xiao et al. 2018, arXiv:1806.05393): every pixel goes through
# the same orthogonal matrix, no norm changes, and zero padding takes nothing. (Gaussian weights lose a factor λ to it; here
# they get it back, so that their mean square is right.)

H, CHANNELS = 7, options.pick(tiny=2, default=8, full=8)
CONVOLUTIONS = options.pick(tiny=4, default=16, full=32)
PADDING = theory.padding_factor(H)
CONVOLUTION_INITS = {"Gaussian": gaussian(1 / PADDING), "orthogonal_": nn.init.orthogonal_,
                     "delta-orthogonal": nn.init.delta_orthogonal_}


def convolution_spectra(init):
    """s² of linear nets of 3 x 3 convolutions on images of H x H, (seeds, CHANNELS·H·H)."""
    spectra = []
    for seed in options.seeds:
        net = nn.Sequential(*[nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False) for _ in range(CONVOLUTIONS)])
        net = nn.init.initialize_(net.astype(np.float64), init, seed).to(options.device)
        x = mr.Tensor(np.random.default_rng(seed).standard_normal((1, CHANNELS, H, H))).to(options.device)
        spectra.append(measures.squared_singular_values(net, x))
    return np.array(spectra)


of_convolutions = {name: convolution_spectra(init)
                   for name, init in lesson.progress(CONVOLUTION_INITS.items(), "convolutions")}
for name in ("Gaussian", "orthogonal_"):
    squares = of_convolutions[name]
    checks.add(f"{CONVOLUTIONS} linear convolutions, {name}: largest s² / mean", squares[:, 0] / squares.mean(axis=1),
               2, math.inf, "an isometry has 1")
DELTA = lesson.Claim("Delta-orthogonal weights make a convolution keep every norm, at any depth.",
                     "Xiao et al. 2018 (arXiv:1806.05393)")
squares = of_convolutions["delta-orthogonal"]
checks.claim(DELTA, f"{CONVOLUTIONS} linear convolutions, delta-orthogonal: largest s² / smallest",
             squares[:, 0] / squares[:, -1], 1, 1 + 1e-9, contrary=(1.01, math.inf))

# %%
# Does it matter for learning?
# ----------------------------
# Nets of 3 x 3 convolutions with tanh on photographs of clothing (Fashion-MNIST, averaged to 7 x 7 pixels), with no batch
# norm and no shortcut, 16 and 64 layers, a hundred steps of SGD. Only the initial weights differ, and all have the right
# mean square. Beside them: ReLU and He's weights. The learning rate is one for all, 0.01; with 0.02 some
# of the deep nets became unstable, on some seeds.

SHALLOW, DEEP = options.pick(tiny=(4, 8), default=(16, 64), full=(16, 64))
STEPS = options.pick(tiny=5, default=100, full=200)
WIDTH, BATCH_SIZE = options.pick(tiny=4, default=16, full=16), 32
images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))
images = mr.data.average_2x2(images)                            # -> (10000, 1, 7, 7)
TRAINED: dict[str, tuple[str, Callable]] = {
    "tanh, delta-orthogonal": ("tanh", nn.init.delta_orthogonal_),
    "tanh, Gaussian": ("tanh", gaussian(1 / PADDING)),
    "ReLU, Gaussian (He)": ("relu", gaussian(ROOT2 / PADDING)),
}


def train(activation, init, depth, seed):
    """The loss of each step."""
    model = models.flat_net(depth, WIDTH, activation=activation, init=init, seed=seed).to(options.device)
    optimizer = mr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for x, y in mr.data.Batches(images, labels, BATCH_SIZE, seed=seed):
        optimizer.zero_grad()
        loss = mr.ops.cross_entropy(model(mr.Tensor(x).to(options.device)), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == STEPS:
            return losses


cases = [(name, depth) for name in TRAINED for depth in (SHALLOW, DEEP)]
losses = {(name, depth): np.array([train(*TRAINED[name], depth, seed) for seed in options.seeds[:3]])
          for name, depth in lesson.progress(cases, "training")}  # {case: (seeds, steps)}
end = {case: curves[:, -STEPS // 5:].mean(axis=1) for case, curves in losses.items()}
checks.claim("S3", f"tanh, delta-orthogonal, {DEEP} layers simply stacked: loss after training",
             end["tanh, delta-orthogonal", DEEP], math.log(10) - 0.02, math.inf, contrary=(0, 2.1), expect="contradicts",
             comment="Stacked layers can learn, without batch norm or shortcuts, where the initial weights keep every "
                     "direction of the gradient.")
checks.claim(lesson.Claim("With delta-orthogonal weights very deep convolutional nets can be trained with neither batch "
                          "norm nor shortcuts.", "Xiao et al. 2018 (arXiv:1806.05393)"),
             f"tanh, delta-orthogonal, {DEEP} layers: loss after training", end["tanh, delta-orthogonal", DEEP], 0, 2.1,
             contrary=(math.log(10) - 0.02, math.inf),
             comment=f"Seen at {DEEP} layers, in {STEPS} steps on small images; the paper goes to 10,000 layers.")

# %%
# That such weights are *better* than Gaussian ones is another claim, and a hundred steps do not settle it: at 16 layers they
# are no help at all, and at 64 they win on most seeds, not on all. The Gaussian nets of 64 layers end far apart from each
# other; that a seed decides so much is what the sections above predict.

for depth in (SHALLOW, DEEP):
    checks.claim(lesson.Claim("Deep convolutional nets learn faster from delta-orthogonal weights than from Gaussian ones.",
                              "Xiao et al. 2018 (arXiv:1806.05393)"),
                 f"tanh, {depth} layers: loss with Gaussian weights - loss with delta-orthogonal ones",
                 end["tanh, Gaussian", depth] - end["tanh, delta-orthogonal", depth], 0.02, math.inf,
                 contrary=(-math.inf, -0.02), expect=None)
checks.add(f"ReLU, He, {DEEP} layers: loss after training", end["ReLU, Gaussian (He)", DEEP], math.log(10) - 0.05,
           math.log(10) + 0.05, "ln 10, guessing: inputs look alike", required=False)

# %%
# The figures
# -----------

FLOOR = 1e-4  # of the axis; smaller values lie below it
figure, axes = pyplot.subplots(1, len(NETS), figsize=(15, 4.6), layout="constrained", sharey=True)
for name, ax in zip(NETS, axes, strict=True):
    for depth, colour in zip(DEPTHS, mr.plot.COLOURS, strict=False):
        values = np.sqrt(np.maximum(spectra[name, depth], FLOOR ** 4))  # (seeds, UNITS); 0 is no number for a log axis
        share = 100 * (np.arange(UNITS) + 0.5) / UNITS
        ax.plot(share, np.median(values, axis=0), color=colour, label=f"{depth} layers")
        ax.fill_between(share, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, linewidth=0)
        if name == "linear, Gaussian":
            squares, above = fuss_catalan(depth)
            ax.plot(100 * above, np.sqrt(squares), "--", color="black", linewidth=0.8,
                    label="theory, wide layers" if depth == DEPTHS[-1] else None)
    ax.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    ax.set_yscale("log")
    ax.set_ylim(FLOOR, 30)
    ax.set_xlabel("directions, in % of all")
    ax.set_title(name)
    ax.grid(True, alpha=0.3)
axes[0].set_ylabel("singular value s, the largest at the left")
axes[1].legend(*axes[0].get_legend_handles_labels(), loc="lower left")  # where there is room
axes[1].text(50, 1.3, "all depths", ha="center")
figure.suptitle("All of these keep the mean square of a gradient; only linear orthogonal layers keep every direction of it "
                f"({UNITS} units, medians and ranges of {len(options.seeds)} seeds)")
lesson.save_figure(figure, options, "spectra.png")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
bins = np.linspace(-5, 3, 33)
for shape, colour in zip((SHAPES[1], SHAPES[-1]), mr.plot.COLOURS, strict=False):
    left.hist(gains[shape].ravel() / math.log(10), bins, color=colour, alpha=0.55,
              label=f"{shape[0]} units, {shape[1]} layers")
left.axvline(0, color="black", linestyle="--", linewidth=0.8, label="no change: what He's variance gives the average")
left.set_xlabel("log10 of ‖dL/dx‖² at the input / at the output")
left.set_ylabel(f"nets, of {gains[SHAPES[0]].size}")
left.set_ylim(0, 1.35 * left.get_ylim()[1])                     # room for the legend
left.legend(fontsize="small", loc="upper left")
left.set_title("one net is not the average net")
for (units, depth), values in gains.items():
    variances = values.var(axis=1, ddof=1)
    i = sorted({shape[0] for shape in SHAPES}).index(units)
    right.errorbar(depth / units, np.median(variances), [[np.median(variances) - variances.min()],
                                                         [variances.max() - np.median(variances)]],
                   color=mr.plot.COLOURS[i], marker=mr.plot.MARKERS[i], capsize=3, linestyle="none",
                   label=f"{units} units" if (units, depth) == next(s for s in SHAPES if s[0] == units) else None)
line = np.array([0.09, 1.2])
right.plot(line, 5 * line, "--", color="black", linewidth=0.8, label="theory: 5 L/n")
right.set_xscale("log")
right.set_yscale("log")
right.set_xticks([0.125, 0.25, 0.5, 1], ["1/8", "1/4", "1/2", "1"])
right.set_yticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])
right.minorticks_off()
right.set_xlabel("layers / units, L/n")
right.set_ylabel("variance of ln ‖dL/dx‖² over the nets of a seed")
right.legend(fontsize="small", loc="upper left")
right.set_title("the scatter follows depth over width")
figure.suptitle("He's variance is right on average; a net that is deep and narrow is far from the average (ReLU)")
lesson.save_figure(figure, options, "finite_width.png")

figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained", sharey=True)
for depth, ax in zip((SHALLOW, DEEP), axes, strict=True):
    for name, colour in zip(TRAINED, mr.plot.COLOURS, strict=False):
        curves = losses[name, depth].reshape(-1, STEPS // 5, 5).mean(axis=2)  # (seeds, steps) -> (seeds, steps / 5)
        steps = np.arange(5, STEPS + 1, 5)
        ax.plot(steps, np.median(curves, axis=0), color=colour, label=name)
        ax.fill_between(steps, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    ax.axhline(math.log(10), color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
    ax.set_xlabel("step (means of 5)")
    ax.set_title(f"{depth} layers")
axes[0].set_ylabel(f"training loss: median and range of {len(options.seeds[:3])} seeds")
axes[0].legend(fontsize="small", loc="lower left")
figure.suptitle(f"Neither batch norm nor shortcuts: {DEEP} layers learn from weights that keep every direction")
lesson.save_figure(figure, options, "training.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "The right variance keeps the mean square of a gradient, over all directions and all nets. With Gaussian weights a deep "
    "net keeps few directions and loses the others, and the deeper and narrower it is, the more it depends on the seed.",
    "Orthogonal weights keep every direction in linear nets, and nearly so with tanh and small signals; with ReLU they do "
    "not. A convolution needs delta-orthogonal weights for it, and with them 64 plain layers with tanh learn.",
))

# %%
# Exercises
# ---------
# 1. What is the variance of s² for tanh and an input of size 1 in place of 0.1? Predict first whether the orthogonal net
#    still has dynamical isometry. Which layer spoils it?
# 2. How many units does a ReLU net of 152 layers need, if nine nets of ten are to have a ‖dL/dx‖² within a factor of 10 of
#    the typical one? Answer from 5 L/n; then measure.
# 3. Give the training a learning rate of 0.005, and of 0.05. Does the order of the three starts stay what it was? What does
#    that say about a comparison at one learning rate?
# 4. Put ``nn.init.orthogonal_`` into TRAINED, for tanh. Do you expect the curve of the Gaussian or of the delta-orthogonal
#    net?
