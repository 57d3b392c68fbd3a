"""The gradient recorder: how large the gradient is at each layer, in each backward pass.

    with mr.record_gradients(model, optimizer) as record:
        ...                                     # forward, loss.backward(), optimizer.step(), as often as you like
    mr.plot.gradient_norms([record])

The flow through the shortcuts is measured in shortcut_flow.py.
"""
from __future__ import annotations

import importlib
import itertools
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from minires.arguments import flag
from minires.arrays.backend import Array, array_module, beside, use_device_of
from minires.arrays.norms import euclidean_norm, ratio
from minires.engine.backward import BackwardStep
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, DTypeError
from minires.models import Block
from minires.nn import Module
from minires.ops.shortcut import ShortcutAdd
from minires.optim import Optimizer
from minires.recording.activations import statistics
from minires.recording.histograms import Histograms, checked_edges, count
from minires.recording.numbers import ACTIVATION_QUANTITIES, Key, PassNumbers
from minires.recording.pass_graph import PassGraph
from minires.recording.record import GradientRecord
from minires.recording.running_pass import running_pass
from minires.recording.shortcut_flow import ShortcutFlow
from minires.recording.uses import Layout, Use, in_forward_order, numbers_of, tensors_of


class TorchModule(Protocol):
    """A `torch.nn.Module`, known by what only those have: to name its class, torch would have to be imported."""

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Any:
        """As in PyTorch."""


class TorchOptimizer(Protocol):
    """A `torch.optim.Optimizer`."""

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Any:
        """As in PyTorch."""


class TorchScaler(Protocol):
    """A `torch.amp.GradScaler`."""

    def get_scale(self) -> float:
        """As in PyTorch."""
        ...


def record_gradients(model: Module | TorchModule, optimizer: Optimizer | TorchOptimizer | None = None,
                     shortcut_flow: bool = False, activations: bool = False, histograms: bool | Sequence[float] = False,
                     *, grad_scaler: TorchScaler | None = None) -> GradientRecorder:
    """A `with` block whose backward passes through `model` are recorded, layer by layer.

    Args:
        model: the `nn.Module` to watch; each of its named modules that makes an output gets a column. One that returns
            its input, such as `nn.Identity`, makes none. A module that ran several times before one backward pass has a
            column for each of these uses, "cell", "cell@2", "cell@3", counted in forward order among those that the pass
            reaches; its weight is recorded in the first. Where a module returns tensors in a tuple, a list or a dict, its
            column has the norm of all their gradients together, and each tensor one of its own, "cell[0]", "cell@2[0]",
            'cell["key"]'. A module whose output has no known form is named in a warning.
        optimizer: give it to have `update_ratio` recorded at its first step after each pass; NaN without.
        shortcut_flow: record also, for each block with a shortcut, how much of the gradient that reaches its input came
            through the shortcut and how much through the branch: `flow_through_shortcut`, `flow_through_branch`,
            `flow_together`, `flow_cosine`. So for any module that calls `ops.shortcut_add` once. Where one does so several
            times, or the net itself does, each add gets a column, such as "shortcut_add1"; it is measured where its two
            ways part.
        activations: record also, of each column's output, the mean, the standard deviation and the share of exact zeros:
            `activation_mean`, `activation_std`, `activation_zeros`. They take one more look at each output.
        histograms: record also how many elements of each gradient have which size |g|: True counts them by half decades,
            from 1e-16 to 1e4; or give the edges of the bins, rising. Zeros, and what is not finite, are counted apart, and
            so is what lies below the first edge or above the last. See `record.output_grad_histogram`; its memory is 8 bytes
            × (edges + 3) × columns × passes, 27 KB a pass for 77 columns. Each pass takes many looks at each gradient, and
            waits for a GPU.
        grad_scaler: of a PyTorch model in mixed precision, the `torch.amp.GradScaler` that scales its loss: its scale is
            taken out of the recorded gradients.

    A `torch.nn.Module` is recorded in the same way, with an optimizer of `torch.optim`: see torch_recorder.py for what
    PyTorch adds, torch_support.py for what of it cannot be recorded, and torch_shortcuts.py for what is a shortcut there.

    Returns:
        A context manager that yields a `GradientRecord`, which fills as backward passes run.

    Raises:
        DTypeError: `model` is no module, or `optimizer` is no optimizer.
        ArgumentError: `shortcut_flow` or `activations` is neither True nor False, `histograms` neither that nor edges; or
            the PyTorch model is one that cannot be recorded.
    """
    shortcut_flow = flag("record_gradients", "shortcut_flow", shortcut_flow)
    activations = flag("record_gradients", "activations", activations)
    edges = checked_edges("record_gradients", histograms)
    if isinstance(model, getattr(sys.modules.get("torch.nn"), "Module", ())):  # torch is there before its model
        torch_recorder: Any = importlib.import_module("minires.recording.torch_recorder")
        return torch_recorder.TorchRecorder(model, optimizer, shortcut_flow, activations, edges, grad_scaler)
    if not isinstance(model, Module):
        raise DTypeError(f"record_gradients: got a {type(model).__name__}, expected a model (an nn.Module)")
    if optimizer is not None and not hasattr(optimizer, "hooks"):
        raise DTypeError(f"record_gradients: optimizer is a {type(optimizer).__name__}, expected an optimizer such as "
                         "optim.SGD(model.parameters(), …)")
    if grad_scaler is not None:
        raise ArgumentError("record_gradients: grad_scaler is for a PyTorch model in mixed precision, and this model is one "
                            "of minires: leave it out")
    own_optimizer: Any = optimizer
    return GradientRecorder(model, own_optimizer, shortcut_flow, activations, edges)


