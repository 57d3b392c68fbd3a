"""Groups of parameters with settings of their own: {"params": [tensor, …], "lr": 0.1, …}, as in PyTorch."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Self, TypeAlias, TypeVar, overload

from minires.arguments import list_of, number, shown
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError

Value = TypeVar("Value")
Parameters: TypeAlias = Iterable[Tensor | Mapping[str, Any]]  # tensors, or groups of them

EXPECTED = "a list of tensors: of a model, model.parameters()"


class Setting(Generic[Value]):
    """A setting as an attribute of its optimizer: that of the first group; setting it sets that of all groups.

    Args:
        check: of (owner, name, value), as those of `minires.arguments`: gives the value, or raises an ArgumentError.
    """

    def __init__(self, check: Callable[[str, str, Any], Value]) -> None:
        self.check: Callable[[str, str, Any], Value] = check
        self.name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Self: ...

    @overload
    def __get__(self, optimizer: Any, owner: type) -> Value: ...

    def __get__(self, optimizer: Any, owner: type) -> Self | Value:
        if optimizer is None:
            return self  # it was asked of the class
        return optimizer.param_groups[0][self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        """Raises an ArgumentError where the groups have had different ones: one value for all would undo that."""
        kind = type(optimizer).__name__
        values = [group[self.name] for group in optimizer.param_groups]
        if any(each != values[0] for each in values):
            raise ArgumentError(f"{kind}: {self.name} is {', '.join(map(str, values))} in the groups of parameters: set "
                                f"that of each, optimizer.param_groups[i][{self.name!r}]")
        value = self.check(kind, self.name, value)
        for group in optimizer.param_groups:
            group[self.name] = value


def pair_of_shares(owner: str, argument: str, value: Any) -> tuple[float, float]:
    """Two numbers from 0 to 1, 1 excluded, or an ArgumentError: `betas`."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(f"{owner}: {argument} is {shown(value)}, expected a pair of numbers from 0 to below 1")
    return share(owner, argument, value[0]), share(owner, argument, value[1])


def share(owner: str, argument: str, value: Any) -> float:
    """A number from 0 to 1, 1 excluded, or an ArgumentError: the part of a moving mean that stays in a step."""
    value = number(owner, argument, value, largest=1)
    if value == 1:
        raise ArgumentError(f"{owner}: {argument} is 1, expected a number below 1: a mean that keeps all of itself stays")
    return value


def setting_text(value: Any) -> str:
    """A setting as the `repr` of its optimizer shows it."""
    if isinstance(value, tuple):
        return f"({', '.join(map(setting_text, value))})"
    return str(value) if isinstance(value, bool) else f"{value:g}"


def parameter_groups(owner: str, params: Any, settings: Mapping[str, Any],
                     checks: Mapping[str, Callable[[str, str, Any], Any]]) -> list[dict[str, Any]]:
    """The groups of an optimizer: one of all parameters, or those of a list of dicts, with each setting checked.

    Args:
        owner: the optimizer's class, for errors.
        params: tensors, or dicts with "params" and settings of their own.
        settings: {name: value where a group has none of its own}.
        checks: {name: its check}.

    Raises:
        ArgumentError: a setting is not of its kind or not known, there are no parameters, or one is listed twice.
        DTypeError: something is not a tensor with requires_grad=True.
    """
    settings = {name: checks[name](owner, name, value) for name, value in settings.items()}
    listed = _listed(owner, params)
    if not any(isinstance(each, Mapping) for each in listed):
        groups = [{"params": _checked(owner, listed), **settings}]
    else:
        groups = [_group(owner, each, settings, checks) for each in listed]
    parameters = [parameter for group in groups for parameter in group["params"]]
    if not any(parameter.requires_grad for parameter in parameters):
        raise DTypeError(f"{owner}: none of the {len(parameters)} parameters, such as {parameters[0]!r}, wants a gradient: "
                         "expected leaf tensors with requires_grad=True, and only those that are frozen without")
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ArgumentError(f"{owner}: a parameter is listed twice: it would be moved twice in each step")
    return groups


def _group(owner, given, settings, checks):
    """One group of several, from the dict that was given."""
    if not isinstance(given, Mapping) or "params" not in given:
        raise DTypeError(f"{owner}: a group of parameters is {shown(given)}, expected a dict such as {{'params': "
                         "model.parameters(), 'lr': 0.1}: either all are dicts or none is")
    own = {name: value for name, value in given.items() if name != "params"}
    unknown = [str(name) for name in own if name not in settings]
    if unknown:
        raise ArgumentError(f"{owner}: a group of parameters has {', '.join(unknown)}, expected params and settings among "
                            f"{', '.join(settings)}")
    parameters = given["params"]
    parameters = [parameters] if isinstance(parameters, Tensor) else _listed(owner, parameters)
    return {"params": _checked(owner, parameters), **settings,
            **{name: checks[name](owner, name, value) for name, value in own.items()}}


def _listed(owner, params):
    """What was given as a list, not empty."""
    if isinstance(params, Tensor):
        raise DTypeError(f"{owner}: got one Tensor, expected a list of them: {owner}([tensor], …) or "
                         f"{owner}(model.parameters(), …)")
    if isinstance(params, Mapping):
        raise DTypeError(f"{owner}: got one dict, expected a list of tensors or of groups: {owner}([group, …], …)")
    if not isinstance(params, Iterable):
        raise DTypeError(f"{owner}: got a {type(params).__name__}, expected {EXPECTED}")
    params = list_of(owner, "params", params, object, EXPECTED)
    if not params:
        raise ArgumentError(f"{owner}: got no parameters. An iterator such as model.parameters() is empty after its first "
                            "use")
    return params


def _checked(owner, params):
    """The parameters of a group, each of them a leaf."""
    for parameter in params:
        if not isinstance(parameter, Tensor) or parameter.op is not None:
            raise DTypeError(f"{owner}: got {parameter!r}, expected leaf tensors with requires_grad=True")
    return params
