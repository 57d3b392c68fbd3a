"""
Depth or width, and the landscape of the loss
=============================================

:Question: If you may spend so many weights and no more: a deep and thin net, or a shallow and wide one?
:Time: about two minutes on two cores
:Before this: the lesson on degradation

First, a function for which depth is worth exponentially more than width: this is theory, and exact. Then nets of about
40,000 weights and 1.3 million multiply-adds, deep and thin or shallow and wide, plain and residual, trained for 100 steps on
photographs of clothing (Fashion-MNIST, averaged to 14 x 14 pixels). Last we walk away from the trained weights in random
directions and look at how the loss changes.

Think about first
-----------------

* Fold a strip of paper in two, ten times over. How many creases? And with ten folds side by side?
* Of two nets with equally many weights, one learns faster in its first 100 steps. Is it the better net?
* Multiply all weights before a batch norm by ten. How does the net's output change, and how flat does its loss look, seen
  in steps of equal size?
"""
import csv
import math

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LogNorm

import minires as mr
from minires import models, nn, ops, optim
from minires.course import lesson
from minires.training.loop import Training

options = lesson.options(__doc__, seeds=3)
checks = lesson.Checks()

# %%
# What depth buys, exactly: the tent map
# --------------------------------------
# The tent map rises from 0 to 1 on the first half of [0, 1] and falls back to 0 on the second. Two ReLU units make it:
# 2 relu(x) - 4 relu(x - 1/2). Applied k times it is a zigzag of 2ᵏ straight pieces: k layers of 2 units (Telgarsky 2015,
# arXiv:1509.08101). One layer of m units has at most one kink for each unit, so at most m + 1 pieces. All its numbers are
# sums of powers of two, and the computer makes no rounding error.

GRID = 2 ** 14  # cells of [0, 1]
FOLDS = options.pick(tiny=(1, 3), default=(1, 2, 4, 6, 8, 10), full=(1, 2, 4, 6, 8, 10, 12))


def tent_net(k):
    """k layers of two ReLU units, each layer a tent map; (N, 1) -> (N, 1)."""
    layers = []
    for _ in range(k):
        inside, outside = nn.Linear(1, 2), nn.Linear(2, 1)
        inside.weight.data[...], inside.bias.data[...] = [[1], [1]], [0, -0.5]      # x and x - 1/2
        outside.weight.data[...], outside.bias.data[...] = [[2, -4]], [0]
        layers += [inside, nn.ReLU(), outside]
    return nn.Sequential(*layers).astype(np.float64)


def one_layer(units, seed):
    """One layer of ReLU units, each with its kink at a place of its own in (0, 1); (N, 1) -> (N, 1)."""
    generator = np.random.default_rng(seed)
    inside, outside = nn.Linear(1, units), nn.Linear(units, 1)
    inside.weight.data[...] = 1
    inside.bias.data[...] = -generator.choice(np.arange(1, GRID), units, replace=False) / GRID
    outside.weight.data[...], outside.bias.data[...] = generator.choice([-1, 1], (1, units)), [0]
    return nn.Sequential(inside, nn.ReLU(), outside).astype(np.float64)


def pieces(net):
    """The number of straight pieces on [0, 1], for kinks that lie on the grid."""
    x = np.arange(GRID + 1)[:, None] / GRID                     # (GRID + 1, 1)
    with mr.no_grad():
        y = net.to(options.device)(mr.Tensor(x).to(options.device)).numpy()[:, 0]
    return 1 + np.count_nonzero(np.diff(y, 2))                  # the slope changes where the second difference is not 0


deep_pieces = [pieces(tent_net(k)) for k in FOLDS]
wide_pieces = {k: [pieces(one_layer(2 * k, seed)) for seed in options.seeds] for k in FOLDS}  # as many units in one layer
most = FOLDS[-1]
for k, found in zip(FOLDS, deep_pieces, strict=True):
    checks.add(f"{k} layer{'s' * (k > 1)} of 2 units: straight pieces", found, 2 ** k, 2 ** k, "2ᵏ: Telgarsky 2015", seeds=0)
checks.add(f"1 layer of {2 * most} units: straight pieces", wide_pieces[most], 2 * most + 1, 2 * most + 1,
           "one kink a unit, m + 1")
