"""
Which shortcut, and in which order
==================================

:Question: Shortcuts can pad, project, scale or gate, and a block can normalise before or after the addition. Which of it
    matters to the gradient?
:Time: under two minutes on two cores
:Before this: the lesson on why batch norm and shortcuts need each other

He et al. tried many shortcuts: three for blocks that change the shape (2015), and then scaled, gated and 1 x 1 ones in
every block (2016, "Identity mappings in deep residual networks"). Most trained worse than the identity, some not at all. We
build these nets, made narrow, on photographs of clothing (Fashion-MNIST, averaged to 14 x 14 pixels), look at their
gradients before any training, and put the paper's errors beside them. Then we compare the original order of a block with
pre-activation.

Think about first
-----------------

* A shortcut of 0.5 · x in 54 blocks in a row: does the gradient that reaches the first block vanish?
* A 1 x 1 convolution on the shortcut can learn to be the identity. Can it be worse than the identity?
* The ReLU after the addition stands in the way of every gradient on the shortcuts. Does it halve it, each time?
"""
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops, training
from minires.course import lesson

options = lesson.options(__doc__)
checks = lesson.Checks()

# %%
# Options A, B and C
# ------------------
# Where a block changes the shape, option A takes every other pixel and adds channels of zeros, and B projects with a 1 x 1
# convolution and a batch norm. C projects in every block. What they cost can be counted.


def parameters(shortcut):
    """The number of parameters of ResNet-56 for CIFAR."""
    return sum(p.size for p in models.resnet56(shortcut=shortcut).parameters())


projections = {"B": [(16, 32), (32, 64)]}
projections["C"] = projections["B"] + [(16, 16)] * 9 + [(32, 32)] * 8 + [(64, 64)] * 8
for shortcut, sizes in projections.items():
    expected = sum(inputs * outputs + 2 * outputs for inputs, outputs in sizes)  # a kernel, and the two of batch norm
    checks.add(f"ResNet-56: parameters, option {shortcut} - option A", parameters(shortcut) - parameters("A"), expected,
               expected, "Σ in·out + 2 out", seeds=0)
TABLE_3 = {"plain": 28.54, "A": 25.03, "B": 24.52, "C": 24.19}  # ImageNet top-1 error in %, 34 layers: He et al. 2015
checks.claim(lesson.Claim("Projections are not essential: options A, B and C differ little, beside what each gains over the "
                          "plain net.", "He et al. 2015, section 4.1 and table 3"),
             "34 layers, ImageNet error: (A - C) / (plain - A)",
             (TABLE_3["A"] - TABLE_3["C"]) / (TABLE_3["plain"] - TABLE_3["A"]), 0, 0.5, contrary=(1, math.inf),
             published=True, seeds=0,
             comment="That is at 34 layers; what C does to a gradient in deeper nets is measured below.")

# %%
# Scaled and gated shortcuts
# --------------------------
# A block is relu(κ · F(x) + λ · x). With gates, λ and κ depend on x: g(x) = sigmoid(1 x 1 convolution of x, with bias b),
#
# - exclusive gate (as in highway nets): g(x) · F(x) + (1 - g(x)) · x;
# - gate on the shortcut only: F(x) + (1 - g(x)) · x.
#
# With b = 0 a gate starts at about 1/2, with b = -6 the shortcut starts at about 0.9975 · x.


