"""The published nets by name. Each takes the options of its family: `resnet20(seed=1)` is `cifar_net(20, seed=1)`."""
import inspect
from collections.abc import Callable
from typing import Any

from minires.arguments import is_one_of, nearest, shown
from minires.errors import ArgumentError, UnknownNameError
from minires.models.families import cifar_net, imagenet_net
from minires.models.resnet import ResNet


def resnet20(**options: Any) -> ResNet:
    """The residual net of 20 layers for CIFAR (He et al. 2015, table 6): 0.27 M parameters."""
    return cifar_net(20, **known(cifar_net, options))


def resnet32(**options: Any) -> ResNet:
    """The residual net of 32 layers for CIFAR (He et al. 2015, table 6): 0.46 M parameters."""
    return cifar_net(32, **known(cifar_net, options))


def resnet44(**options: Any) -> ResNet:
    """The residual net of 44 layers for CIFAR (He et al. 2015, table 6): 0.66 M parameters."""
    return cifar_net(44, **known(cifar_net, options))


def resnet56(**options: Any) -> ResNet:
    """The residual net of 56 layers for CIFAR (He et al. 2015, table 6): 0.85 M parameters."""
    return cifar_net(56, **known(cifar_net, options))


def resnet110(**options: Any) -> ResNet:
    """The residual net of 110 layers for CIFAR (He et al. 2015, table 6): 1.7 M parameters."""
    return cifar_net(110, **known(cifar_net, options))


def resnet1202(**options: Any) -> ResNet:
    """The residual net of 1202 layers for CIFAR (He et al. 2015, table 6): 19.4 M parameters."""
    return cifar_net(1202, **known(cifar_net, options))


def plain20(**options: Any) -> ResNet:
    """The plain twin of `resnet20`."""
    return cifar_net(20, residual=False, **known(cifar_net, options))


def plain32(**options: Any) -> ResNet:
    """The plain twin of `resnet32`."""
    return cifar_net(32, residual=False, **known(cifar_net, options))


def plain44(**options: Any) -> ResNet:
    """The plain twin of `resnet44`."""
    return cifar_net(44, residual=False, **known(cifar_net, options))


def plain56(**options: Any) -> ResNet:
    """The plain twin of `resnet56`."""
    return cifar_net(56, residual=False, **known(cifar_net, options))


def plain110(**options: Any) -> ResNet:
    """The plain twin of `resnet110`."""
    return cifar_net(110, residual=False, **known(cifar_net, options))


def resnet18(**options: Any) -> ResNet:
    """The residual net of 18 layers for ImageNet (He et al. 2015, table 1)."""
    return imagenet_net(18, **known(imagenet_net, options))


def resnet34(**options: Any) -> ResNet:
    """The residual net of 34 layers for ImageNet (He et al. 2015, table 1)."""
    return imagenet_net(34, **known(imagenet_net, options))


def resnet50(**options: Any) -> ResNet:
    """The residual net of 50 layers for ImageNet (He et al. 2015, table 1)."""
    return imagenet_net(50, **known(imagenet_net, options))


def resnet101(**options: Any) -> ResNet:
    """The residual net of 101 layers for ImageNet (He et al. 2015, table 1)."""
    return imagenet_net(101, **known(imagenet_net, options))


def resnet152(**options: Any) -> ResNet:
    """The residual net of 152 layers for ImageNet (He et al. 2015, table 1)."""
    return imagenet_net(152, **known(imagenet_net, options))


def plain18(**options: Any) -> ResNet:
    """The plain twin of `resnet18`."""
    return imagenet_net(18, residual=False, **known(imagenet_net, options))


def plain34(**options: Any) -> ResNet:
    """The plain twin of `resnet34`."""
    return imagenet_net(34, residual=False, **known(imagenet_net, options))


NAMED: dict[str, Callable[..., ResNet]] = {maker.__name__: maker for maker in (
    resnet18, resnet20, resnet32, resnet34, resnet44, resnet50, resnet56, resnet101, resnet110, resnet152,
    resnet1202, plain18, plain20, plain32, plain34, plain44, plain56, plain110,
)}


def make(name: str, **options: Any) -> ResNet:
    """The net of this name, such as "resnet20", with the options of its family.

    Raises:
        UnknownNameError: there is no such net; the message lists those that there are.
    """
    if not is_one_of(name, NAMED):
        raise UnknownNameError(f"unknown model {shown(name)}.{nearest(name, NAMED)} Known are {', '.join(NAMED)}")
    return NAMED[name](**options)


def known(family: Callable[..., ResNet], options: dict[str, Any]) -> dict[str, Any]:
    """The options, or an error that names the family's nearest one.

    Raises:
        ArgumentError: the family has no such option, or the net's name has decided it already (its depth).
    """
    names = [name for name in inspect.signature(family).parameters if name != "depth"]
    for option in options:
        if option not in names:
            raise ArgumentError(f"{family.__name__}: unknown option {option!r}.{nearest(option, names)} Known are "
                                f"{', '.join(names)}")
    return options
