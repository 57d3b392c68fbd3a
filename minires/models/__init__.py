"""Nets to look into: residual ones and their plain twins."""
from minires.models.block import (
    BasicBlock,
    Block,
    Bottleneck,
    PreactivationBasicBlock,
    PreactivationBottleneck,
    ZeroPadShortcut,
)
from minires.models.families import cifar_net, flat_net, imagenet_net
from minires.models.flat import FlatNet
from minires.models.named import (
    NAMED,
    make,
    plain110,
    plain18,
    plain20,
    plain32,
    plain34,
    plain44,
    plain56,
    resnet101,
    resnet110,
    resnet1202,
    resnet152,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
)
from minires.models.resnet import ResNet

__all__ = [
    "BasicBlock", "Block", "Bottleneck", "FlatNet", "NAMED", "PreactivationBasicBlock", "PreactivationBottleneck",
    "ResNet", "ZeroPadShortcut", "cifar_net", "flat_net", "imagenet_net", "make", "plain110", "plain18", "plain20",
    "plain32", "plain34", "plain44", "plain56", "resnet101", "resnet110", "resnet1202", "resnet152", "resnet18",
    "resnet20", "resnet32", "resnet34", "resnet44", "resnet50", "resnet56",
]