class Scaled:
    """What the two orders share: κ · F(x) + λ · shortcut(x); cut: no gradient goes through the branch."""

    downsample: nn.Module | None  # of the block

    def __init__(self, *args, shortcut_scale=1.0, branch_scale=1.0, cut=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.shortcut_scale, self.branch_scale, self.cut = shortcut_scale, branch_scale, cut

    def add_shortcut(self, y, x):
        """(N, O, OH, OW), (N, C, H, W) -> (N, O, OH, OW)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = y.detach() if self.cut else y
        return ops.shortcut_add(y * self.branch_scale, shortcut * self.shortcut_scale)


class ScaledBlock(Scaled, models.BasicBlock):
    """In the original order."""


class ScaledPreactivationBlock(Scaled, models.PreactivationBasicBlock):
    """In that of He et al. 2016."""


class GatedBlock(models.BasicBlock):
    """He et al. 2016, figure 2 (c) and (d)."""

    def __init__(self, in_channels, channels, stride=1, *, bias, exclusive, **kwargs):
        super().__init__(in_channels, channels, stride, **kwargs)
        self.exclusive = exclusive
        self.gate = nn.Conv2d(in_channels, channels, 1, stride)
        self.gate.bias.data[...] = bias

    def add_shortcut(self, y, x):
        """(N, O, OH, OW), (N, C, H, W) -> (N, O, OH, OW)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        g = ops.sigmoid(self.gate(x))
        return ops.shortcut_add(y * g if self.exclusive else y, shortcut * (1 - g))


WIDTH, BATCH_SIZE = options.pick(tiny=(4, 8), default=(8, 32), full=(16, 64))


def net_of(block, depth, seed, preactivation=False, **block_options):
    """`models.cifar_net` with blocks of another class."""
    net = models.ResNet(block, [(depth - 2) // 6] * 3, [WIDTH, 2 * WIDTH, 4 * WIDTH], in_channels=1, num_classes=10,
                        stem="cifar", preactivation=preactivation, batch_norm=True, residual=True, **block_options)
    return nn.init.initialize_(net, nn.init.he_normal_, seed, linear_init=nn.init.lecun_normal_)


def cifar_net(depth, seed, **kind):
    """`models.cifar_net`, narrow."""
    return models.cifar_net(depth, width=WIDTH, in_channels=1, seed=seed, **kind)


FAIL = math.inf  # "fail" in the paper: an error above 20 %
NETS = {  # name: (a function of (depth, seed), published test error of 110 layers on CIFAR-10 in %: He et al. 2016, table 1)
    "identity": (lambda depth, seed: cifar_net(depth, seed), 6.61),
    "0.5 x, F(x)": (lambda depth, seed: net_of(ScaledBlock, depth, seed, shortcut_scale=0.5), FAIL),
    "0.5 x, 0.5 F(x)": (lambda depth, seed: net_of(ScaledBlock, depth, seed, shortcut_scale=0.5, branch_scale=0.5), 12.35),
    "exclusive gate, b = 0": (lambda depth, seed: net_of(GatedBlock, depth, seed, bias=0, exclusive=True), FAIL),
    "exclusive gate, b = -6": (lambda depth, seed: net_of(GatedBlock, depth, seed, bias=-6, exclusive=True), 8.70),
    "shortcut gate, b = 0": (lambda depth, seed: net_of(GatedBlock, depth, seed, bias=0, exclusive=False), 12.86),
    "shortcut gate, b = -6": (lambda depth, seed: net_of(GatedBlock, depth, seed, bias=-6, exclusive=False), 6.91),
    "1 x 1 (option C)": (lambda depth, seed: cifar_net(depth, seed, shortcut="C"), 12.22),
    "none (plain)": (lambda depth, seed: cifar_net(depth, seed, residual=False), FAIL),
    "pre-activation": (lambda depth, seed: cifar_net(depth, seed, preactivation=True), 6.37),  # table 2
}

# %%
# The gradient at initialisation
# ------------------------------
# Its norm where the first block reads the stream, divided by that where the last block reads it.

DEPTHS = options.pick(tiny=(8, 14), default=(20, 56, 110), full=(20, 56, 110, 218))
HALF, DEEP = DEPTHS[-2:]
ORDERS = {"original": "identity", "pre-activation": "pre-activation"}
DEEPEST = options.pick(tiny=14, default=218, full=218)  # for the two orders

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, _mean, _std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)


def backward(net, seed, shortcut_flow=False):
    """(record of a forward and a backward pass, loss)."""
    x, y = next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))
    net.to(options.device)
    with mr.record_gradients(net, shortcut_flow=shortcut_flow) as record:
        loss = ops.cross_entropy(net(mr.Tensor(x).to(options.device)), y)
        loss.backward()
    return record, loss.item()