checks.claim("S2", f"straight pieces: {most} layers of 2 units / 1 layer of {2 * most} units",
             [deep_pieces[-1] / found for found in wide_pieces[most]], 1.01, math.inf, contrary=(0, 1),
             comment="And there is a theory: for some functions width has to grow exponentially to do what depth does. It "
                     "does not say that such functions are what images need, or that training finds them.")

# %%
# Nets of one size
# ----------------
# A convolution from C to C channels has 9 C² weights. So at half the width four times as many layers fit into the same
# number of weights; and as the images have the same sizes in all nets, the multiply-adds are about equal with them
# (Zagoruyko and Komodakis 2016, arXiv:1605.07146, compare nets of equal numbers of weights).

SHAPES = options.pick(tiny=((8, 3), (14, 2)), default=((8, 12), (20, 6), (44, 4)), full=((8, 12), (20, 6), (44, 4)))
(SHALLOW, WIDE), (DEEP, THIN) = SHAPES[0], SHAPES[-1]  # (depth, width of the first stage)
STEPS = options.pick(tiny=3, default=100, full=300)
LAST = min(20, STEPS)  # the training loss is the mean over so many last steps
BATCH_SIZE = 64

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def make(shape, residual, seed):
    """A net of this (depth, width)."""
    depth, width = shape
    return models.cifar_net(depth, residual, width, in_channels=1, seed=seed)


def train(model, seed):
    """Train for `STEPS` steps as He et al. 2015, section 4.2; returns the mean loss of the last `LAST` steps."""
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    batches = mr.data.Batches(images, labels, BATCH_SIZE, seed=seed, drop_last=True)
    training = Training(model, optimizer, batches, device=options.device, row_every=LAST)
    for _row in training.run(STEPS):
        pass
    return training.rows[-1].train_loss


summaries = {shape: mr.summary(make(shape, True, 0), (1, 1, 14, 14)) for shape in SHAPES}
for shape, summary in summaries.items():
    print(f"{shape[0]:3} layers, {shape[1]:2} channels: {summary.parameters:7,} weights, "
          f"{summary.multiply_adds:9,} multiply-adds an image")
for what in ("parameters", "multiply_adds"):
    counts = [getattr(summary, what) for summary in summaries.values()]
    checks.add(f"{what.replace('_', '-')}, largest / smallest net", max(counts) / min(counts), 1, 1.25,
               "equal, as near as whole channels allow", seeds=0)

# %%
# The landscape around a trained net
# ----------------------------------
# Li et al. 2018 (arXiv:1712.09913) draw the loss along random directions from the trained weights. With batch norm, weights
# ten times as large make the same net, so a step of a given size means nothing by itself. Their *filter normalisation* gives
# each filter of the direction the norm of the filter in the net: d ← d · ‖w‖/‖d‖. Biases and batch norm's
# parameters stay.
#
# We take the loss as training sees it, with the statistics of the batch; running statistics would belong to other weights.

EVALUATED = options.pick(tiny=16, default=128, full=512)  # images
LINES = options.pick(tiny=1, default=4, full=8)  # random directions for each net
ALPHAS = np.linspace(-1.5, 1.5, options.pick(tiny=5, default=31, full=61))  # 1: a step as long as the filter itself
GRID_2D = np.linspace(-1.5, 1.5, options.pick(tiny=3, default=15, full=31))
x, y = mr.Tensor(images[:EVALUATED]).to(options.device), labels[:EVALUATED]


def weights_of(model):
    """{name: tensor} of the convolutions and the linear layer."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}


def filter_norms(w):
    """‖w‖ of each filter, (O, C, KH, KW) or (O, I) -> (O, 1, …)."""
    return np.sqrt(np.square(w, dtype=np.float64).sum(axis=tuple(range(1, w.ndim)), keepdims=True))


def random_direction(weights, seed):
    """{name: array} of normal numbers, one for each weight."""
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(w.shape) for name, w in weights.items()}


def normalised(direction, weights):
    """The direction with filter normalisation: d · ‖w‖/‖d‖ for each filter."""
    return {name: d * filter_norms(weights[name].numpy()) / filter_norms(d) for name, d in direction.items()}


def loss_at(model, steps):
    """The loss at w + Σ α d, for the (α, d) of `steps`; the weights are put back."""
    weights = weights_of(model)
    before = {name: w.data for name, w in weights.items()}
    for name in steps[0][1]:
        moved = weights[name].numpy() + sum(alpha * direction[name] for alpha, direction in steps)
        weights[name].data = mr.Tensor(moved.astype(np.float32)).to(options.device).data
    with mr.no_grad():
        loss = ops.cross_entropy(model.train()(x), y).item()
    for name, w in weights.items():
        w.data = before[name]
    return loss


def lines_from(model, seed):
    """The loss along random filter-normalised directions, (lines, alphas)."""
    weights = weights_of(model)
    directions = [normalised(random_direction(weights, [seed, i]), weights) for i in range(LINES)]
    return np.array([[loss_at(model, [(alpha, direction)]) for alpha in ALPHAS] for direction in directions])


def falls(line):
    """By how much the loss falls, all falls together, while one walks outwards from the middle to both ends."""
    middle = len(line) // 2
    return sum(np.maximum(0, -np.diff(way)).sum() for way in (line[middle:], line[middle::-1]))


# %%
# A net and its twin of ten times the weights
# -------------------------------------------
# Two nets that compute the same: do they look the same? With filter normalisation they do; with one and the same direction
# for both, the larger weights make the loss look flat.


def convolutions_of(model):
    """{name: tensor} of the convolutions' weights."""
    return {name: w for name, w in weights_of(model).items() if w.ndim == 4}