OF_WEIGHTS = ("weight_grad_norm", "weight_norm", "update_ratio")


class RunningPass:
    """What has arrived so far in a backward pass: all arrays are 0-d, on the net's device."""

    def __init__(self) -> None:
        # norms of the gradients of tensors, in the order in which they arrived, each with the uses that returned the tensor
        # and what part of their outputs it is: ([(use, part)], norm)
        self.arrived: list[tuple[list[tuple[Use, str | None]], Array]] = []
        self.of_weights: list[tuple[int, Array, Array]] = []  # (id of a weight, norm of its gradient, norm of itself)
        self.counts: list[tuple[list[tuple[Use, str | None]], Array]] = []  # those of a gradient, whose outputs' it is
        self.graph: PassGraph | None = None  # where what ran since the last pass has no place on a known graph


class GradientRecorder(BackwardHook):
    """Fills a `GradientRecord` while its `with` block runs. Use `record_gradients`.

    Forward hooks on the modules note which tensor is which module's output; the backward pass then shows this hook each
    output's complete gradient just before it is used. Nothing is kept alive, and no array is copied but the weights
    around an optimizer's step.
    """

    _frames_to_the_call = 4  # from a warning to the line that ran the module
    _has_arrays = True  # are the numbers of a pass 0-d arrays already?

    def __init__(self, model: Module, optimizer: Optimizer | None = None, shortcut_flow: bool = False,
                 activations: bool = False, edges: np.ndarray | None = None) -> None:
        self.model = model
        self.optimizer: Optimizer | None = optimizer
        self.record: GradientRecord = GradientRecord()
        self._flow = ShortcutFlow() if shortcut_flow else None
        self._activations = activations
        self._histograms = self.record.passes.histograms = None if edges is None else Histograms(edges)
        self._names = {id(module): name for name, module in model.named_modules()}
        self._modules = [module for name, module in model.named_modules() if name or shortcut_flow]
        shortcuts = [block.downsample for block in self._modules if isinstance(block, Block)]
        self._on_shortcuts = {id(module) for shortcut in shortcuts if shortcut is not None
                              for _name, module in shortcut.named_modules()}
        self._layout = Layout(self.record.columns, self._names.values())
        self._clock = itertools.count(1)  # ticks once a use
        self._ran: dict[str, int] = {}  # how often each module ran since the last pass
        self._is_new = False  # was any of that a use of which nobody knows what it was computed from?
        self._looks_at_graphs = False  # does a pass run for which that was so?
        self._frozen: dict[str, None] = {}  # the layers without a gradient that ran since the last use, in order
        self._warned: set[str] = set()  # names of the modules whose output cannot be recorded
        self._outputs: weakref.WeakKeyDictionary[Op, list[tuple[Use, str | None]]] = weakref.WeakKeyDictionary()
        self._weights: dict[int, tuple[Tensor, dict[str, list[Key]]]] = {}  # id(weight) -> (it, what the numbers are called)
        self._passes: dict[int, RunningPass] = {}  # those that run, or were left; several where they take turns
        self._only_pass: RunningPass | None = None  # where there is one of them: nobody has to ask which one runs
        self._keys: dict[tuple[str, str, int, str], Key] = {}  # (quantity, module, use, part) -> what it is in the record
        self._before_update: dict[int, Array] = {}  # id(weight) -> copy of its array
        self._awaits_update = False  # has the last pass no update ratio yet?
        self._thread = threading.local()  # .watched: does this hook stand among those of the thread?
        self._is_open = False

    def __deepcopy__(self, memo: object) -> GradientRecorder:
        """A copy of a watched net has this hook too, which passes over all but its own modules."""
        return self

    def __enter__(self) -> GradientRecord:
        for module in self._modules:
            module.forward_hooks.append(self._after_forward)
        if self.optimizer is not None:
            self.optimizer.hooks.append(self)
        self._is_open = True
        self._watch_this_thread()
        return self.record

    def __exit__(self, *exception: object) -> None:
        self._is_open = False
        self._leave_this_thread()
        self._passes.clear()
        self._only_pass = None
        for module in self._modules:
            if self._after_forward in module.forward_hooks:  # else somebody has cleared the list
                module.forward_hooks.remove(self._after_forward)
        if self.optimizer is not None and self in self.optimizer.hooks:
            self.optimizer.hooks.remove(self)

    def _watch_this_thread(self):
        """Hooks are of a thread: where a net is trained in another one than the block's, they are set there too."""
        self._thread.watched = True
        if self._flow is not None:
            self._flow.__enter__()  # before this hook, whose end_of_pass takes the row
        super().__enter__()

    def _leave_this_thread(self):
        self._thread.watched = False
        super().__exit__()
        if self._flow is not None:
            self._flow.__exit__()

    # ---- the forward pass

    def _after_forward(self, module, inputs, output):
        name = self._names.get(id(module))
        if name is None or not self._is_open:
            return  # a copy of a module that is watched
        if not getattr(self._thread, "watched", False):
            self._watch_this_thread()
        outputs, unknown = self._own_outputs(inputs, output)
        if unknown and name and state.grad_enabled:
            self._warn_once(name, unknown[0])
        if not outputs:
            self._note_frozen(name, module)
            return
        use = self._use_of(name, outputs) if name else None
        if self._activations and use is not None:
            use.activations = activations_of(_arrays_of(outputs), statistics)
        if self._flow is not None:
            self._note_adds(self._flow, self._flow.after_module(module, name, inputs, output, use))
        if use is not None:  # else this is the net itself
            self._note_use(use, module, outputs)

    def _note_use(self, use, module, outputs):
        """From now on the backward pass knows whose outputs these are, and whose weight."""
        if not self._layout.has(use.name):
            self._know(use.name, module)
            self._layout.append(use)
        for part, op in outputs:
            self._outputs.setdefault(op, []).append((use, part))
        for weight in self._weights_of(module):
            if weight.op is None:
                self._note_weight(weight, use.name)

    def _weights_of(self, module):
        """Its `weight`; of a layer of one's own that has none, all its kernels and matrices."""
        weight = vars(module).get("weight")  # without a search for what is not there
        if isinstance(weight, Tensor):
            return [weight]
        matrices = [parameter for _, parameter in module.own_parameters() if parameter.ndim >= 2]
        return [] if matrices and any(module.children()) else matrices  # a block's are no layer's

    def _is_layer(self, module):
        """Is its weight a kernel or a matrix?"""
        return any(weight.ndim >= 2 for weight in self._weights_of(module))

    def _is_rebuilding(self):
        """Does a checkpoint run its part again, in the backward pass?"""
        return state.rebuilding is not None

    def _note_weight(self, weight, name):
        """Modules may share a weight; its numbers stand at each, in the column of the first use."""
        if id(weight) not in self._weights:
            self._weights[id(weight)] = weight, {quantity: [] for quantity in OF_WEIGHTS}
        keys = self._weights[id(weight)][1]
        if ("weight_norm", name) not in keys["weight_norm"]:
            for quantity in OF_WEIGHTS:
                keys[quantity].append((quantity, name))

    def _own_outputs(self, inputs, output):
        """([(part, op)] of the tensors that the module made and whose gradient may come, what may hold others).

        A tensor that it was given, as `nn.Identity` returns it, is the output of the module before.
        """
        if isinstance(output, Tensor):
            if output.op is None:
                return [], []
            for x in inputs:
                if x is output or _holds(x, output):
                    return [], []
            return [("", output.op)], []
        found, unknown = tensors_of(output)
        made = [(part, x) for part, x in found if x.op is not None]
        given = {id(x.tensor) for x in tensors_of(inputs)[0]} if made else set()
        return [(part, x.op) for part, x in made if id(x) not in given], unknown

    def _use_of(self, name, outputs):
        """This run of a module."""
        parts = tuple([part for part, _ in outputs if part])
        time = None if self._is_rebuilding() else (next(self._clock), 0)
        frozen = () if name in self._frozen else tuple(self._frozen)  # if so, what ran before was of another forward
        self._frozen.clear()
        self._ran[name] = number = self._ran.get(name, 0) + 1
        self._is_new = self._is_new or not self._layout.knows_before(name, number)
        return Use(name, time, ("", *parts), frozen)

    def _know(self, name, module):
        is_layer = self._is_layer(module)  # those on shortcuts do not count: a residual net is as deep as its plain twin
        self._layout.know(name, type(module), is_layer, is_layer and id(module) not in self._on_shortcuts)

    def _note_frozen(self, name, module):
        """A module ran of which no gradient is wanted: it has no column, but where it is a layer, what follows is deeper."""
        if name in self._frozen:
            self._frozen.clear()  # another forward has begun
        if name and self._is_layer(module) and not self._is_rebuilding() and id(module) not in self._on_shortcuts:
            self._know(name, module)
            self._frozen[name] = None

    def _note_adds(self, flow, adds):
        """Note the uses of shortcut-adds that have a name of their own; they stand behind the modules before them."""
        for i, (name, (add, before, after)) in enumerate(adds.items()):
            earlier, later = self._times_at(before), self._times_at(after)
            time = max(earlier) if earlier else min(later) - 1 if later else next(self._clock)
            use = Use(name, None if state.rebuilding else (time, i + 1))
            self._layout.know(name, ShortcutAdd, False, False)
            self._outputs.setdefault(add, []).append((use, None))
            flow.name_use(add, use)

    def _times_at(self, ops):
        """When the modules ran whose outputs are those of these ops."""
        return [use.time[0] for op in ops for use, part in self._outputs.get(op, ())
                if part is not None and use.time is not None]

    def _warn_once(self, name, what):
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(f"record_gradients: {name!r} returned a {type(what).__name__}, whose gradient cannot be recorded: "
                          "return a tensor, or tensors in a tuple, a list or a dict", stacklevel=self._frames_to_the_call)

    # ---- the backward pass

    def start_of_pass(self, root: Tensor) -> None:
        """Forget what a pass that was left may have had."""
        if not self._is_open:
            self._leave_this_thread()
            return
        self._frozen.clear()
        one = self._passes[running_pass()] = RunningPass()
        one.graph = PassGraph() if self._is_new else None
        self._only_pass = one if len(self._passes) == 1 else None
        self._looks_at_graphs = self._looks_at_graphs or self._is_new

    def before_step(self, step: BackwardStep) -> None:
        """The gradient of a module's output is complete."""
        uses = self._outputs.get(step.op)
        if uses is None and not self._looks_at_graphs:
            return
        one = self._only_pass or self._passes.get(running_pass())
        if one is None:
            return  # a pass that began before the block
        if one.graph is not None:
            one.graph.see(step.op, [use for use, _ in uses or ()])
        if uses is not None:
            one.arrived.append((uses, euclidean_norm(step.grad_output)))
            if self._histograms is not None:
                one.counts.append((uses, count(step.grad_output, self._histograms.edges)))

    def after_rebuild(self, op: Op, last: Op) -> None:
        """What returned a checkpointed part's output, a stage of a net say, returned that of the op which makes it now."""
        if op in self._outputs:
            self._outputs.setdefault(last, []).extend(self._outputs[op])
        one = self._only_pass or self._passes.get(running_pass())
        if one is not None and one.graph is not None:
            one.graph.move(op, last)

    def leaf_gradient(self, leaf: Tensor, gradient: Array) -> None:
        """The gradient of a weight is complete."""
        if id(leaf) not in self._weights:
            return
        one = self._only_pass or self._passes.get(running_pass())
        if one is not None:
            one.of_weights.append((id(leaf), euclidean_norm(gradient), euclidean_norm(leaf.data)))

    def end_of_pass(self) -> None:
        """Add the numbers of this pass; a pass through another model adds none."""
        running = running_pass()
        one = self._passes.pop(running, None)
        self._only_pass = None
        if self._looks_at_graphs:
            self._looks_at_graphs = any(other.graph is not None for other in self._passes.values())
        if one is not None and (one.arrived or one.of_weights):
            self._add_row(one, [] if self._flow is None else self._flow.numbers(running))

    def _add_row(self, one, flow):
        """Add the numbers of a pass to the record; `flow` is what was measured at its shortcuts."""
        arrived, of_uses = _of_uses(one)
        uses = in_forward_order(arrived)
        number = numbers_of(uses)
        self._layout.follow(uses, number, None if one.graph is None else one.graph.before)
        self._ran.clear()
        self._is_new = False
        for quantity, use, norm in flow:
            if use in number:
                of_uses.append((quantity, use, "", norm))
        for use in uses if self._activations else ():
            of_uses += [(quantity, use, part, number) for quantity, part, number in use.activations]
        found = self._of_weights(one)
        for quantity, use, part, norm in of_uses:
            place = quantity, use.name, number[use], part
            if place not in self._keys:
                self._keys[place] = quantity, self._layout.column_name(*place[1:])
            found.append((self._keys[place], norm))
        numbers = PassNumbers()
        numbers.add(found if self._has_arrays else self._as_arrays(found))
        self.record.passes.add(numbers)
        if self._histograms is not None:
            self._histograms.add([(self._layout.column_name(use.name, number[use], part), counts)
                                  for uses, counts in one.counts for use, part in _counted(uses)])
        self._awaits_update = True

    def _of_weights(self, one):
        """[(key, number)] of the weights whose gradients arrived."""
        found = []
        for weight, gradient_norm, weight_norm in one.of_weights:
            keys = self._weights[weight][1]
            for quantity, norm in (("weight_grad_norm", gradient_norm), ("weight_norm", weight_norm)):
                for key in keys[quantity]:
                    found.append((key, norm))
        return found

    def _as_arrays(self, numbers):
        """[(key, number)] with the numbers as 0-d arrays of NumPy or CuPy: as they are."""
        return numbers

    # ---- the optimizer

    def before_update(self, optimizer: Optimizer) -> None:
        """Keep the weights, to know how far the optimizer moves them: in its first step after a pass."""
        if self._awaits_update:
            for place, (weight, _keys) in self._weights.items():
                self._before_update[place] = self._copy_of(weight)

    def after_update(self, optimizer: Optimizer) -> None:
        """Add the update ratio to the numbers of the last pass."""
        norms: dict[Key, tuple[Array, Array]] = {}  # of the moves of a column's weights, and of these before
        for place, before in self._before_update.items():
            weight, keys = self._weights[place]
            one = self._move(weight, before)
            for key in keys["update_ratio"]:
                norms[key] = one if key not in norms else self._together(norms[key], one)
        self._before_update = {}
        self._awaits_update = False
        self.record.passes.add_to_last(self._as_arrays([(key, self._ratio(*of_key)) for key, of_key in norms.items()]))

    def _copy_of(self, weight):
        use_device_of(weight.data)
        return weight.data.copy()

    def _ratio(self, moved, before):
        """‖W - W before‖ / ‖W before‖, NaN where the weight was 0."""
        use_device_of(before)
        return ratio(moved, before)

    def _move(self, weight, before):
        """(‖W - W before‖, ‖W before‖)."""
        use_device_of(weight.data)
        return euclidean_norm(weight.data - before), euclidean_norm(before)

    def _together(self, norms, others):
        """The norms of two arrays together, for each pair."""
        xp = array_module(norms[0])
        use_device_of(norms[0])
        return tuple(xp.hypot(one, beside(other, one)) for one, other in zip(norms, others, strict=True))