records, losses = {}, {}  # (name, depth): one row a seed
cases = [(name, depth) for name in NETS for depth in DEPTHS] + [(name, DEEPEST) for name in ORDERS.values()]
for name, depth in lesson.progress(dict.fromkeys(cases), "at initialisation"):
    pairs = [backward(NETS[name][0](depth, seed), seed, shortcut_flow=name in ORDERS.values()) for seed in options.seeds]
    records[name, depth] = mr.stack_records([record for record, _ in pairs])
    losses[name, depth] = np.array([loss for _, loss in pairs])
    records[name, depth].stream().to_csv(options.out / f"stream_{list(NETS).index(name)}_{depth}.csv")


def growth(name, depth):
    """‖dL/dx‖ where the first block reads the stream / where the last block does, for each seed."""
    norms = records[name, depth].stream().output_grad_norm[:, :-1]  # the last block's output is no input
    return norms[:, 0] / norms[:, -1]


# %%
# What theory says of one block
# -----------------------------
# In mean squares again, for wide nets and independent samples, our derivation. Let p be the share of the gradient that the
# last ReLU lets pass, and V the variance of x. The branch's two batch norms divide by 1 - 1/π and by V, where He's
# initialisation and its ReLU cancel. So a block multiplies by
#
#     p (λ² + κ² · π/(π - 1) / V).
#
# V and p are those of x = relu(λ x′ + κ z), with z normal, as it repeats itself from block to block. With λ = 1 the stream
# grows without end, V with it, and the factor comes ever closer to 1: a power law. With λ = 1/2 it settles, and the factor
# is *above* 1. A 1 x 1 convolution with batch norm starts the stream anew in each block: λ² becomes 1/V, p = 1/2, and
# V = 1 - 1/π. And a plain net has (π/(π - 1))² for two convolutions. On images neighbouring pixels are not independent, and
# each convolution does up to 4 % less than in theory (the lesson on batch norm measures it): 10 % for a block.

BRANCH_VARIANCE = 1 - 1 / math.pi


def scaled_factor(shortcut_scale, branch_scale):
    """The factor of one block on the norm: the formula above, its V and p from 100,000 samples."""
    generator = np.random.default_rng(0)
    x = h = np.zeros(100_000)
    for _ in range(100):
        h = shortcut_scale * x + branch_scale * generator.standard_normal(x.size)
        x = np.maximum(h, 0)
    passed, variance = np.mean(h > 0), x.var()
    return math.sqrt(passed * (shortcut_scale ** 2 + branch_scale ** 2 / BRANCH_VARIANCE / variance))


FACTORS = {
    "0.5 x, F(x)": scaled_factor(0.5, 1),
    "0.5 x, 0.5 F(x)": scaled_factor(0.5, 0.5),
    "1 x 1 (option C)": math.sqrt((1 + 1 / BRANCH_VARIANCE) / 2 / BRANCH_VARIANCE),
    "none (plain)": 1 / BRANCH_VARIANCE,
}
blocks = (DEEP - HALF) // 2                                     # by how many blocks the two nets differ
for name, factor in FACTORS.items():
    measured = (growth(name, DEEP) / growth(name, HALF)) ** (1 / blocks)
    checks.add(f"{name}: factor of one block", measured, 0.9 * factor, 1.02 * factor, f"{factor:.3g} if wide")
