"""
What is a ResNet, exactly?
==========================

:Question: Of what is a residual net made, how large is it, and what does its depth cost?
:Time: 10 s on two cores
:Before this: what a convolution is

"ResNet" is two families of nets, from one paper (He et al. 2015, "Deep residual learning for image recognition",
arXiv:1512.03385): one for ImageNet, with 18 to 152 layers, and one for the small images of CIFAR-10, with 20 to 1202. Here
we build all of them, count their layers, parameters and multiply-adds, and lay the paper's numbers beside ours. What the
nets *achieved* is published, and not measured here: it takes days on GPUs.

Think about first
-----------------

* ResNet-152 and VGG-16: which of the two needs more multiplications for one image?
* What does the shortcut cost in parameters?
* The block adds F(x) and x. What if they differ in shape?
"""
import csv
import math

import numpy as np
from matplotlib import pyplot

import minires as mr
from minires import models, nn
from minires.course import lesson

options = lesson.options(__doc__, seeds=1)
checks = lesson.Checks()

# %%
# The block
# ---------
# A residual block computes y = relu(F(x) + x). F is two 3 x 3 convolutions with batch norm (a *basic block*), or a 1 x 1
# convolution to fewer channels, a 3 x 3 one and a 1 x 1 one back (a *bottleneck*). Take the ``+ x`` away, and you have the
# plain net that the paper compares with. ``minires/models/block.py`` is the code, and says the same in a screen.
#
# Where a stage begins, F halves the image and doubles the channels, so that x no longer fits. The paper has three ways out:
#
# - A: take every other pixel of x, and fill the new channels with zeros. It costs no parameter.
# - B: a 1 x 1 convolution with stride 2, only where the shape changes.
# - C: a 1 x 1 convolution in every block.

blocks = mr.summary(models.cifar_net(8, init=nn.init.zeros_), (1, 3, 32, 32))
print("The smallest net of the CIFAR family, one block in each of the three stages:\n")
print(blocks, end="\n\n")

# %%
# Does the addition make the layers learn the difference F(x) = H(x) - x? That is no finding but a way to write it: whatever
# H the block computes, F is what its layers have to contribute. We look at the one case in which it matters most. With
# F = 0, which zero weights give, the block hands on x as it is (here one without a ReLU after the addition, He et al.
# 2016); its plain twin hands on nothing.


def output_with_silent_branch(residual, x):
    """What a block makes of x, (N, C, H, W), when the weights of its last convolution are zero."""
    block = models.PreactivationBasicBlock(x.shape[1], x.shape[1], residual=residual)
    for name, weight in block.named_parameters():
        weight.data[...] = 0 if name.startswith("conv2") else 1
    return block(mr.Tensor(x)).numpy()


image = np.random.default_rng(options.seed).standard_normal((2, 8, 6, 6), dtype=np.float32)  # (N, C, H, W)
checks.claim("S10", "largest |H(x) - x| of a residual block with F = 0",
             abs(output_with_silent_branch(True, image) - image).max(), 0, 0, contrary=(1e-6, math.inf), seeds=1)
checks.claim("S8", "largest |H(x)| of its plain twin: what is left without the x that is added",
             abs(output_with_silent_branch(False, image)).max(), 0, 0, contrary=(1e-6, math.inf), seeds=1,
             comment="By construction: the layers make H(x) - x, and the addition makes H(x) of it. That this is easier to "
                     "learn is another claim (S9).")

# %%
# Counting
# --------
# The number in a net's name counts the layers with weights on the way from the image to the logits: convolutions and the
# last, linear layer. Batch norm does not count, nor does a convolution on a shortcut. A multiply-add is one multiplication
# with its addition; the paper calls it a FLOP.


class Net:
    """What we count of a net."""

    def __init__(self, model, size):
        self.summary = mr.summary(model, (1, 3, size, size))
        self.layers = sum(row.kind in ("Conv2d", "Linear") and "downsample" not in row.name for row in self.summary.rows)
        self.parameters = self.summary.parameters
        self.multiply_adds = self.summary.multiply_adds