def _of_uses(one):
    """(the uses whose gradients arrived, in that order; [(quantity, use, part of its output, number)] of them)."""
    arrived, of_uses = [], []
    for uses, norm in one.arrived:
        last = None
        for use, part in reversed(uses):  # the last to run first, as gradients arrive
            arrived.append(use)
            if part is not None and use is not last:  # else it returned one tensor twice
                of_uses.append(("output_grad_norm", use, "", norm))
            if part:
                of_uses.append(("output_grad_norm", use, part, norm))
            last = use
    return arrived, of_uses


def _counted(uses):
    """[(use, part)] of the columns to which a gradient's counts belong: once to all of a use's tensors together."""
    together = dict.fromkeys((use, "") for use, part in uses if part is not None)
    return [*together, *[(use, part) for use, part in uses if part]]


def _arrays_of(outputs):
    """[(part, array)] of what a module returned, [(part, op)]."""
    return [(part, op.output.data) for part, op in outputs]


def activations_of(arrays: Sequence[tuple[str, Any]], statistics: Callable[[list[Any]], Sequence[Any]]) -> list[Any]:
    """[(quantity, part, number)] of what a module returned, [(part, array)]: of all its arrays together, and of each."""
    together = list({id(x): x for _, x in arrays}.values())  # it may return one tensor twice
    return [(quantity, part, number) for part, those in [("", together), *[(part, [x]) for part, x in arrays if part]]
            for quantity, number in zip(ACTIVATION_QUANTITIES, statistics(those), strict=True)]


def _holds(value, tensor):
    """Is this tensor in a tuple, a list or a dict?"""
    return isinstance(value, (tuple, list, dict)) and any(x is tensor for _, x in tensors_of(value)[0])