doubled = (DEEP // 2 - 2) / (HALF // 2 - 2)                     # how many times as many steps
for name in ("identity", "pre-activation"):
    checks.add(f"{name}: powers of ten that {DEEP} layers add, over those that {HALF} add",
               np.log(growth(name, DEEP)) / np.log(growth(name, HALF)), 0, 0.75 * doubled,
               f"power law; exponential: {doubled:.3g}")

# %%
# Does a shortcut of 0.5 make the gradient vanish?
# ------------------------------------------------
# He et al. 2016 (equation 8) show that what comes through the shortcuts *alone* is multiplied by λ in each block, and
# conclude that the gradient is forced through the weight layers. Often only the first half is told. To see it, we cut the
# branches out of the backward pass of the pre-activation net with λ = 1/2, in the first stage.

STAGE = (DEEP - 2) // 6                                         # blocks of the first stage
ratios: dict[bool, list[float]] = {True: [], False: []}  # {cut?: one a seed}
for seed in options.seeds:
    for cut in ratios:
        net = net_of(ScaledPreactivationBlock, DEEP, seed, preactivation=True, shortcut_scale=0.5, cut=cut)
        norms = backward(net, seed)[0].stream().output_grad_norm[0, :STAGE]
        ratios[cut].append(norms[0] / norms[-1])
alone, whole = np.array(ratios[True]), np.array(ratios[False])
checks.claim(lesson.Claim("Through shortcuts of λ x alone, the gradient is multiplied by λ^L.",
                          "He et al. 2016 (arXiv:1603.05027), equation 8"),
             f"0.5 x, pre-activation: powers of 1/2 that a block's shortcut takes ({STAGE - 1} blocks)",
             -np.log2(alone) / (STAGE - 1), 0.999, 1.001, contrary=(-math.inf, 0.9),
             comment="It is exact in pre-activation nets, where nothing else stands on the shortcuts.")
READING = lesson.Claim("Shortcuts of 0.5 x make the gradient of a deep net vanish.",
                       "a common reading of He et al. 2016, section 3.1, which speaks of the way through the shortcuts")
checks.claim(READING, f"0.5 x, pre-activation: gradient in stage 1 of {DEEP} layers, first block / last", whole, 0, 0.5,
             contrary=(2, math.inf), expect="contradicts",
             comment="The whole gradient grows: with a small stream, batch norm amplifies what goes through the branches.")
checks.claim(READING, f"0.5 x, original order: gradient of {DEEP} layers, first block / last", growth("0.5 x, F(x)", DEEP),
             0, 0.1, contrary=(1e3, math.inf), expect="contradicts",
             comment="At initialisation it explodes, nearly as that of the plain net.")


def ranks(values):
    """The rank of each value, equal ones sharing theirs."""
    values = np.asarray(values)
    return np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])


names = [name for name in NETS if name != "pre-activation"]
published = [NETS[name][1] for name in names]
correlations = [np.corrcoef(ranks(published), ranks([growth(name, DEEP)[i] for name in names]))[0, 1]
                for i in range(len(options.seeds))]
checks.add(f"{len(names)} shortcuts: rank correlation of gradient growth and published error", correlations, 0.5, 1,
           "no theory: He et al. 2016, table 1", required=False)

# %%
# The order: pre-activation against the original
# ----------------------------------------------
# In the original order a ReLU comes after the addition, on the way of every shortcut. It closes where x + F(x) is negative.
# That x is not negative itself, as it comes out of a ReLU, and that it grows with each block, keeps it mostly open. In the
# pre-activation order there is nothing on the way, so that all of the gradient passes.


def passed_by_the_shortcut(name):
    """The share of the squared gradient at a block's output that its shortcut hands on to its input, (seeds, blocks).

    Only of blocks whose shortcut is the identity, in the second half of each stage.
    """
    record = records[name, DEEP]
    inner = [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(STAGE // 2, STAGE)]
    blocks = record.select(*inner)
    return (blocks.flow_through_shortcut / blocks.output_grad_norm) ** 2


passed = {order: passed_by_the_shortcut(name).mean(axis=1) for order, name in ORDERS.items()}
checks.add(f"pre-activation, {DEEP} layers: share of ‖dL/dx‖² that a shortcut passes", passed["pre-activation"],
           0.999, 1.001, "1: He et al. 2016, eq. 5")
checks.claim(lesson.Claim("Each ReLU after an addition halves the gradient on the shortcut.",
                          "an explanation in circulation; not in the paper"),
             f"original order, {DEEP} layers: share of ‖dL/dx‖² that a shortcut passes", passed["original"],
             0.4, 0.6, contrary=(0.75, 1), expect="contradicts",
             comment="Most of it passes, as what comes into these blocks is not negative and larger than what they add.")
checks.add(f"pre-activation, {DEEPEST} layers: loss before training", losses["pre-activation", DEEPEST], 2.1, 3.0,
           "near ln 10 = 2.3: a batch norm comes last")
checks.add(f"original order, {DEEPEST} layers: loss before training", losses["identity", DEEPEST], 3.0, math.inf,
           "above: the stream has grown with each block")
checks.add(f"{DEEPEST} layers: gradient growth, original order / pre-activation",
           growth("identity", DEEPEST) / growth("pre-activation", DEEPEST), 0.1, 10, "both power laws")

# %%
# A short training
# ----------------
# The two orders at 110 layers, and the shortcuts at 44, with the paper's learning rate of 0.1 from the first step on. So few
# steps show who starts at once, not who ends up best: the errors of the paper come after 64,000 steps. A run of this length
# cannot rank options A, B and C.

STEPS = options.pick(tiny=2, default=60, full=200)
SHORT, LONG = options.pick(tiny=(8, 8), default=(44, 110), full=(56, 218))
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4          # He et al. 2015, section 4.2
TRAINED_SEEDS = options.seeds[:3]
TRAINED = [("identity", LONG), ("pre-activation", LONG),
           *[(name, SHORT) for name in ("identity", "0.5 x, F(x)", "1 x 1 (option C)", "none (plain)")]]


def train(name, depth, seed):
    """The loss before each step, (steps,)."""
    net = NETS[name][0](depth, seed).to(options.device)
    optimizer = mr.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM, WEIGHT_DECAY)
    batches = iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed))
    return np.array([float(training.train_step(net, optimizer, *next(batches), options.device)[1]) for _ in range(STEPS)])


