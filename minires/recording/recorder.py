"""The gradient recorder: how large the gradient is at each layer, in each backward pass.

    with mr.record_gradients(model, optimizer) as record:
        ...                                     # forward, loss.backward(), optimizer.step(), as often as you like
    mr.plot.gradient_norms([record])

The flow through the shortcuts is measured in shortcut_flow.py.
"""
from __future__ import annotations

import weakref

from minires.arguments import flag
from minires.arrays.backend import Array, use_device_of
from minires.arrays.norms import euclidean_norm, ratio
from minires.engine.backward import BackwardStep
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.tensor import Tensor
from minires.errors import DTypeError
from minires.models import Block
from minires.nn import Module
from minires.ops.shortcut import ShortcutAdd
from minires.optim import SGD
from minires.recording.numbers import Key, PassNumbers
from minires.recording.record import Column, GradientRecord
from minires.recording.shortcut_flow import ShortcutFlow


def record_gradients(model: Module, optimizer: SGD | None = None, shortcut_flow: bool = False) -> GradientRecorder:
    """A `with` block whose backward passes through `model` are recorded, layer by layer.

    Args:
        model: the `nn.Module` to watch; each of its named modules that makes an output gets a column. One that returns
            its input, such as `nn.Identity`, makes none.
        optimizer: give it to have `update_ratio` recorded at each of its steps; NaN without.
        shortcut_flow: record also, for each block with a shortcut, how much of the gradient that reaches its input came
            through the shortcut and how much through the branch: `flow_through_shortcut`, `flow_through_branch`,
            `flow_together`, `flow_cosine`. So for any module that calls `ops.shortcut_add` once. Where one does so several
            times, or the net itself does, each add gets a column, such as "shortcut_add1"; it is measured where its two
            ways part.

    Returns:
        A context manager that yields a `GradientRecord`, which fills as backward passes run.

    Raises:
        DTypeError: `model` is no module, or `optimizer` is no optimizer.
        ArgumentError: `shortcut_flow` is neither True nor False.
    """
    if not isinstance(model, Module):
        raise DTypeError(f"record_gradients: got a {type(model).__name__}, expected a model (an nn.Module)")
    if optimizer is not None and not hasattr(optimizer, "hooks"):
        raise DTypeError(f"record_gradients: optimizer is a {type(optimizer).__name__}, expected an optimizer such as "
                         "optim.SGD(model.parameters(), …)")
    return GradientRecorder(model, optimizer, flag("record_gradients", "shortcut_flow", shortcut_flow))


