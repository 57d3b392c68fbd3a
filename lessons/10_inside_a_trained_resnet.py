"""
Inside a trained ResNet
=======================

:Question: What does each block of a trained ResNet do, and what happens if one is taken out?
:Time: about two minutes on two cores
:Before this: the lesson on plain and residual nets, layer by layer

We train a plain net of 20 layers and residual nets of 20 and 44 layers for 200 steps, on photographs of clothing
(Fashion-MNIST, averaged to 14 x 14 pixels). Then we look inside: how far a block moves the stream that runs through it, what
the net does when a block is removed, which paths the gradient takes, and how large the layers' outputs are. Last, in fully
connected nets, we ask whether the gradients of two inputs have anything to do with each other.

Think about first
-----------------

* Take one block out of a trained net, and run it without. Does it still know a shirt from a shoe?
* A gradient can go through each block or around it. Through how many of 21 blocks do *most of the paths* go? And through
  how many does *most of the gradient* go?
* With batch norm after each convolution, what is the standard deviation of a layer's output before any training?
"""
import csv
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops, optim
from minires.course import lesson
from minires.training.loop import Training, evaluate

options = lesson.options(__doc__, seeds=3)
checks = lesson.Checks()

# %%
# Three nets, trained briefly
# ---------------------------
# The recipe of He et al. 2015 (section 4.2): SGD with momentum 0.9, weight decay 1e-4 and a learning rate of 0.1; but 200
# steps of 64 images, where the paper has 64,000 of 128. So all that follows is about early training.

SHALLOW, DEEP = options.pick(tiny=(8, 14), default=(20, 44), full=(20, 44))
STEPS = options.pick(tiny=3, default=200, full=300)
TEST_IMAGES = options.pick(tiny=100, default=1000, full=2000)
WIDTH, BATCH_SIZE, LR, MOMENTUM, WEIGHT_DECAY = 4, 64, 0.1, 0.9, 1e-4
PLAIN, RESIDUAL, DEEP_RESIDUAL = NETS = (SHALLOW, False), (SHALLOW, True), (DEEP, True)  # (depth, residual?)
NAMES = {PLAIN: f"plain-{SHALLOW}", RESIDUAL: f"ResNet-{SHALLOW}", DEEP_RESIDUAL: f"ResNet-{DEEP}"}
COLOURS = {net: mr.plot.COLOURS[i] for net, i in ((PLAIN, 1), (RESIDUAL, 5), (DEEP_RESIDUAL, 0))}

images, labels = mr.data.fashion_mnist_sample("train")          # (10000, 1, 28, 28)
images, mean, std = mr.data.standardize(mr.data.average_2x2(images))  # -> (10000, 1, 14, 14)
test_images, test_labels = mr.data.fashion_mnist_sample("test")
test_images, _, _ = mr.data.standardize(mr.data.average_2x2(test_images), mean, std)
test_images, test_labels = test_images[:TEST_IMAGES], test_labels[:TEST_IMAGES]


def fresh(net, seed):
    """The net before training."""
    depth, residual = net
    return models.cifar_net(depth, residual, WIDTH, in_channels=1, seed=seed).to(options.device)


def trained(net, seed):
    """The net after `STEPS` steps."""
    model = fresh(net, seed)
    optimizer = optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    batches = mr.data.Batches(images, labels, BATCH_SIZE, seed=seed, drop_last=True)
    for _row in Training(model, optimizer, batches, device=options.device).run(STEPS):
        pass
    return model


def blocks_of(model):
    """The blocks in forward order: (stage, name in the stage, block)."""
    return [(stage, name, block) for stage in (getattr(model, name) for name in model.stages)
            for name, block in stage.named_children()]


def batch(seed):
    """64 images, as a tensor, and their labels."""
    x, y = next(iter(mr.data.Batches(images, labels, BATCH_SIZE, seed=seed)))
    return mr.Tensor(x).to(options.device), y


# %%
# Branch against stream: how far a block moves its input
# ------------------------------------------------------
# For each block that keeps the shape we take ‖y - x‖/‖x‖, with x what it reads and y what it hands on. In a residual net
# this is the branch beside the stream. A plain block has no stream, but the question makes sense for it too: is its
# output close to its input?


