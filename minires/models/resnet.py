"""`ResNet`: a stem, stages of blocks, average pooling and a linear classifier; plain where its blocks have no shortcut."""
from minires import nn
from minires.models.block import convolution, normalization


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
    """

    def __init__(self, block, blocks, widths, in_channels, num_classes, stem, preactivation, batch_norm,
                 checkpoint_every=None, **block_options):
        super().__init__()
        stem_channels = widths[0]
        if stem == "imagenet":
            self.conv1 = convolution(in_channels, stem_channels, 7, stride=2)
        else:
            self.conv1 = convolution(in_channels, stem_channels, 3)
        self.preactivation = preactivation
        if not preactivation:
            self.bn1 = normalization(stem_channels, batch_norm)
            self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else None
        channels = stem_channels
        self.stages = []  # names of the stages, in order
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
            self.bn_last = normalization(channels, batch_norm)
            self.relu_last = nn.ReLU()
        self.avgpool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
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
