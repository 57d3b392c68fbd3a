"""The families of nets: 6n+2 layers for CIFAR, those of ImageNet, and flat nets of convolutions, as twins from one seed."""
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minires import nn
from minires.arguments import flag, function, is_one_of, is_whole_number, known_name, shown, whole_number
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError
from minires.models.block import (
    SHORTCUTS,
    STRIDES_ON,
    BasicBlock,
    Block,
    Bottleneck,
    PreactivationBasicBlock,
    PreactivationBottleneck,
)
from minires.models.flat import FlatNet
from minires.models.resnet import ResNet
from minires.nn.checkpointing import checked_every
from minires.nn.init import INITIALISER

Initializer: TypeAlias = Callable[[Tensor, np.random.Generator], Any]  # as those of `nn.init`

IMAGENET_BLOCKS = {  # depth -> (is it made of bottlenecks?, blocks in each stage); He et al. 2015, table 1
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


def cifar_net(depth: int, residual: bool = True, width: int = 16, in_channels: int = 3, num_classes: int = 10,
              shortcut: str = "A", batch_norm: bool = True, preactivation: bool = False,
              init: Initializer = nn.init.he_normal_, seed: int = 0, checkpoint_every: int | None = None) -> ResNet:
    """The nets of 6n+2 layers for small images (He et al. 2015, section 4.2), residual or plain.

    A 3 x 3 convolution, three stages of n blocks with two 3 x 3 convolutions each, at `width`, 2 and 4 times that many
    channels, average pooling and a linear layer. A net and its twin of the same seed start from equal weights.

    Args:
        depth: 6n+2: 8, 14, 20, 32, 44, 56, 110, 1202, …
        residual: with shortcuts, or plain?
        width: channels of the first stage; 16 in the paper.
        in_channels: channels of the images.
        num_classes: the length of the logits.
        shortcut: "A" (zero padding, as in the paper), "B" or "C"; see `Block`.
        batch_norm: after each convolution?
        preactivation: the order of He et al. 2016?
        init: draws the weights of the convolutions, `init(tensor, generator)`. Those of `fc` are N(0, 1/fan_in).
        seed: each weight is drawn from (seed, its name).
        checkpoint_every: k to keep only the inputs of every k-th block of a stage and to run the blocks' forward again in
            the backward pass, which takes less memory and more time: see `nn.checkpoint`. None: keep all.

    Raises:
        ArgumentError: the depth is not 6n+2, or another number is not a positive integer.
        UnknownNameError: no such shortcut.
    """
    depth = whole_number("cifar_net", "depth", depth)
    if depth < 8 or (depth - 2) % 6:
        below = max(8, depth - (depth - 2) % 6)
        raise ArgumentError(f"cifar_net: depth is {depth}, expected 6n+2 for n blocks in each of the three stages, such "
                            f"as {below} or {below + 6}")
    width = whole_number("cifar_net", "width", width)
    seed = whole_number("cifar_net", "seed", seed, smallest=0)
    init = function("cifar_net", "init", init, INITIALISER)
    residual, batch_norm = flag("cifar_net", "residual", residual), flag("cifar_net", "batch_norm", batch_norm)
    preactivation = flag("cifar_net", "preactivation", preactivation)
    shortcut = known_name("cifar_net", "shortcut", shortcut, SHORTCUTS)
    net = ResNet(PreactivationBasicBlock if preactivation else BasicBlock,
                 blocks=[(depth - 2) // 6] * 3, widths=[width, 2 * width, 4 * width],
                 in_channels=in_channels, num_classes=num_classes, stem="cifar", preactivation=preactivation,
                 batch_norm=batch_norm, checkpoint_every=checked_every("cifar_net", checkpoint_every),
                 residual=residual, shortcut=shortcut)
    nn.init.initialize_(net, init, seed, linear_init=nn.init.lecun_normal_)
    return net


def imagenet_net(depth: int, residual: bool = True, num_classes: int = 1000, shortcut: str = "B", stride_on: str = "3x3",
                 preactivation: bool = False, zero_init_residual: bool = False, init: Initializer = nn.init.he_normal_,
                 seed: int = 0, checkpoint_every: int | None = None) -> ResNet:
    """The nets of He et al. 2015, table 1, for images of 224 x 224, residual or plain; named as torchvision names them.

    Args:
        depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        residual, num_classes, preactivation, init, seed, checkpoint_every: as `cifar_net`.
        shortcut: "A", "B" (as torchvision) or "C"; see `Block`.
        stride_on: where a bottleneck halves the image, its "3x3" (torchvision) or its first "1x1" (the paper).
        zero_init_residual: start the last batch norm of each block at 0, so that F(x) = 0 and each block is its
            shortcut (Goyal et al. 2017, arXiv:1706.02677, section 5.1). Only for residual nets in the original order.

    Raises:
        ArgumentError: no such depth, `stride_on`, or a zero-initialised net that is not a residual one in the original
            order.
        UnknownNameError: no such shortcut.
    """
    if not is_whole_number(depth, 1) or depth not in IMAGENET_BLOCKS:
        raise ArgumentError(f"imagenet_net: depth is {shown(depth)}, expected one of "
                            f"{', '.join(str(known) for known in IMAGENET_BLOCKS)}")
    if not is_one_of(stride_on, STRIDES_ON):
        raise ArgumentError(f'imagenet_net: stride_on is {shown(stride_on)}, expected "3x3" or "1x1"')
    seed = whole_number("imagenet_net", "seed", seed, smallest=0)
    init = function("imagenet_net", "init", init, INITIALISER)
    residual = flag("imagenet_net", "residual", residual)
    preactivation = flag("imagenet_net", "preactivation", preactivation)
    zero_init_residual = flag("imagenet_net", "zero_init_residual", zero_init_residual)
    if zero_init_residual and (preactivation or not residual):
        raise ArgumentError("imagenet_net: zero_init_residual needs a batch norm at the end of each residual branch: it "
                            "works with residual=True and preactivation=False")
    shortcut = known_name("imagenet_net", "shortcut", shortcut, SHORTCUTS)
    is_bottleneck, blocks = IMAGENET_BLOCKS[depth]
    block: type[Block]
    if is_bottleneck:
        block = PreactivationBottleneck if preactivation else Bottleneck
    else:
        block = PreactivationBasicBlock if preactivation else BasicBlock
    net = ResNet(block, blocks, widths=[64, 128, 256, 512], in_channels=3, num_classes=num_classes, stem="imagenet",
                 preactivation=preactivation, batch_norm=True,
                 checkpoint_every=checked_every("imagenet_net", checkpoint_every), residual=residual, shortcut=shortcut,
                 stride_on=stride_on)
    nn.init.initialize_(net, init, seed, linear_init=nn.init.lecun_normal_)
    if zero_init_residual:
        for _, module in net.named_modules():
            if isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                nn.init.zeros_(last.weight)
    return net


def flat_net(depth: int, width: int = 16, in_channels: int = 1, activation: str = "relu", batch_norm: bool = False,
             init: Initializer = nn.init.he_normal_, seed: int = 0, checkpoint_every: int | None = None) -> FlatNet:
    """`depth` convolutions of 3 x 3 in a row, all of one width and stride 1: the simplest net in which to watch a
    gradient travel. Average pooling and a linear layer make 10 logits of it.

    Args:
        depth: the number of convolutions.
        width: channels of each.
        in_channels: channels of the images.
        activation: "relu", "tanh" or "sigmoid", after each convolution.
        batch_norm: one after each convolution?
        init, seed: as `cifar_net`.
        checkpoint_every: as `cifar_net`, of layers.

    Raises:
        ArgumentError: a number is not a positive integer.
        UnknownNameError: no such activation.
    """
    init = function("flat_net", "init", init, INITIALISER)
    seed = whole_number("flat_net", "seed", seed, smallest=0)
    net = FlatNet(depth, width, in_channels, activation, batch_norm, checkpoint_every=checkpoint_every)
    nn.init.initialize_(net, init, seed, linear_init=nn.init.lecun_normal_)
    return net