def movements(model, x):
    """‖y - x‖/‖x‖ of the blocks that keep the shape, in evaluation mode."""
    moved = []

    def measure(block, inputs, output):
        if inputs[0].shape == output.shape:
            before, after = inputs[0].numpy().astype(np.float64), output.numpy().astype(np.float64)
            moved.append(np.linalg.norm(after - before) / np.linalg.norm(before))

    blocks = [block for _stage, _name, block in blocks_of(model)]
    for block in blocks:
        block.forward_hooks.append(measure)
    with mr.no_grad():
        model.eval()(x)
    for block in blocks:
        block.forward_hooks.remove(measure)
    return moved


# %%
# Lesions: one block removed
# --------------------------
# Veit et al. 2016 (arXiv:1605.06431) remove one block from a trained net and measure the error on test images, without
# training again. Their plain net is a VGG; ours is made like the ResNets, with batch norm. In the block's place stands what
# a shortcut would do: nothing, or where the shape changes zero padding (option A). For a residual block this is the block
# without its branch: what comes in is the output of a ReLU, so that the ReLU after the addition changes nothing.


class Nothing(nn.Module):
    """What is left of a block that kept the shape."""

    def forward(self, x):
        """x as it is."""
        return x


def what_is_left(block):
    """The module that stands where a block was."""
    channels, before = block.conv1.weight.shape[:2]
    return Nothing() if channels == before else models.ZeroPadShortcut(channels, stride=2)


def test_error(model):
    """The share of wrong answers on the test images."""
    return evaluate(model, test_images, test_labels, device=options.device)[1]


def lesions(model):
    """The test error without each block, (blocks,)."""
    errors = []
    for stage, name, block in blocks_of(model):
        setattr(stage, name, what_is_left(block))
        errors.append(test_error(model))
        setattr(stage, name, block)
    return np.array(errors)


# %%
# Paths: which way the gradient goes
# ----------------------------------
# With n blocks there are 2ⁿ paths from the loss to the first block, and C(n, k) of them go through k branches and around
# the rest. Veit et al. choose k branches by chance, let the gradient through these and around all others, and
# measure what arrives. To close a way to the gradient we detach it, which leaves its values as they are.


def branch(block, x):
    """F(x): a block in its original order, up to the addition."""
    y = block.relu1(block.bn1(block.conv1(x)))
    return block.bn2(block.conv2(y))


def shortcut(block, x):
    """S(x)."""
    return x if block.downsample is None else block.downsample(x)


def path_gradient(model, x, y, through):
    """‖dL/dx‖ at the first block, of the gradient that goes through the chosen branches and around all others.

    Args:
        through: a bool for each block; None to let the gradient through everywhere.
    """
    with mr.no_grad():
        start = model.relu(model.bn1(model.conv1(x)))
    start = stream = mr.Tensor(start.data, requires_grad=True)
    for i, (_stage, _name, block) in enumerate(blocks_of(model)):
        into_branch = into_shortcut = stream
        if through is not None and through[i]:
            into_shortcut = stream.detach()
        elif through is not None:
            into_branch = stream.detach()
        stream = block.relu2(ops.shortcut_add(branch(block, into_branch), shortcut(block, into_shortcut)))
    loss = ops.cross_entropy(model.fc(model.avgpool(stream)), y)
    loss.backward()
    return float(np.linalg.norm(mr.Tensor(start.grad).numpy().astype(np.float64)))


PATHS = options.pick(tiny=1, default=4, full=12)  # sampled for each length


def gradient_by_length(model, x, y, seed):
    """(mean ‖g‖, mean ‖g‖²) of single paths of each length 0 to n, times their number C(n, k); arrays (n + 1,)."""
    model.train()                                               # batch norm as a training step has it
    generator = np.random.default_rng([seed, 1])
    n = len(blocks_of(model))
    norms, squares = np.zeros(n + 1), np.zeros(n + 1)
    for k in range(n + 1):
        sampled = []
        for _ in range(PATHS):
            through = np.zeros(n, bool)
            through[generator.permutation(n)[:k]] = True
            sampled.append(path_gradient(model, x, y, through))
        norms[k], squares[k] = math.comb(n, k) * np.mean(sampled), math.comb(n, k) * np.mean(np.square(sampled))
    return norms, squares