def cifar(depth, **kind):
    """A net for images of 32 x 32; its weights are zeros, as nobody looks at them."""
    return Net(models.cifar_net(depth, init=nn.init.zeros_, **kind), 32)


def imagenet(depth, **kind):
    """A net for images of 224 x 224."""
    return Net(models.imagenet_net(depth, init=nn.init.zeros_, **kind), 224)


# Published: parameters in millions (He et al. 2015, table 6) and multiply-adds in 10⁹ (table 1), with half a unit of the
# last digit, or for the multiply-adds 3 %, as the paper rounds them down.
CIFAR_PARAMETERS = {20: (0.27, 0.005), 32: (0.46, 0.005), 44: (0.66, 0.005), 56: (0.85, 0.005), 110: (1.7, 0.05),
                    1202: (19.4, 0.05)}
IMAGENET_MULTIPLY_ADDS = {18: 1.8, 34: 3.6, 50: 3.8, 101: 7.6, 152: 11.3}
TORCHVISION_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}

cifar_depths = options.pick(tiny=(20, 56), default=tuple(CIFAR_PARAMETERS), full=tuple(CIFAR_PARAMETERS))
imagenet_depths = options.pick(tiny=(18,), default=tuple(IMAGENET_MULTIPLY_ADDS), full=tuple(IMAGENET_MULTIPLY_ADDS))
nets = {}
for depth in lesson.progress(cifar_depths, "CIFAR nets"):
    nets["cifar", depth] = cifar(depth)
for depth in lesson.progress(imagenet_depths, "ImageNet nets"):
    nets["imagenet", depth] = imagenet(depth, stride_on="1x1")

# %%
# CIFAR-10: 6n + 2 layers
# -----------------------
# A 3 x 3 convolution, then three stages of n blocks on 32², 16² and 8² pixels with 16, 32 and 64 channels, average pooling,
# a linear layer. Each convolution of a later stage costs as much as one of the first, as half the pixels in each direction
# and twice the channels on both its sides cancel. So there are formulas (our counting):
#
# - parameters: 97,216 n - 21,926 with option A, batch norm's two for each channel included;
# - multiply-adds: 442,368 for the stem, 9 · 16² · 32² for each of the 6n convolutions but half of it for the two with stride
#   2, and 640 for the linear layer.

for depth in cifar_depths:
    net, n = nets["cifar", depth], (depth - 2) // 6
    published, rounding = CIFAR_PARAMETERS[depth]
    checks.add(f"CIFAR ResNet-{depth}: layers", net.layers, depth, depth, "its name", seeds=0)
    checks.add(f"CIFAR ResNet-{depth}: parameters / 10⁶", net.parameters / 1e6, published - rounding, published + rounding,
               f"{published}M: He et al. 2015, table 6", seeds=0)
    checks.add(f"CIFAR ResNet-{depth}: parameters", net.parameters, 97_216 * n - 21_926, 97_216 * n - 21_926,
               "97,216 n - 21,926", seeds=0)
    expected = 442_368 + (6 * n - 1) * 9 * 16 ** 2 * 32 ** 2 + 640
    checks.add(f"CIFAR ResNet-{depth}: multiply-adds", net.multiply_adds, expected, expected,
               "442,368 + (6n - 1)·9·16²·32² + 640", seeds=0)

# %%
# The shortcut is free with option A, so that a plain net and its residual twin have equally many parameters, and equally
# many multiply-adds: the paper's comparison is about the addition alone. Option B adds two small convolutions with their
# batch norms: 16 · 32 + 64 + 32 · 64 + 128 parameters.

plain, option_b = cifar(56, residual=False), cifar(56, shortcut="B")
checks.add("CIFAR, 56 layers: parameters, residual - plain", nets["cifar", 56].parameters - plain.parameters, 0, 0,
           "a shortcut has none: He et al. 2015, section 3.3", seeds=0)
