"""`ResNet`: a stem, stages of blocks, average pooling and a linear classifier; plain where its blocks have no shortcut."""
from collections.abc import Sequence
from typing import Any

from minires import nn
from minires.arguments import flag, known_name, shown, whole_numbers
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError
from minires.models.block import Block, Normalization, convolution, normalization
from minires.nn.checkpointing import checked_every

STEMS = ("cifar", "imagenet")


class ResNet(nn.Module):
    """A residual net, or its plain twin. Made by `cifar_net` and `imagenet_net`.

    Layers: `conv1`, `bn1`, `relu` and, for ImageNet, `maxpool` (the stem); `layer1`, `layer2`, … (the stages, of which all
    but the first halve the image); `avgpool`, `fc`. A pre-activation net has its batch norm and ReLU after the stages
    instead, as `bn_last` and `relu_last`.

    Args:
        block: the class of its blocks, one of those in `models.block`.
        blocks: how many blocks each stage has.
        widths: the `channels` of each stage's blocks.
        stem: the layers before the stages are made for images of this kind: "cifar" (3 x 3 convolution) or "imagenet"
            (7 x 7 convolution of stride 2, and max pooling).
        checkpoint_every: None, or k to run each stage in checkpoints of k blocks; see `nn.checkpoint`.
        block_options: passed on to each block.

    Raises:
        DTypeError: `block` is no class of blocks, or `blocks` or `widths` is no list.
        ArgumentError: these are not as many positive integers, or a flag is neither True nor False.
        UnknownNameError: no such stem.
    """

    conv1: nn.Conv2d
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential  # of the nets for ImageNet

    def __init__(self, block: type[Block], blocks: Sequence[int], widths: Sequence[int], in_channels: int, num_classes: int,
                 stem: str, preactivation: bool, batch_norm: bool, checkpoint_every: int | None = None,
                 **block_options: Any) -> None:
        super().__init__()
        if not (isinstance(block, type) and issubclass(block, Block)):
            raise DTypeError(f"ResNet: block is {shown(block)}, expected a class of blocks, such as models.BasicBlock")
        stem = known_name("ResNet", "stem", stem, STEMS)
        preactivation, batch_norm = flag("ResNet", "preactivation", preactivation), flag("ResNet", "batch_norm", batch_norm)
        checkpoint_every = checked_every("ResNet", checkpoint_every)
        blocks = whole_numbers("ResNet", "blocks", blocks, "a number of blocks")
        widths = whole_numbers("ResNet", "widths", widths, "a width")
        if len(blocks) != len(widths) or not blocks:
            raise ArgumentError(f"ResNet: got {len(blocks)} numbers of blocks and {len(widths)} widths, expected one of "
                                "each for each stage")
        stem_channels = widths[0]
        if stem == "imagenet":
            self.conv1 = convolution(in_channels, stem_channels, 7, stride=2)
        else:
            self.conv1 = convolution(in_channels, stem_channels, 3)
        self.preactivation = preactivation
        if not preactivation:
            self.bn1: Normalization = normalization(stem_channels, batch_norm)
            self.relu: nn.ReLU = nn.ReLU()
        self.maxpool: nn.MaxPool2d | None = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else None
        channels = stem_channels
        self.stages: list[str] = []  # names of the stages, in order
        for i, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            strides = [1 if i == 1 else 2] + [1] * (count - 1)
            stage_blocks = []
            for stride in strides:
                stage_blocks.append(block(channels, width, stride, batch_norm=batch_norm, **block_options))
                channels = width * block.expansion
            stage = nn.Sequential(*stage_blocks)
            stage.checkpoint_every = checkpoint_every
            setattr(self, f"layer{i}", stage)
            self.stages.append(f"layer{i}")
        if preactivation:
            self.bn_last: Normalization = normalization(channels, batch_norm)
            self.relu_last: nn.ReLU = nn.ReLU()
        self.avgpool: nn.GlobalAvgPool2d = nn.GlobalAvgPool2d()
        self.fc: nn.Linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, num_classes)."""
        y = self.conv1(x)
        if not self.preactivation:
            y = self.bn1(y)
            y = self.relu(y)
        if self.maxpool is not None:
            y = self.maxpool(y)
        for stage in self.stages:
            y = getattr(self, stage)(y)
        if self.preactivation:
            y = self.bn_last(y)
            y = self.relu_last(y)
        y = self.avgpool(y)
        return self.fc(y)