curves: dict[tuple[str, int], list[np.ndarray]] = {}  # (name, depth): (seeds, steps)
for name, depth, seed in lesson.progress([(*case, seed) for case in dict.fromkeys(TRAINED) for seed in TRAINED_SEEDS],
                                         "training"):
    curves.setdefault((name, depth), []).append(train(name, depth, seed))
    np.savetxt(options.out / f"loss_{list(NETS).index(name)}_{depth}_seed{seed}.csv", curves[name, depth][-1], delimiter=",")
end = {case: np.array(curves[case])[:, -max(1, STEPS // 6):].mean(axis=1) for case in curves}

checks.claim(lesson.Claim("Pre-activation makes very deep residual nets easier to optimise.",
                          "He et al. 2016, section 4.1 (of 1001 layers)"),
             f"{LONG} layers: loss after {STEPS} steps, original order - pre-activation",
             end["identity", LONG] - end["pre-activation", LONG], 0.1, math.inf, contrary=(-math.inf, -0.1),
             comment="At a learning rate of 0.1 without warm-up the pre-activation net starts sooner. After a full training "
                     "the published difference at 110 layers is small: 6.61 % and 6.37 % (table 2).")
IN_WORDS = {"0.5 x, F(x)": "0.5 x there", "1 x 1 (option C)": "1 x 1 convolutions there", "none (plain)": "no shortcuts"}
for name in IN_WORDS:
    checks.claim(lesson.Claim(f"A net with the identity on its shortcuts trains better than one with {IN_WORDS[name]}.",
                              "He et al. 2016, table 1 (110 layers, test error after a full training)"),
                 f"{SHORT} layers: loss after {STEPS} steps, {name} - identity", end[name, SHORT] - end["identity", SHORT],
                 0.1, math.inf, contrary=(-math.inf, -0.1), expect=None)

# %%
# The figures
# -----------

STYLES = {name: (mr.plot.COLOURS[i % 7], (*mr.plot.MARKERS, "*", "<", ">")[i]) for i, name in enumerate(NETS)}
figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 5.8), layout="constrained")
for name in NETS:
    values = np.array([growth(name, depth) for depth in DEPTHS])  # (depths, seeds)
    colour, marker = STYLES[name]
    left.plot(DEPTHS, np.median(values, axis=1), color=colour, marker=marker, label=name, linewidth=1.2,
              linestyle="-" if list(NETS).index(name) < 7 else ":")
left.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
left.set_xlabel("layers")
left.set_ylabel("at initialisation: ‖dL/dx‖ of the stream, first block / last")
left.set_yscale("log")
left.grid(True, which="major", alpha=0.3)
left.set_title(f"measured here, medians of {len(options.seeds)} seeds: a straight line is an exponential")
left.legend(fontsize="small", loc="upper left")
FAILED = 17  # where "fail" is drawn, in %
for name, (_make, error) in NETS.items():
    values, colour, marker = growth(name, DEEP), *STYLES[name]
    middle = np.median(values)
    right.errorbar(middle, min(error, FAILED), xerr=[[middle - values.min()], [values.max() - middle]], color=colour,
                   marker=marker, markersize=8, capsize=3, linestyle="none", label=name)
right.axhline(15, color="0.6", linewidth=0.8)
right.set_xscale("log")
right.set_ylim(5, 19)
right.set_yticks([6, 8, 10, 12, 14, FAILED], ["6", "8", "10", "12", "14", "fail\n(> 20)"])
right.set_xlabel(f"measured here: ‖dL/dx‖, first block / last, {DEEP} layers, range of {len(options.seeds)} seeds")
right.set_ylabel("published: CIFAR-10 test error, %, 110 layers")
right.grid(True, which="major", alpha=0.3)
right.set_title("published: He et al. 2016, tables 1 and 2; markers as at the left")
figure.suptitle("Shortcuts far from the identity let the gradient explode with depth")
lesson.save_figure(figure, options, "shortcuts.png")

figure, axes = pyplot.subplots(1, 2, figsize=(14, 5.4), layout="constrained")
for (order, name), ax in zip(ORDERS.items(), axes, strict=True):
    mr.plot.shortcut_flow(records[name, DEEP], ax=ax)
    ax.set_title(f"{order}, {DEEP} layers", pad=42)
figure.suptitle("In both orders: the further a block is in its stage, the more of the gradient comes through its shortcut")
lesson.save_figure(figure, options, "flow.png")

figure, axes = pyplot.subplots(1, 2, figsize=(13, 5), layout="constrained", sharey=True)
for ax, depth, title in zip(axes, (LONG, SHORT), ("the two orders", "the shortcuts, original order"), strict=True):
    for name, colour in zip(dict.fromkeys(name for name, of in TRAINED if of == depth), mr.plot.COLOURS, strict=False):
        values = np.array(curves[name, depth])
        label = "original order" if ax is axes[0] and name == "identity" else name
        ax.plot(np.arange(1, STEPS + 1), np.median(values, axis=0), color=colour, label=label)
        ax.fill_between(np.arange(1, STEPS + 1), values.min(axis=0), values.max(axis=0), color=colour, alpha=0.13,
                        linewidth=0)
    ax.axhline(math.log(10), color="black", linestyle="--", linewidth=0.8, label="ln 10: guessing")
    ax.set_ylim(0, 6)
    ax.set_xlabel("step")
    ax.set_title(f"{title}, {depth} layers")
    ax.legend(fontsize="small")
axes[0].set_ylabel(f"training loss, median and range of {len(TRAINED_SEEDS)} seeds")
figure.suptitle(f"The first {STEPS} steps at a learning rate of {LEARNING_RATE}: pre-activation starts at once")
lesson.save_figure(figure, options, "training.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "Scaling the shortcut by 0.5, or projecting in every block, makes the gradient of a deep net with batch norm explode at "
    "initialisation, exponentially with depth. What comes through the shortcuts alone does vanish; the whole does not.",
    "Around the identity the gradient grows like a power of the depth in both orders. Pre-activation leaves the shortcuts "
    "fully open; but at initialisation the ReLU of the original order passes most of the gradient too. Where the two differ "
    "is in the size of the output, and in how soon a deep net starts to learn at a high learning rate.",
))

# %%
# Exercises
# ---------
# 1. Take λ = 0.9. Ask ``scaled_factor`` first what a block does, then measure it. At how many layers would you notice?
# 2. He et al. 2016 also put dropout of 0.5 on the shortcut: x times a random mask, in training. Which λ is that on average?
#    Write the block, and look where it comes to lie in the figure.
# 3. The exclusive gate with b = -6 is the one net whose gradient does not grow. Where does its error come from, if not from
#    there? Look at the size of its branches.
# 4. Give the nets option B. Why does its gradient grow more than that of A, though only two blocks differ?