def mean_length_from_flow(model, x, y):
    """The mean length Σ p, where all paths' gradients are perpendicular to each other. Our derivation.

    Then squares add up, and at each block a share p = ‖branch‖²/(‖branch‖² + ‖shortcut‖²) comes through the branch.
    """
    with mr.record_gradients(model.train(), shortcut_flow=True) as record:
        ops.cross_entropy(model(x), y).backward()
    blocks = record.select(models.Block)
    through_branch, through_shortcut = blocks.flow_through_branch[0] ** 2, blocks.flow_through_shortcut[0] ** 2
    return float(np.nansum(through_branch / (through_branch + through_shortcut)))


# %%
# Layer responses: the standard deviation after batch norm
# --------------------------------------------------------
# Figure 7 of He et al. 2015 shows the standard deviation of each 3 x 3 layer's output, after batch norm and before ReLU or
# addition. In a trained ResNet it is smaller than in the plain net, and smaller the more layers there are. We measure it on
# one batch, in training mode.


def responses(model, x):
    """The mean over the channels of the output's standard deviation, for each batch norm in the blocks; and of |γ|."""
    stds, gammas = [], []

    def measure(bn, inputs, output):
        stds.append(output.numpy().std(axis=(0, 2, 3), dtype=np.float64).mean())     # (N, C, H, W) -> (C,) -> ()
        gammas.append(np.abs(bn.weight.numpy()).mean())

    norms = [bn for _stage, _name, block in blocks_of(model) for bn in (block.bn1, block.bn2)]
    for bn in norms:
        bn.forward_hooks.append(measure)
    with mr.no_grad():
        model.train()(x)
    for bn in norms:
        bn.forward_hooks.remove(measure)
    return np.array(stds), np.array(gammas)


# %%
# All of it, for each seed
# ------------------------
# What a seed gave is written to `SEED.csv` files as soon as it is there, so that Ctrl-C loses no finished seed.


def by_seed():
    """A dict of one list for each quantity and net, with an entry a seed."""
    return {net: [] for net in NETS}