checks.add("CIFAR, 56 layers: multiply-adds, residual - plain", nets["cifar", 56].multiply_adds - plain.multiply_adds, 0, 0,
           "additions are not counted", seeds=0)
checks.add("CIFAR, 56 layers: parameters, option B - option A", option_b.parameters - nets["cifar", 56].parameters,
           2752, 2752, "16·32 + 64 + 32·64 + 128", seeds=0)

# %%
# ImageNet: 18 to 152 layers
# --------------------------
# A 7 x 7 convolution and max pooling, then four stages on 56², 28², 14² and 7² pixels. 18 and 34 have basic blocks, 50, 101
# and 152 bottlenecks. Two details that tables get wrong: torchvision puts the stride of a bottleneck into its 3 x 3
# convolution, the paper into the first 1 x 1, which changes the multiply-adds and not one parameter; and torchvision uses
# option B for 18 and 34 too.

for depth in imagenet_depths:
    net, published = nets["imagenet", depth], IMAGENET_MULTIPLY_ADDS[depth]
    checks.add(f"ImageNet ResNet-{depth}: layers", net.layers, depth, depth, "its name", seeds=0)
    checks.add(f"ImageNet ResNet-{depth}: multiply-adds / 10⁹", net.multiply_adds / 1e9, 0.99 * published, 1.03 * published,
               f"{published}: He et al. 2015, table 1", seeds=0)
    checks.add(f"ImageNet ResNet-{depth}: parameters", net.parameters, TORCHVISION_PARAMETERS[depth],
               TORCHVISION_PARAMETERS[depth], "torchvision", seeds=0)

if 50 in imagenet_depths:
    torchvision_50 = imagenet(50, stride_on="3x3")
    checks.add("ResNet-50, stride on 3x3 - on 1x1: parameters", torchvision_50.parameters - nets["imagenet", 50].parameters,
               0, 0, "torchvision's documentation", seeds=0)
    checks.add("ResNet-50, stride on 3x3: multiply-adds / 10⁹", torchvision_50.multiply_adds / 1e9, 4.08, 4.10,
               "4.09: torchvision's documentation", seeds=0)

# %%
# What the post says
# ------------------
# The winner of ILSVRC 2015 was not one net of 152 layers. ILSVRC is a competition, and the entry that won with a top-5 error
# of 3.57 % was an ensemble of six nets of different depths, two of them with 152 layers (He et al. 2015, table 5). A single
# 152-layer net had 4.49 % (table 4, on the validation images).
#
# "Better than people" compares this 3.57 % with the 5.1 % of *one* person who had trained for the task (Russakovsky et al.
# 2015, arXiv:1409.0575, section 6.4); a second one had 12 %. Later work asked five trained people again, with more careful
# labels, and found that the best of them was matched only by models of 2020 (Shankar et al. 2020).

VGG16, VGG19 = 15.3, 19.6  # multiply-adds in 10⁹, as in He et al. 2015, section 3.3 and table 1
if 152 in imagenet_depths:
    checks.claim("S1", "layers of ResNet-152 (that it won is no measurement)", nets["imagenet", 152].layers, 152, 152,
                 seeds=0, comment="152 layers it is; but ILSVRC is a competition, and its winner was an ensemble of six "
                 "nets, two of them with 152 layers (published: He et al. 2015, table 5).")
    cheaper = lesson.Claim("ResNet-152 is far deeper than VGG-16, and needs fewer multiply-adds.",
                           "He et al. 2015, section 4.1")
    checks.claim(cheaper, "multiply-adds, ResNet-152 / the published ones of VGG-16",
                 nets["imagenet", 152].multiply_adds / (VGG16 * 1e9), 0, 0.95, contrary=(1, 10), seeds=0)
checks.claim("S15", "top-5 error in %, one trained person - the winning ensemble", 5.1 - 3.57, 0.01, 100, contrary=(-100, 0),
             published=True, seeds=0,
             comment="On one benchmark, with one trained person on the other side, and an ensemble of six nets on this "
                     "(published: Russakovsky et al. 2015, section 6.4; He et al. 2015, table 5).")