class GradientRecorder(BackwardHook):
    """Fills a `GradientRecord` while its `with` block runs. Use `record_gradients`.

    Forward hooks on the modules note which tensor is which module's output; the backward pass then shows this hook each
    output's complete gradient just before it is used. Nothing is kept alive, and no array is copied but the weights
    around an optimizer's step.
    """

    def __init__(self, model: Module, optimizer: SGD | None = None, shortcut_flow: bool = False) -> None:
        self.model = model
        self.optimizer: SGD | None = optimizer
        self.record: GradientRecord = GradientRecord()
        self._flow = ShortcutFlow() if shortcut_flow else None
        self._names = {id(module): name for name, module in model.named_modules()}
        self._modules = [module for name, module in model.named_modules() if name or shortcut_flow]
        shortcuts = [block.downsample for block in self._modules if isinstance(block, Block)]
        self._on_shortcuts = {id(module) for shortcut in shortcuts if shortcut is not None
                              for _name, module in shortcut.named_modules()}
        self._seen: set[str] = set()  # names of the modules that have a column
        self._outputs: weakref.WeakKeyDictionary[Op, list[str]] = weakref.WeakKeyDictionary()  # the modules that returned it
        self._weights: dict[int, tuple[Tensor, list[str]]] = {}  # id(weight) -> (it, names of the modules whose it is)
        self._norms: list[tuple[Key, Array]] = []  # of the pass that runs, 0-d arrays on the net's device
        self._before_update: dict[int, Array] = {}  # id(weight) -> copy of its array

    def __enter__(self) -> GradientRecord:
        for module in self._modules:
            module.forward_hooks.append(self._after_forward)
        if self.optimizer is not None:
            self.optimizer.hooks.append(self)
        if self._flow is not None:
            self._flow.__enter__()  # before this hook, whose end_of_pass takes the row
        super().__enter__()
        return self.record

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self._flow is not None:
            self._flow.__exit__(*exception)
        for module in self._modules:
            module.forward_hooks.remove(self._after_forward)
        if self.optimizer is not None:
            self.optimizer.hooks.remove(self)

    def _after_forward(self, module, inputs, output):
        if not (isinstance(output, Tensor) and output.op is not None):
            return  # under no_grad, or not a tensor: no gradient will come
        if any(output is x for x in inputs):
            return  # nn.Identity, say: this is the output of the module before
        name = self._names[id(module)]
        if self._flow is not None:
            self._add_columns_of_adds(self._flow.after_module(module, name, inputs, output))
        if not name:
            return  # the net itself
        if name not in self._seen:
            self._seen.add(name)
            self._add_column(name, module)
        self._outputs.setdefault(output.op, []).append(name)
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.op is None:
            names = self._weights.setdefault(id(weight), (weight, []))[1]
            if name not in names:  # modules may share a weight
                names.append(name)

    def _add_columns_of_adds(self, adds):
        for name, ops_before in adds.items():
            if name not in self._seen:
                self._seen.add(name)
                self._add_column_of_an_add(name, {n for op in ops_before for n in self._outputs.get(op, ())})

    def _add_column(self, name, module):
        """Make the module's column when its first output appears."""
        weight = getattr(module, "weight", None)
        is_layer = isinstance(weight, Tensor) and weight.ndim >= 2
        columns = self.record.columns
        depth = columns[-1].depth if columns else 0
        if is_layer and id(module) not in self._on_shortcuts:  # so that a residual net is as deep as its plain twin
            depth += 1
        columns.append(Column(name, type(module), is_layer, depth))

    def _add_column_of_an_add(self, name, before):
        """Make the column of a shortcut-add that has a name of its own, behind the columns named in `before`."""
        columns = self.record.columns
        place = max([i + 1 for i, column in enumerate(columns) if column.name in before], default=0)
        depth = columns[place - 1].depth if place else 0
        columns.insert(place, Column(name, ShortcutAdd, False, depth))

    def start_of_pass(self, root: Tensor) -> None:
        """Forget what an interrupted pass may have left."""
        self._norms = []

    def before_step(self, step: BackwardStep) -> None:
        """The gradient of a module's output is complete."""
        names = self._outputs.get(step.op)
        if names is None:
            return
        norm = euclidean_norm(step.grad_output)
        for name in names:
            self._norms.append((("output_grad_norm", name), norm))

    def after_rebuild(self, op: Op, last: Op) -> None:
        """What returned a checkpointed part's output, a stage of a net say, returned that of the op which makes it now."""
        if op in self._outputs:
            self._outputs.setdefault(last, []).extend(self._outputs[op])

    def leaf_gradient(self, leaf: Tensor, gradient: Array) -> None:
        """The gradient of a weight is complete."""
        if id(leaf) in self._weights:
            weight, names = self._weights[id(leaf)]
            gradient_norm, weight_norm = euclidean_norm(gradient), euclidean_norm(weight.data)
            for name in names:
                self._norms.append((("weight_grad_norm", name), gradient_norm))
                self._norms.append((("weight_norm", name), weight_norm))

    def end_of_pass(self) -> None:
        """Add the numbers of this pass; a pass through another model adds none."""
        if self._norms:
            flow = [] if self._flow is None else self._flow.numbers()
            numbers = PassNumbers()
            numbers.add([*self._norms, *flow])
            self.record.passes.add(numbers)
            self._norms = []

    def before_update(self, optimizer: SGD) -> None:
        """Keep the weights, to know how far the optimizer moves them."""
        self._before_update = {}
        for key, (weight, _names) in self._weights.items():
            use_device_of(weight.data)
            self._before_update[key] = weight.data.copy()

    def after_update(self, optimizer: SGD) -> None:
        """Add the update ratio to the numbers of the last pass."""
        ratios = []
        for key, before in self._before_update.items():
            weight, names = self._weights[key]
            use_device_of(weight.data)
            moved = ratio(euclidean_norm(weight.data - before), euclidean_norm(before))
            for name in names:
                ratios.append((("update_ratio", name), moved))
        self._before_update = {}
        self.record.passes.add_to_last(ratios)
