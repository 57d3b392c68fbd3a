"""`Module`: a part of a net, with its parameters, its buffers, its children, and a name for each of them."""
from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minires.arguments import flag, floating_dtype, shown, state_of
from minires.arrays.backend import (
    Array,
    array_module,
    as_host_array,
    device_of,
    is_writable,
    read_only,
    to_device,
    to_host,
    usable_device,
)
from minires.engine.hooks import BackwardHook
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError, ModuleError, StateError
from minires.nn.parameter import Parameter

IGNORED_KEY = "num_batches_tracked"  # PyTorch's batch norm counts its batches; nothing here needs the count


class Module:
    """A part of a net: subclasses make their layers in `__init__` and use them in `forward(*inputs)`.

    What is assigned to an attribute is registered, in order: a `Module` as a child, an `nn.Parameter`, or a leaf `Tensor`
    with `requires_grad=True`, as a parameter. Each module knows its dotted name from the root of the net, `path`
    ("layer2.0.conv1"; "" for the root), and gives its parameters theirs ("layer2.0.conv1.weight").
    A module under two parents keeps its first name, and a tensor that came with a name keeps that.

    Attributes:
        path: the dotted name.
        is_named_by_parent: is it a part of another module, from which its name comes?
        training: True while training, False in evaluation; set by `train()` and `eval()`.
        forward_hooks: a list of callables `hook(module, inputs, output)`, called after each forward; what one returns
            takes the place of the output, if it is a tensor or holds one. `inputs` are those of the call, first those by
            position, then those by keyword.
    """

    is_drawn_as_weight: bool = True  # does `nn.init.initialize_` draw what is called "weight", if it has two axes or more?
    path: str
    is_named_by_parent: bool
    training: bool
    forward_hooks: list[Callable[..., Any]]
    _parameter_names: list[str]
    _buffer_names: list[str]
    _child_names: list[str]
    _named_by_this: set[str]  # the children and parameters whose dotted name comes from here

    def __init__(self) -> None:
        self.__dict__.update(  # not by assignment, which asks these lists
            _parameter_names=[], _buffer_names=[], _child_names=[], _named_by_this=set(), is_named_by_parent=False)
        self.path = ""
        self.training = True
        self.forward_hooks = []

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Run `forward`; ops and errors know meanwhile which layer runs.

        Returns what `forward` returned, or what a forward hook put in its place.
        """
        outer = state.layer
        state.layer = self.path or outer
        try:
            output = self.forward(*inputs, **options)
        finally:
            state.layer = outer
        if self.path and isinstance(output, Tensor) and output.name is None and output.op is not None:
            output.name = self.path
        for hook in list(self.forward_hooks):  # as it is now: a hook may remove itself
            replaced = hook(self, (*inputs, *options.values()), output)
            if any(isinstance(part, Tensor) for part in _parts_of(replaced)):
                output = replaced
        return output

    def __getstate__(self) -> dict[str, Any]:
        """What `copy` and `pickle` keep: all but the hooks of a recording, which belong to its block."""
        hooks = [hook for hook in self.forward_hooks if not isinstance(getattr(hook, "__self__", None), BackwardHook)]
        return {**self.__dict__, "forward_hooks": hooks}

    def _no_forward(self, *inputs: Any) -> Tensor:
        """The arithmetic of this module, on tensors. Subclasses define it."""
        raise ModuleError(f"{type(self).__name__}: has no forward: define forward(self, x) in the class")

    forward: Callable[..., Any] = _no_forward  # of any arguments, so that a subclass may have its own

    # ---- what belongs to this module

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of this module and of all below it, each once (an iterator)."""
        for _name, parameter in self.named_parameters():
            yield parameter

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(name, parameter) pairs; names are relative to this module."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, parameter in module.own_parameters():
                if id(parameter) not in seen:  # tied weights are one parameter
                    seen.add(id(parameter))
                    yield _dotted(prefix, name), parameter
        for prefix, module in self.named_modules():
            refuse_hidden_parts(module, prefix, seen)

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """(name, array) pairs of what is saved but not trained, such as running statistics."""
        for prefix, module in self.named_modules():
            for name, buffer in module.own_buffers():
                yield _dotted(prefix, name), buffer

    def own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(name, parameter) pairs of this module alone."""
        for name in self._parameter_names:
            yield name, getattr(self, name)

    def own_buffers(self) -> Iterator[tuple[str, Array]]:
        """(name, array) pairs of the buffers of this module alone."""
        for name in self._buffer_names:
            yield name, getattr(self, name)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(name, module) pairs: this module first, as "", then all below it in order of registration, each once."""
        seen = {id(self)}
        stack = [("", self)]
        while stack:
            prefix, module = stack.pop()
            yield prefix, module
            below = []
            for name, child in module.named_children():
                if id(child) not in seen:
                    seen.add(id(child))
                    below.append((_dotted(prefix, name), child))
            stack.extend(reversed(below))

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, in order (an iterator)."""
        for _name, child in self.named_children():
            yield child

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) pairs of the modules directly below this one."""
        for name in self._child_names:
            yield name, getattr(self, name)

    def register_buffer(self, name: str, array: Array) -> None:
        """Make `array` an attribute that is saved, moved and cast with the module, but not trained."""
        array_module(array)  # raises where this is neither NumPy's nor CuPy's
        self._check_name(name)
        if name not in self._buffer_names:
            self._buffer_names.append(name)
        object.__setattr__(self, name, array)

    # ---- saving and loading

    def state_dict(self) -> dict[str, np.ndarray]:
        """{dotted name: copy as a NumPy array on the host} of all parameters and buffers."""
        return {name: np.array(to_host(array), order="C") for name, array in self._named_arrays()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy the values of a state dict into the parameters and buffers, in place.

        Args:
            state_dict: {dotted name: array}; `num_batches_tracked` entries of PyTorch are passed over.
            strict: must the names be exactly this module's? If not, only the names in common are copied.

        Raises:
            StateError: this is no dict of arrays; or names are missing or unexpected, or shapes differ: all are listed, and
                nothing was changed.
        """
        strict = flag("load_state_dict", "strict", strict)
        given = {name: _host_array(name, value) for name, value in state_of(state_dict).items()
                 if name.rpartition(".")[2] != IGNORED_KEY}
        own = dict(self._named_arrays())
        problems = [f"{name}: has shape {given[name].shape}, expected {own[name].shape}"
                    for name in own if name in given and given[name].shape != own[name].shape]
        problems += [f"{name}: holds numbers that are too large for {own[name].dtype}" for name in own
                     if name in given and does_overflow(given[name], own[name].dtype)]
        if strict:
            problems += [f"{name}: is missing" for name in own if name not in given]
            problems += [f"{name}: is unexpected" for name in given if name not in own]
        if problems:
            raise StateError("\n  ".join([f"load_state_dict: this does not fit the {type(self).__name__}, "
                                          "of which nothing was changed:", *problems]))
        shared = {name: values for name, values in given.items() if name in own}
        for name in shared:
            if not is_writable(own[name]):
                raise read_only(f"load_state_dict: {name}")
        for name, values in shared.items():
            write_array(f"load_state_dict: {name}", own[name], values)

    def _named_arrays(self):
        """(name, array) pairs of parameters and buffers, module by module, as PyTorch orders them."""
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        for prefix, module in self.named_modules():
            for name in [_dotted(prefix, name) for name, _ in module.own_parameters()]:
                if name in parameters:
                    yield name, parameters[name].data
            for name in [_dotted(prefix, name) for name, _ in module.own_buffers()]:
                yield name, buffers[name]

    # ---- switching, moving, casting

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below: batch norm then uses the batch's statistics. Returns the module."""
        mode = flag("train", "mode", mode)
        for _name, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Clear `training` here and below: batch norm then uses its running statistics. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every parameter's `grad` to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Self:
        """Move parameters, their gradients and buffers to "cpu", "cuda", "cuda:1", all or none, in place. Returns it.

        Raises:
            DeviceError: the device cannot be used; the message says why.
        """
        device = usable_device(device)  # before anything moves, and for a module that holds nothing
        places = [(parameter, name) for parameter in self.parameters() for name in ("data", "grad")] + self._buffer_places()
        copies = [to_device(getattr(owner, name), device) if getattr(owner, name) is not None else None
                  for owner, name in places]  # all of them before the first is put in place: memory may end
        for (owner, name), copy in zip(places, copies, strict=True):
            setattr(owner, name, copy)
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Cast parameters, their gradients and buffers to np.float32 or np.float64, in place. Returns the module.

        Raises:
            DTypeError: the dtype is neither.
        """
        dtype = floating_dtype("astype", dtype)
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype, copy=False)
            if parameter.grad is not None:
                parameter.grad = parameter.grad.astype(dtype, copy=False)
        for module, name in self._buffer_places():
            setattr(module, name, getattr(module, name).astype(dtype, copy=False))
        return self

    def _buffer_places(self):
        return [(module, name) for _prefix, module in self.named_modules() for name, _ in module.own_buffers()]

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        """Register a module or parameter under `name`, in order; anything else is a plain attribute."""
        registry = self._registry_for(name, value)
        if registry is not None and name not in registry:
            self._check_name(name)
        self._release(name, registry)
        object.__setattr__(self, name, value)
        if registry is not None and name not in registry:
            registry.append(name)
        if isinstance(value, Module) and not value.is_named_by_parent:
            self._named_by_this.add(name)
            value.take_name(_dotted(self.path, name), from_parent=True)
        elif isinstance(value, Tensor) and registry is not None and value.name is None:
            self._named_by_this.add(name)
            value.name = _dotted(self.path, name)

    def __delattr__(self, name: str) -> None:
        self._release(name, None)
        object.__delattr__(self, name)

    def __getattr__(self, name: str) -> Any:
        """Only reached where there is no such attribute."""
        kind = type(self).__name__
        if "_named_by_this" not in self.__dict__ and not name.startswith("__"):
            raise ModuleError(f"{kind}: was not set up: call super().__init__() first in {kind}.__init__")
        near = difflib.get_close_matches(name, dir(self), n=3)
        raise ModuleError(f"{kind}{f' (layer {self.path!r})' if self.__dict__.get('path') else ''}: has no attribute "
                          f"{name!r}{': did you mean ' + ' or '.join(near) + '?' if near else ''}")

    def _registry_for(self, name, value):
        """The list of names to which `name` belongs once it holds `value`, or None for a plain attribute."""
        if isinstance(value, Module):
            if any(module is self for _name, module in value.named_modules()):
                raise ArgumentError(f"{type(self).__name__}: attribute {name!r}: a module cannot hold itself")
            return self._child_names
        if isinstance(value, Tensor):
            is_leaf = value.op is None
            is_parameter = value.requires_grad or isinstance(value, Parameter) or name in self._parameter_names
            return self._parameter_names if is_leaf and is_parameter else None
        if name in self._buffer_names and value is not None:
            array_module(value)  # raises where this is neither NumPy's nor CuPy's
            return self._buffer_names
        if name in self._parameter_names and value is not None:
            raise DTypeError(f"{type(self).__name__}: {name!r} is a parameter: got {type(value).__name__}, expected a "
                             f"Tensor with requires_grad=True. To change its values, write into {name}.data")
        if isinstance(value, (list, tuple)) and any(isinstance(x, Module) and not x.is_named_by_parent for x in value):
            raise ArgumentError(f"{type(self).__name__}: attribute {name!r}: the parameters of modules in a "
                                f"{type(value).__name__} would not be found: use nn.ModuleList(modules), or "
                                "nn.Sequential(*modules)")
        return None

    def _release(self, name, registry):
        """Forget what was registered under `name`, except its place in `registry`."""
        for names in (self._child_names, self._parameter_names, self._buffer_names):
            if name in names and names is not registry:
                names.remove(name)
        if name in self._named_by_this:
            self._named_by_this.remove(name)
            old = getattr(self, name)
            if isinstance(old, Module):  # it is a root now
                old.take_name("", from_parent=False)

    def take_name(self, path: str, from_parent: bool) -> None:
        """Take a new dotted name, and pass it on to all that is named by this module. Attributes are named so when set."""
        self.__dict__.update(path=path, is_named_by_parent=from_parent)
        for name in self._parameter_names:
            if name in self._named_by_this:
                getattr(self, name).name = _dotted(path, name)
        for name, child in self.named_children():
            if name in self._named_by_this:
                child.take_name(_dotted(path, name), from_parent=True)

    def _check_name(self, name):
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(f"{type(self).__name__}: {shown(name)} cannot name a part of a module: dots join the names "
                                "of the levels")
        if hasattr(Module, name) or name in ("path", "training", "forward_hooks", "is_named_by_parent"):
            raise ArgumentError(f"{type(self).__name__}: the attribute {name!r} has a meaning for every module: "
                                "choose another name")

    # ---- text

    def extra_repr(self) -> str:
        """The arguments shown in parentheses after the class name. Subclasses override it."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n  ".join([f"{type(self).__name__}({self.extra_repr()}", *lines]) + "\n)"


def refuse_hidden_parts(module: Module, path: str, found: set[int]) -> None:
    """Raise where a list, a tuple, a set or a dict of a module holds modules or parameters that nothing else leads to.

    Args:
        module: whose attributes are looked at.
        path: its name, for the message.
        found: ids of the parameters that were found as attributes of modules.

    Raises:
        ArgumentError: they would not be trained, saved, moved or recorded.
    """
    for name, value in vars(module).items():
        if name in ("forward_hooks", "_named_by_this") or not isinstance(value, (list, tuple, set, dict)):
            continue
        for part in _parts_of(value):
            is_hidden = (not part.is_named_by_parent if isinstance(part, Module) else
                         part.op is None and part.requires_grad and id(part) not in found)
            if is_hidden:
                kind = "nn.ModuleDict({name: module})" if isinstance(value, dict) else "nn.ModuleList(modules)"
                remedy = kind if isinstance(part, Module) else "setattr(self, name, tensor) for each"
                raise ArgumentError(f"{type(module).__name__}: attribute {_dotted(path, name)!r}: {part!r} in a "
                                    f"{type(value).__name__} would not be found, and so not trained, saved or recorded: use "
                                    f"{remedy}")


def _parts_of(value):
    """The modules and tensors in lists, tuples, sets and dicts, however deep."""
    stack, seen = [value], set()
    while stack:
        each = stack.pop()
        if isinstance(each, (Module, Tensor)):
            yield each
        elif isinstance(each, (list, tuple, set, dict)) and id(each) not in seen:
            seen.add(id(each))
            stack.extend(each.values() if isinstance(each, dict) else each)


def write_array(owner: str, array: Array, values: np.ndarray) -> None:
    """Copy host `values` into `array`, which keeps its dtype, its device and its identity; `owner` is for the error."""
    if not is_writable(array):
        raise read_only(owner)
    array[...] = to_device(values.astype(array.dtype, copy=False), device_of(array))


def _dotted(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def _host_array(name, value):
    """A value of a state dict, from whichever library, as a NumPy array of numbers."""
    array = as_host_array(value.data if isinstance(value, Tensor) else value, "load_state_dict", name)
    if array.dtype.kind not in "fiub":
        raise StateError(f"load_state_dict: {name} holds {array.dtype} values, expected an array of real numbers")
    return array


def does_overflow(values: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Would a finite one of these host values be infinite in this dtype?"""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((np.isfinite(values) & ~np.isfinite(values.astype(dtype))).any())