# %%
# The figure, and the paper's tables
# ----------------------------------
# Left: what we counted. In the middle and at the right: what the paper reports. Read them with care: the plain net of 34
# layers is worse than that of 18, the residual one is better; and on CIFAR-10 the net of 1202 layers is *worse* than that
# of 110. Later lessons ask why.

IMAGENET_ERROR = {  # top-1 error in %, 10 crops: He et al. 2015, table 2 for 18 and 34 (option A), table 3 for the others
    "plain": {18: 27.94, 34: 28.54}, "residual": {18: 27.88, 34: 25.03, 50: 22.85, 101: 21.75, 152: 21.43}}
CIFAR_ERROR = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}  # test error in %: table 6

figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
counted = {f"ResNet-{depth}": nets["imagenet", depth].multiply_adds / 1e9 for depth in imagenet_depths}
blue, orange, _green, pink, *_ = mr.plot.COLOURS
left.barh(list(counted), list(counted.values()), color=blue, label="counted here")
left.barh(["VGG-16", "VGG-19"], [VGG16, VGG19], color="white", edgecolor=pink, hatch="///", label="published")
left.plot([IMAGENET_MULTIPLY_ADDS[depth] for depth in imagenet_depths], list(counted), "|", color="black", markersize=16,
          markeredgewidth=2, label="ResNets: published")
for name, value in [*counted.items(), ("VGG-16", VGG16), ("VGG-19", VGG19)]:
    left.text(value + 0.4, name, f"{value:.1f}", va="center")
left.set_xlim(0, 24)
left.set_xlabel("multiply-adds for one image, 10⁹")
left.legend(loc="upper left", bbox_to_anchor=(0.42, 0.55))
left.set_title("ResNet-152 needs fewer multiply-adds than VGG-16")
for (name, errors), colour, marker in zip(IMAGENET_ERROR.items(), (orange, blue), ("s", "o"), strict=True):
    middle.plot(list(errors), list(errors.values()), color=colour, marker=marker, label=f"{name} (published)")
middle.set_xticks([18, 34, 50, 101, 152])
middle.set_xlabel("layers")
middle.set_ylabel("ImageNet top-1 error, %")
middle.legend()
middle.set_title("published: from 18 to 34 layers,\nthe plain net gets worse and ResNet better")
right.plot(list(CIFAR_ERROR), list(CIFAR_ERROR.values()), color=blue, marker="o", label="residual (published)")
right.set_xscale("log")
right.set_xticks(list(CIFAR_ERROR), [str(depth) for depth in CIFAR_ERROR])
right.minorticks_off()
right.set_xlabel("layers")
right.set_ylabel("CIFAR-10 test error, %")
right.legend()
right.set_title("published: better up to 110 layers,\nworse again at 1202")
figure.suptitle("Depth is cheap in a ResNet; what it gains is published, not measured here (He et al. 2015)")
lesson.save_figure(figure, options, "resnets.png")
pyplot.close("all")

with open(options.out / "nets.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["family", "layers", "parameters", "multiply_adds"])
    writer.writerows([family, depth, net.parameters, net.multiply_adds] for (family, depth), net in nets.items())

# %%
# What to take home
# -----------------

checks.finish(options, take_home=(
    "A residual net is a plain net with an addition around every block; with option A the two have the same layers, "
    "parameters and multiply-adds, to the last one.",
    "Its cost grows with its depth and no faster: each block of a stage costs the same.",
))

# %%
# Exercises
# ---------
# 1. Derive 97,216 n - 21,926 by hand. Which layers make the negative part?
# 2. How many parameters does option C add to ResNet-56? Predict it, then ask ``models.cifar_net(56, shortcut="C")``.
# 3. A net of 50 layers made of basic blocks: how many blocks would it have, and how many multiply-adds? Why does the paper
#    use bottlenecks from 50 layers on?