def compare_with_twin(model, shape, residual, seed):
    """Half a step out: the twin's loss / the net's, each in its own direction; and the twin's rise / the net's, in the
    direction that was normalised for the net."""
    twin = make(shape, residual, seed).to(options.device)
    twin.load_state_dict(model.state_dict())
    for w in convolutions_of(twin).values():
        w.data *= 10
    random = random_direction(convolutions_of(model), [seed, 0])
    shared = normalised(random, convolutions_of(model))
    own = [loss_at(net, [(0.5, normalised(random, convolutions_of(net)))]) for net in (model, twin)]
    rises = [loss_at(net, [(0.5, shared)]) - loss_at(net, [(0, shared)]) for net in (model, twin)]
    return own[1] / own[0], rises[1] / rises[0]


# %%
# Train, and look around
# ----------------------
# What a net gave is written as soon as it is there, so that Ctrl-C loses no finished net.

NETS = [(shape, residual) for shape in SHAPES for residual in (False, True)]
NAMES = {(shape, residual): f"{'residual' if residual else 'plain'}, {shape[0]} x {shape[1]}" for shape, residual in NETS}
AROUND = {"plain": ((DEEP, THIN), False), "residual": ((DEEP, THIN), True)}  # the nets whose landscape is drawn
losses: dict[tuple, list[float]] = {net: [] for net in NETS}
lines: dict[str, list[np.ndarray]] = {name: [] for name in AROUND}  # (lines, alphas) for each seed
surfaces, twins, norm_errors = {}, [], []
for seed, net in lesson.progress([(seed, net) for seed in options.seeds for net in NETS], "training and walking away"):
    shape, residual = net
    model = make(shape, residual, seed).to(options.device)
    losses[net].append(train(model, seed))
    with open(options.out / "losses.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["net", *options.seeds], *[[NAMES[key], *values] for key, values in losses.items()]])
    for name, around in AROUND.items():
        if net == around:
            lines[name].append(lines_from(model, seed))
            with open(options.out / f"lines_{name}_seed{seed}.csv", "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["line", "alpha", "loss"])
                writer.writerows([i, float(alpha), float(loss)] for i, line in enumerate(lines[name][-1])
                                 for alpha, loss in zip(ALPHAS, line, strict=True))
            if seed == options.seeds[0]:
                weights = weights_of(model)
                first, second = [normalised(random_direction(weights, [seed, i]), weights) for i in (0, 1)]
                norm_errors += [np.abs(filter_norms(first[key]) / filter_norms(w.numpy()) - 1).max()
                                for key, w in weights.items()]
                surfaces[name] = np.array([[loss_at(model, [(a, first), (b, second)]) for a in GRID_2D] for b in GRID_2D])
    if net == AROUND["residual"]:
        twins.append(compare_with_twin(model, shape, residual, seed))

# %%
# Depth or width: what 100 steps say
# ----------------------------------


def difference(residual):
    """Training loss of the deep and thin net, less that of the shallow and wide one; one for each seed."""
    return np.array(losses[(DEEP, THIN), residual]) - np.array(losses[(SHALLOW, WIDE), residual])


checks.claim("S2", f"residual, loss after {STEPS} steps: {DEEP} x {THIN} - {SHALLOW} x {WIDE}", difference(True), -math.inf,
             -0.02, contrary=(0.02, math.inf), expect="contradicts",
             comment="At equal size, the shallow and wide ResNet is ahead after 100 steps. That is about a start, not about "
                     "where either ends.")
checks.add(f"plain, loss after {STEPS} steps: {DEEP} x {THIN} - {SHALLOW} x {WIDE}", difference(False), 0.1, math.inf,
           "above 0: degradation, He et al. 2015, figure 6")
checks.add("deep and thin - shallow and wide: plain less residual", difference(False) - difference(True), 0.1, math.inf,
           "above 0: shortcuts make depth cheap")
checks.claim(lesson.Claim("A wide residual net of a few dozen layers has a lower error than a thin one of a thousand.",
                          "Zagoruyko and Komodakis 2016, abstract"),
             "CIFAR-10 test error, WRN-28-10 - pre-activation ResNet-1001, points", 3.89 - 4.62, -math.inf, 0,
             contrary=(0.01, math.inf), published=True, seeds=0,
             comment="These are the ends of full trainings, and the wide net has 36.5 million weights, the thin one 10.3.")

# %%
# What the landscape says
# -----------------------
# A surface that is "nearly convex" rises all the way on a walk from the middle outwards. We add up by how much the loss
# falls on such walks, and take the median of the lines of a net.

checks.add("filter normalisation: largest distance of ‖d‖/‖w‖ from 1", max(norm_errors), 0, 1e-6,
           "1 for each filter: Li et al. 2018", seeds=1)
checks.add("convolutions x 10, own directions: loss of the twin / of the net", [own for own, _ in twins], 0.99, 1.01,
           "1: the same net")
checks.add("convolutions x 10, one direction for both: rise of the twin / of the net", [shared for _, shared in twins],
           -0.1, 0.1, "near (1/10)²: looks flat, is the same net")
all_falls = {name: np.array([np.median([falls(line) for line in of_seed]) for of_seed in lines[name]]) for name in AROUND}
CHAOS = lesson.Claim("Around a trained deep net without shortcuts the loss is chaotic; with shortcuts it is smooth and "
                     "nearly convex.", "Li et al. 2018 (arXiv:1712.09913)")
checks.claim(CHAOS, f"residual-{DEEP}: falls of the loss on the way outwards, a line", all_falls["residual"], 0, 0.1,
             contrary=(0.3, math.inf), comment="Around the ResNet the loss rises nearly all the way.")
checks.claim(CHAOS, f"plain-{DEEP}: falls of the loss on the way outwards, a line", all_falls["plain"], 0.1, math.inf,
             contrary=(0, 0.01), expect=None)
checks.add(f"falls of the loss: plain-{DEEP} - residual-{DEEP}", all_falls["plain"] - all_falls["residual"], 0.05,
           math.inf, "above 0: Li et al. 2018")
half = np.abs(np.abs(ALPHAS) - 0.5).argmin()


def rise(name):
    """The rise of the loss half a step out, the median of the lines and of both ways, for each seed."""
    both = [half, len(ALPHAS) - 1 - half]
    return np.array([np.median(of_seed[:, both] - of_seed[:, [len(ALPHAS) // 2]]) for of_seed in lines[name]])


checks.claim(lesson.Claim("Shortcuts lead to flatter minima.", "Li et al. 2018 (arXiv:1712.09913)"),
             f"rise of the loss at a distance of 0.5: residual-{DEEP} / plain-{DEEP}", rise("residual") / rise("plain"),
             0, 0.9, contrary=(1, math.inf), expect=None)

# %%
# How many hills a plain net shows differs from seed to seed, and up to a distance of 1 some show next to none. The last row
# asks for flatter minima, but these are no minima: after 100 steps the plain net's loss is still high, and who has learned
# little has little to lose. The claim is about nets at the end of their training.
#
# The figures
# -----------

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12.5, 4.8), layout="constrained")
units = [2 * k for k in FOLDS]
left.plot(units, deep_pieces, color=mr.plot.COLOURS[0], marker="o", label="k layers of 2 units: 2ᵏ")
left.plot(units, [np.median(wide_pieces[k]) for k in FOLDS], color=mr.plot.COLOURS[4], marker="D",
          label="one layer of 2k units: 2k + 1")
left.set_yscale("log", base=2)
left.set_xlabel("ReLU units")
left.set_ylabel("straight pieces of the function")
left.set_xticks(units)
left.legend()
left.set_title("what a net can make, at best: depth wins", fontsize="medium")
for residual, colour, marker in ((False, mr.plot.COLOURS[1], "s"), (True, mr.plot.COLOURS[0], "o")):
    rows = np.array([losses[shape, residual] for shape in SHAPES])                  # (shapes, seeds)
    right.plot(range(len(SHAPES)), np.median(rows, axis=1), color=colour, marker=marker,
               label="residual" if residual else "plain")
    right.fill_between(range(len(SHAPES)), rows.min(axis=1), rows.max(axis=1), color=colour, alpha=0.2, linewidth=0)
right.set_xticks(range(len(SHAPES)), [f"{depth} layers,\n{width} channels" for depth, width in SHAPES])
right.set_ylim(0, None)
right.set_ylabel(f"training loss, mean of steps {STEPS - LAST + 1} to {STEPS}")
right.legend(loc="upper left")
right.set_title(f"what {STEPS} steps make of nets of one size: width is ahead\n"
                f"(median and range of {len(options.seeds)} seeds)", fontsize="medium")
figure.suptitle("Depth can make more of the same number of units; a short training makes more of width")
lesson.save_figure(figure, options, "depth_or_width.png")

figure, axes = pyplot.subplots(1, 2, figsize=(11.5, 5), layout="constrained", sharey=True)
highest = max(surface.max() for surface in surfaces.values())
lowest = min(surface.min() for surface in surfaces.values())
levels = np.geomspace(lowest, highest, 16)
filled = []
for (name, surface), ax in zip(surfaces.items(), axes, strict=True):
    filled.append(ax.contourf(GRID_2D, GRID_2D, surface, levels=levels, cmap="cividis", extend="both",
                              norm=LogNorm(lowest, highest)))
    ax.contour(GRID_2D, GRID_2D, surface, levels=levels, colors="white", linewidths=0.6)
    ax.plot(0, 0, "+", color="white", markersize=12, markeredgewidth=2)
    ax.set_aspect("equal")
    ax.set_xlabel("α along one random direction")
    ax.set_title(f"{name}-{DEEP}, loss {surface[len(GRID_2D) // 2, len(GRID_2D) // 2]:.2f} at +", fontsize="medium")
axes[0].set_ylabel("β along another")
ticks = [tick for tick in (0.5, 1, 2, 3, 4, 5, 7, 10) if lowest <= tick <= highest]
bar = figure.colorbar(filled[-1], ax=axes, label="loss", ticks=ticks)
bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
bar.ax.minorticks_off()
figure.suptitle("The loss around two trained nets: a bowl with shortcuts, shallower and less even without "
                f"(seed {options.seeds[0]})")
lesson.save_figure(figure, options, "landscape.png")

figure, axes = pyplot.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained", sharey=True)
for (name, of_seeds), ax in zip(lines.items(), axes, strict=True):
    for i, of_seed in enumerate(of_seeds):
        for j, line in enumerate(of_seed):
            ax.plot(ALPHAS, line, color=mr.plot.COLOURS[i % len(mr.plot.COLOURS)], linewidth=1,
                    label=f"seed {options.seeds[i]}" if j == 0 else None)
    ax.set_xlabel("α along a random direction (1: as long as the filters)")
    ax.set_title(f"{name}-{DEEP}", fontsize="medium")
axes[0].set_ylim(0, None)
axes[0].set_ylabel("loss")
axes[1].legend(loc="upper center")
figure.suptitle("Outwards the loss rises nearly all the way in the residual net; in the plain net it often falls "
                f"({LINES} directions a seed)")
lesson.save_figure(figure, options, "lines.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "For some functions depth is worth exponentially more than width. But of nets with equally many weights and "
    "multiply-adds, the shallow and wide one was ahead after a short training, a little with shortcuts and by far without "
    "them. Which one ends better, such a run cannot say.",
    "Around the residual net the loss rises nearly all the way outwards; around its plain twin it also falls. Steps have to "
    "be measured against the filters' own size: two nets that compute the same look different otherwise.",
))

# %%
# Exercises
# ---------
# 1. Train with ``--full``, which takes three times the steps. Does the deep ResNet catch up with the wide one?
# 2. Put ``.eval()`` in place of ``.train()`` in ``loss_at``. Why does the landscape become so much steeper?
# 3. Draw the lines around the shallow and wide nets. Does the plain one need shortcuts at all?
# 4. How many units does one layer need for the zigzag of 20 folds? How many weights are that, and how many in 20 layers?