moved, intact, damaged, response, gamma, fresh_response = (by_seed() for _ in range(6))
by_length: dict[str, list[np.ndarray]] = {"before": [], "after": []}  # norms, (n + 1,) for each seed
flow_length, sampled_length, together = [], [], []
for seed, net in lesson.progress([(seed, net) for seed in options.seeds for net in NETS], "training and looking inside"):
    x, y = batch(seed + 1000)
    model = fresh(net, seed)
    fresh_response[net].append(responses(model, x)[0])
    if net == DEEP_RESIDUAL:
        norms, squares = gradient_by_length(model, x, y, seed)
        by_length["before"].append(norms / norms.sum())
        sampled_length.append(squares @ np.arange(len(squares)) / squares.sum())
        flow_length.append(mean_length_from_flow(model, x, y))
    model = trained(net, seed)
    intact[net].append(test_error(model))
    damaged[net].append(lesions(model))
    moved[net].append(movements(model, x))
    if net == DEEP_RESIDUAL:
        norms, squares = gradient_by_length(model, x, y, seed)
        by_length["after"].append(norms / norms.sum())
        together.append(path_gradient(model, x, y, None) ** 2 / squares.sum())
    stds, gammas = responses(model, x)
    response[net].append(stds)
    gamma[net].append(gammas)
    with open(options.out / f"{NAMES[net]}_seed{seed}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["quantity", "place", "value"])
        writer.writerow(["test error, intact", "", repr(intact[net][-1])])
        for quantity, values in (("test error without block", damaged[net][-1]), ("movement", moved[net][-1]),
                                 ("response", stds)):
            writer.writerows([quantity, i, repr(float(value))] for i, value in enumerate(values))

# %%
# What the blocks do
# ------------------
# The post (S9) says that the deep layers' H(x) is extremely close to x. As "extremely close" we take 10 % of x.

deep_movement = [np.median(values[-len(values) // 3:]) for values in moved[DEEP_RESIDUAL]]  # the last third of the blocks
checks.claim("S9", f"{NAMES[DEEP_RESIDUAL]}, last third of the blocks: ‖y - x‖/‖x‖", deep_movement, 0, 0.1,
             contrary=(0.15, math.inf), expect="contradicts",
             comment="After a short training a late block of the ResNet changes the stream by a good part of its size: less "
                     "than the stream itself, but not by nearly nothing.")
checks.claim("S9", f"{NAMES[PLAIN]}, median block: ‖H(x) - x‖/‖x‖", [np.median(values) for values in moved[PLAIN]], 0, 0.1,
             contrary=(0.5, math.inf), expect="contradicts",
             comment="In a plain net that was trained briefly, what a block hands on is not close to what it was given.")
checks.claim(lesson.Claim("The more layers a ResNet has, the less each of them changes the signal.",
                          "He et al. 2015, section 4.2"),
             f"‖y - x‖/‖x‖, median block: {NAMES[DEEP_RESIDUAL]} / {NAMES[RESIDUAL]}",
             [np.median(deep) / np.median(shallow) for deep, shallow in
              zip(moved[DEEP_RESIDUAL], moved[RESIDUAL], strict=True)], 0, 0.95, contrary=(1, math.inf),
             comment="It holds for the size of a block's change beside its input.")

# %%
# What removing one does
# ----------------------

ENSEMBLE = lesson.Claim("Removing one block from a trained residual net changes its error little; removing one layer from a "
                        "plain net brings it to chance.", "Veit et al. 2016 (arXiv:1605.06431)")


def median_rise(net):
    """The rise of the error without a block, the median of the blocks, for each seed."""
    return [np.median(d) - i for d, i in zip(damaged[net], intact[net], strict=True)]


checks.claim(ENSEMBLE, f"{NAMES[DEEP_RESIDUAL]}: rise of the test error without a block, median block",
             median_rise(DEEP_RESIDUAL), -0.1, 0.1, contrary=(0.3, 1),
             comment="Half of the blocks of the deeper ResNet can go, one at a time, at a cost below ten points.")
checks.claim(ENSEMBLE, f"{NAMES[RESIDUAL]}: rise of the test error without a block, median block", median_rise(RESIDUAL),
             -0.1, 0.1, contrary=(0.3, 1), expect=None)
checks.claim(ENSEMBLE, f"{NAMES[PLAIN]}: test error without a block, median block", [np.median(d) for d in damaged[PLAIN]],
             0.7, 1, contrary=(0, 0.5), comment="Without one of its blocks the plain net is near chance, 90 % wrong.")


def worst_rise(net):
    """The largest rise of the error, over the blocks that keep the shape, for each seed."""
    per_stage = len(damaged[net][0]) // 3
    keeps_shape = [i for i in range(3 * per_stage) if i not in (per_stage, 2 * per_stage)]
    return [np.max(d[keeps_shape]) - i for d, i in zip(damaged[net], intact[net], strict=True)]


checks.claim(lesson.Claim("Only the blocks that change the shape of the stream are missed when they are removed.",
                          "Veit et al. 2016 (arXiv:1605.06431)"),
             f"{NAMES[DEEP_RESIDUAL]}: largest rise of the error, blocks that keep the shape", worst_rise(DEEP_RESIDUAL),
             -0.1, 0.1, contrary=(0.15, 1), expect=None)

# %%
# Which way the gradient goes
# ---------------------------
# The number of paths by length is the binomial distribution. In a ResNet-110 there are 54 blocks; this is arithmetic, and
# the range "5 to 17" is from their measurement.


def share_of_paths(n, low, high):
    """The share of the 2ⁿ paths that go through `low` to `high` branches."""
    return sum(math.comb(n, k) for k in range(low, high + 1)) / 2 ** n


checks.claim(lesson.Claim("In a ResNet-110 more than 95 % of the paths go through 19 to 35 of the 54 blocks.",
                          "Veit et al. 2016 (arXiv:1605.06431)"), "share of paths through 19 to 35 of 54 blocks",
             share_of_paths(54, 19, 35), 0.95, 1, contrary=(0, 0.95 - 1e-9), seeds=0)
checks.add("share of paths through 5 to 17 of 54 blocks", share_of_paths(54, 5, 17), 0.00445, 0.00455,
           "0.45 %: Veit et al. 2016", seeds=0)
n = len(by_length["after"][0]) - 1
HALF = (n - 1) // 2  # for odd n, half of all paths go through at most so many branches
SHORT = lesson.Claim("Most of the gradient in a ResNet comes through paths that are shorter than most paths are.",
                     "Veit et al. 2016 (arXiv:1605.06431)")
for when in ("before", "after"):
    checks.claim(SHORT, f"{NAMES[DEEP_RESIDUAL]} {when} training: share of the gradient in the shorter half of the paths",
                 [shares[:HALF + 1].sum() for shares in by_length[when]], 0.6, 1, contrary=(0, 0.5),
                 comment="A length's gradient is, as in the paper, the mean norm of its paths, times their number.")
checks.add(f"{NAMES[DEEP_RESIDUAL]} before training: mean length, sampled / from the flow through the blocks",
           [s / f for s, f in zip(sampled_length, flow_length, strict=True)], 0.75, 1.3, "1: Σ p, our derivation")
checks.add(f"{NAMES[DEEP_RESIDUAL]} after training: ‖gradient‖² / sum of squares over its paths", together, 0.3, 3,
           "1 if paths were perpendicular", required=False)

# %%
# After training the last row is far above 1: the gradients of the paths have come to point the same way. So "most of the
# gradient comes through short paths" is about single paths; together they are more than the sum of their squares.
#
# Layer responses: why a short run does not show them
# ---------------------------------------------------
# Batch norm makes the standard deviation of its output the size of γ in each channel, whatever comes in. So at
# initialisation figure 7 is a line at 1, for all nets. What moves γ is the loss and weight decay. Weight decay alone leaves
# a factor exp(-Σ lr · decay / (1 - momentum)) of it: with the paper's 64,000 steps almost nothing, with ours almost all.


def left_by_weight_decay(steps_and_rates):
    """The factor that weight decay alone leaves of a weight."""
    return math.exp(-sum(steps * rate for steps, rate in steps_and_rates) * WEIGHT_DECAY / (1 - MOMENTUM))


checks.add("layer responses before training, all nets: largest distance from 1",
           [max(np.abs(fresh_response[net][i] - 1).max() for net in NETS) for i in range(len(options.seeds))], 0, 1e-3,
           "0: batch norm, γ = 1")
checks.add("layer responses after training, all nets: largest distance from the mean |γ|",
           [max(np.abs(response[net][i] - gamma[net][i]).max() for net in NETS) for i in range(len(options.seeds))], 0, 1e-3,
           "0: batch norm")
checks.add("what weight decay leaves of γ in the paper's 64,000 steps",
           left_by_weight_decay([(32000, 0.1), (16000, 0.01), (16000, 0.001)]), 0.03, 0.04, "exp(-3.4)", seeds=0)
checks.add(f"what weight decay leaves of γ in {STEPS} steps", left_by_weight_decay([(STEPS, LR)]), 0.95, 1, "exp(-0.02)",
           seeds=0)
RESPONSES = lesson.Claim("Layer responses (standard deviations after batch norm) are smaller in a trained ResNet than in "
                         "the plain net, and smaller the deeper the ResNet.", "He et al. 2015, figure 7")


def mean_response(net):
    """The mean over the layers, for each seed."""
    return np.array([stds.mean() for stds in response[net]])


checks.claim(RESPONSES, f"mean response after training: {NAMES[RESIDUAL]} / {NAMES[PLAIN]}",
             mean_response(RESIDUAL) / mean_response(PLAIN), 0, 0.8, contrary=(1, math.inf), expect="not seen in this run",
             comment="In this run the difference, if any, is small: the responses are γ, and γ had no time to move.")
checks.claim(RESPONSES, f"mean response after training: {NAMES[DEEP_RESIDUAL]} / {NAMES[RESIDUAL]}",
             mean_response(DEEP_RESIDUAL) / mean_response(RESIDUAL), 0, 0.9, contrary=(1.1, math.inf),
             expect="not seen in this run", comment="The two depths differ by less than a short run can tell.")

# %%
# Shattered gradients
# -------------------
# Give two different inputs to a net, and send the same gradient back from its end. How alike are the gradients that arrive
# at the inputs? Balduzzi et al. 2017 (arXiv:1702.08591): in a plain net their correlation halves with each layer, as a ReLU
# is open for half of the units, and for two unrelated inputs both are open in a quarter. After a few layers the gradients of
# different inputs have nothing to do with each other. We take layers W relu(bn(x)), 512 units wide, at initialisation. Batch
# norm's statistics are held constant in the backward pass, as otherwise one input's gradient depends on the others.
#
# With a shortcut around the layer, x + W relu(bn(x)), the gradient's square grows by 1/σ² in each layer, and what two inputs
# have in common by half of that, with σ² the variance that batch norm divides by. So the correlation is
# ∏ (σ² + 1/2)/(σ² + 1) with σ² = 1 + l (1 - 1/π) at layer l: a power of the depth, near -0.73 for deep nets. (Our
# derivation, for wide layers and many samples; we allow it a quarter. The paper lets σ² grow by 1 with each layer, and has
# 1/sqrt(L).)

UNITS, SAMPLES = options.pick(tiny=(64, 16), default=(512, 64), full=(1024, 128))
PLAIN_LAYERS = options.pick(tiny=(1, 2), default=(1, 2, 4, 6), full=(1, 2, 4, 6, 8))
RESIDUAL_LAYERS = options.pick(tiny=(2, 4), default=(10, 20, 40, 80), full=(10, 20, 40, 80, 160))


class DenseLayer(nn.Module):
    """W relu(bn(x)), with or without a shortcut around it; (N, C) -> (N, C)."""

    def __init__(self, units, residual):
        super().__init__()
        self.residual = residual
        self.bn = nn.BatchNorm2d(units)
        self.bn.freeze_statistics = True
        self.relu = nn.ReLU()
        self.linear = nn.Linear(units, units, bias=False)

    def forward(self, x):
        """(N, C) -> (N, C)."""
        y = self.linear(self.relu(self.bn(x)))
        return ops.shortcut_add(y, x) if self.residual else y


def gradient_correlation(layers, residual, seed):
    """The mean cosine between the gradients of two inputs, over all pairs of a batch of unrelated ones."""
    net = nn.Sequential(*[DenseLayer(UNITS, residual) for _ in range(layers)])
    nn.init.initialize_(net, nn.init.he_normal_, seed, linear_init=nn.init.he_normal_).to(options.device)
    generator = np.random.default_rng(seed)
    x = mr.Tensor(generator.standard_normal((SAMPLES, UNITS)).astype(np.float32)).to(options.device)
    x = mr.Tensor(x.data, requires_grad=True)
    same = np.tile(generator.standard_normal(UNITS).astype(np.float32), (SAMPLES, 1))
    net(x).backward(mr.Tensor(same).to(options.device).data)
    gradients = mr.Tensor(x.grad).numpy().astype(np.float64)
    gradients /= np.linalg.norm(gradients, axis=1, keepdims=True)
    return (np.square(gradients.sum(axis=0)).sum() - SAMPLES) / (SAMPLES * (SAMPLES - 1))  # without each with itself


def predicted_residual(layers):
    """∏ (σ² + 1/2)/(σ² + 1)."""
    variances = 1 + np.arange(layers) * (1 - 1 / math.pi)
    return float(np.prod((variances + 0.5) / (variances + 1)))


correlations = {}  # (residual?, layers): one a seed
cases = [(False, layers) for layers in PLAIN_LAYERS] + [(True, layers) for layers in RESIDUAL_LAYERS]
for residual, layers in lesson.progress(cases, "shattered gradients"):
    correlations[residual, layers] = np.array([gradient_correlation(layers, residual, seed) for seed in options.seeds])
plain_rows, residual_rows = [np.array([correlations[residual, layers] for layers in counts])
                             for residual, counts in ((False, PLAIN_LAYERS), (True, RESIDUAL_LAYERS))]  # (depths, seeds)
with np.errstate(invalid="ignore", divide="ignore"):           # a tiny run may give a correlation below 0
    slopes = np.polyfit(PLAIN_LAYERS, np.log2(plain_rows), 1)[0]
    exponents = np.polyfit(np.log(RESIDUAL_LAYERS), np.log(residual_rows), 1)[0]

checks.claim(lesson.Claim("In a plain net the correlation of gradients falls as 1/2ᴸ with the number of layers.",
                          "Balduzzi et al. 2017 (arXiv:1702.08591)"),
             "plain: log2 of the correlation, slope per layer", slopes, -1.2, -0.8, contrary=(-0.5, 0))
checks.claim(lesson.Claim("With shortcuts the correlation of gradients falls less than in proportion to the depth.",
                          "Balduzzi et al. 2017 (arXiv:1702.08591)"),
             "residual: exponent of the depth, sublinear", exponents, -0.99, 0, contrary=(-math.inf, -1))
checks.claim(lesson.Claim("With shortcuts and batch norm the correlation of gradients falls as 1/sqrt(L).",
                          "Balduzzi et al. 2017 (arXiv:1702.08591)"),
             "residual: exponent of the depth, 1/sqrt(L)", exponents, -0.56, -0.44, contrary=(-0.99, -0.58),
             expect="contradicts",
             comment="It falls as a power of the depth, but a little faster than 1/sqrt(L): the variance that batch norm "
                     "sees grows by less than 1 a layer.")
for layers in RESIDUAL_LAYERS:
    predicted = predicted_residual(layers)
    checks.add(f"residual, {layers} layers: correlation", correlations[True, layers], 0.75 * predicted, 1.25 * predicted,
               f"∏ (σ² + 1/2)/(σ² + 1) = {predicted:.3f}")

# %%
# The figures
# -----------


def draw_seeds(ax, x, rows, colour, marker, label):
    """Medians over the seeds (rows) as a line, and a band from the least to the largest."""
    rows = np.array(rows)
    ax.plot(x, np.median(rows, axis=0), color=colour, marker=marker, markersize=4, label=label)
    ax.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.2, linewidth=0)


SEEDS = f"median and range of {len(options.seeds)} seeds"
figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained", sharey=True, width_ratios=(1, 1.6))
for net, ax in zip((PLAIN, DEEP_RESIDUAL), axes, strict=True):
    count = len(damaged[net][0])
    draw_seeds(ax, np.arange(1, count + 1), damaged[net], COLOURS[net], "o", "one block removed")
    ax.axhline(np.median(intact[net]), color="black", linewidth=1.2, label="nothing removed")
    ax.axhline(0.9, color="0.4", linestyle="--", linewidth=1, label="chance")
    for first in (1 + count // 3, 1 + 2 * count // 3):
        ax.axvline(first, color="0.8", linewidth=0.8, zorder=0)
        ax.annotate("shape\nchanges", (first, 0.02), ha="center", fontsize="x-small", color="0.35")
    ax.set_xlabel("block removed")
    ax.set_title(f"{NAMES[net]}, {SEEDS}", fontsize="medium")
    ax.set_ylim(0, 1)
    ax.xaxis.get_major_locator().set_params(integer=True)
axes[0].set_ylabel("test error")
axes[1].legend(loc="center right")
figure.suptitle("Without one block the plain net is near chance; the deep ResNet hardly misses most of its blocks")
lesson.save_figure(figure, options, "lesions.png")

figure, ax = pyplot.subplots(figsize=(8.5, 4.6), layout="constrained")
lengths = np.arange(n + 1)
ax.plot(lengths, [share_of_paths(n, k, k) for k in lengths], "--", color="black", label="the paths: C(n, k)/2ⁿ")
for when, colour, marker in (("before", mr.plot.COLOURS[4], "s"), ("after", mr.plot.COLOURS[0], "o")):
    draw_seeds(ax, lengths, by_length[when], colour, marker, f"the gradient {when} training")
ax.set_xlabel(f"branches on the path, of {n}")
ax.set_ylabel("share")
ax.set_ylim(0, None)
ax.legend(title=SEEDS)
ax.set_title(f"Most of the gradient of {NAMES[DEEP_RESIDUAL]} comes through paths shorter than most paths")
lesson.save_figure(figure, options, "paths.png")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
for net, marker in zip(NETS, ("s", "^", "o"), strict=True):
    kept = np.array(moved[net])
    draw_seeds(left, np.linspace(0, 1, kept.shape[1]), kept, COLOURS[net], marker, NAMES[net])
    draw_seeds(right, np.linspace(0, 1, len(response[net][0])), response[net], COLOURS[net], marker, NAMES[net])
left.axhline(0.1, color="black", linestyle="--", linewidth=1, label='"extremely close"')
left.set_yscale("log")
left.set_ylim(0.07, 6)
left.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
left.minorticks_off()
left.set_ylabel("‖y - x‖ / ‖x‖")
left.set_xlabel("block, from the first (0) to the last (1)")
left.set_title("blocks that keep the shape", fontsize="medium")
left.legend(loc="upper center", ncols=2)
right.axhline(1, color="black", linestyle="--", linewidth=1, label="before training")
right.set_ylim(0, None)
right.set_ylabel("standard deviation after batch norm")
right.set_xlabel("3 x 3 layer, from the first (0) to the last (1)")
right.set_title("layer responses", fontsize="medium")
right.legend(loc="lower left")
figure.suptitle(f"A ResNet's block moves the stream by a part of its size; {STEPS} steps hardly move the layers' responses")
lesson.save_figure(figure, options, "blocks.png")

figure, ax = pyplot.subplots(figsize=(8.5, 4.8), layout="constrained")
line = np.arange(1, RESIDUAL_LAYERS[-1] + 1)
few = np.linspace(1, max(PLAIN_LAYERS) + 1, 50)
ax.plot(few, 0.5 ** few, "--", color=mr.plot.COLOURS[1], label="1/2ᴸ")
ax.plot(line, line ** -0.5, ":", color="0.4", label="1/sqrt(L)")
ax.plot(line, [predicted_residual(layers) for layers in line], "--", color=mr.plot.COLOURS[0],
        label="∏ (σ² + 1/2)/(σ² + 1)")
for rows, counts, colour, marker, label in ((plain_rows, PLAIN_LAYERS, mr.plot.COLOURS[1], "s", "plain"),
                                            (residual_rows, RESIDUAL_LAYERS, mr.plot.COLOURS[0], "o", "residual")):
    middle = np.median(rows, axis=1)
    ax.errorbar(counts, middle, [middle - rows.min(axis=1), rows.max(axis=1) - middle], color=colour, marker=marker,
                linestyle="none", capsize=3, label=f"{label}, measured")
ax.set_xscale("log")
ax.set_yscale("log")
ax.set_xticks([1, 2, 5, 10, 20, 40, 80], ["1", "2", "5", "10", "20", "40", "80"])
ax.minorticks_off()
ax.set_xlabel("layers L")
ax.set_ylabel("correlation of two inputs' gradients")
ax.legend(fontsize="small", loc="lower left")
ax.set_title("Gradients shatter exponentially with depth in plain nets, as a power in residual ones")
lesson.save_figure(figure, options, "shattered.png")
pyplot.close("all")

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "After a short training, the deeper ResNet does without most of its blocks, one at a time; the plain net without one is "
    "near chance. Each block of the ResNet moves the stream by a part of its size, and less so in the deeper net.",
    "Weighted by single paths' gradients, most of the gradient comes through paths shorter than most. In fresh nets the "
    "gradients of two inputs lose what they have in common exponentially with depth without shortcuts, and as a power with.",
    "The paper's figure 7 did not appear: its responses are batch norm's γ, which a short training hardly moves.",
))

# %%
# Exercises
# ---------
# 1. Remove two, four and eight blocks of the ResNet at once, chosen by chance. Does the error jump, or rise smoothly?
# 2. Raise ``WEIGHT_DECAY`` to 2e-3 and ``STEPS`` to 300. Which part of the fall of γ does ``left_by_weight_decay`` explain,
#    and does the order of figure 7 appear in what is left?
# 3. Swap two neighbouring blocks of one stage instead of removing one. What does it say about what blocks do?
# 4. Leave ``freeze_statistics`` at False. The correlation of a one-layer net becomes -1/(N - 1), exactly: why?
