"""The gradient recorder: how large the gradient is at each layer, in each backward pass.

    with mr.record_gradients(model, optimizer) as record:
        ...                                     # forward, loss.backward(), optimizer.step(), as often as you like
    mr.plot.gradient_norms([record])
"""
import csv
import math
import os
import weakref
from typing import NamedTuple

import numpy as np

from minires.backend import array_module, to_host
from minires.context import BackwardHook
from minires.errors import ArgumentError, FileError, UnknownNameError
from minires.models import Block
from minires.tensor import Tensor

QUANTITIES = ("output_grad_norm", "weight_grad_norm", "weight_norm", "update_ratio")


def record_gradients(model, optimizer=None):
    """A `with` block whose backward passes through `model` are recorded, layer by layer.

    Args:
        model: the `nn.Module` to watch; each of its named modules that makes an output gets a column. One that returns
            its input, such as `nn.Identity`, makes none.
        optimizer: give it to have `update_ratio` recorded at each of its steps; NaN without.

    Returns:
        A context manager that yields a `GradientRecord`, which fills as backward passes run.
    """
    return GradientRecorder(model, optimizer)


class Column(NamedTuple):
    """A module in a record."""

    name: str  # dotted, such as "layer2.0.conv1"
    kind: type  # its class
    is_layer: bool  # its weight is a kernel or a matrix: what counts as depth
    depth: int  # how many such layers had made their output by then, itself included; those on shortcuts do not count


class GradientRecord:
    """Norms by backward pass (rows) and module (columns, in forward order: the first made output first).

    Attributes:
        names: dotted module names, such as "layer2.0.conv1".
        types: the modules' class names, such as "Conv2d".
        output_grad_norm: ‖dL/d(output)‖, array (passes, modules); NaN where no gradient reached the output.
        weight_grad_norm: ‖dL/dW‖ of the module's own `weight`, NaN where it has none.
        weight_norm: ‖W‖ when the pass ran, before the update.
        update_ratio: ‖W after the optimizer's step - W before‖ / ‖W before‖, NaN without an optimizer.

    All norms are Euclidean, over all elements, computed in float64: a float32 gradient of 1e-30 is not rounded to 0.
    """

    def __init__(self, columns=(), rows=()):
        self.columns: list[Column] = list(columns)
        self._rows: list[dict] = list(rows)  # one a pass: {(quantity, module name): value}

    @property
    def names(self) -> list[str]:
        """The modules' dotted names, in forward order."""
        return [column.name for column in self.columns]

    @property
    def types(self) -> list[str]:
        """The modules' class names, in forward order."""
        return [column.kind.__name__ for column in self.columns]

    @property
    def output_grad_norm(self) -> np.ndarray:
        """‖dL/d(output)‖, (passes, modules)."""
        return self.values("output_grad_norm")

    @property
    def weight_grad_norm(self) -> np.ndarray:
        """‖dL/dW‖, (passes, modules)."""
        return self.values("weight_grad_norm")

    @property
    def weight_norm(self) -> np.ndarray:
        """‖W‖, (passes, modules)."""
        return self.values("weight_norm")

    @property
    def update_ratio(self) -> np.ndarray:
        """‖ΔW‖ / ‖W‖ of the optimizer's step after each pass, (passes, modules)."""
        return self.values("update_ratio")

    def __len__(self):
        """The number of recorded backward passes."""
        return len(self._rows)

    def __repr__(self):
        return f"<GradientRecord: {len(self)} passes x {len(self.names)} modules>"

    def values(self, quantity: str) -> np.ndarray:
        """One of `output_grad_norm`, `weight_grad_norm`, `weight_norm`, `update_ratio` as (passes, modules) float64."""
        _check_quantity(quantity)
        return np.array([[row.get((quantity, name), np.nan) for name in self.names] for row in self._rows],
                        dtype=np.float64).reshape(len(self._rows), len(self.columns))

    def missing(self, quantity: str) -> np.ndarray:
        """Where nothing was recorded, so that `values` has a NaN that is no number of the pass: (passes, modules) bools."""
        _check_quantity(quantity)
        return np.array([[(quantity, name) not in row for name in self.names] for row in self._rows],
                        dtype=bool).reshape(len(self._rows), len(self.columns))

    def select(self, *kinds):
        """The same record with fewer columns: those of the given classes (`nn.Conv2d`, `models.Block`) or names.

        Raises:
            UnknownNameError: nothing fits.
        """
        classes = tuple(kind for kind in kinds if isinstance(kind, type))
        names = {kind for kind in kinds if isinstance(kind, str)}
        kept = [column for column in self.columns if column.name in names or issubclass(column.kind, classes)]
        if not kept:
            wanted = ", ".join(kind if isinstance(kind, str) else kind.__name__ for kind in kinds)
            raise UnknownNameError(f"select: no recorded module is a {wanted}; recorded types are "
                                   f"{', '.join(sorted(set(self.types))) or 'none: no backward pass was recorded'}")
        return GradientRecord(kept, self._rows)

    def layers(self):
        """The same record with only the modules whose weight is a kernel or matrix: convolutions and linear layers."""
        return GradientRecord([column for column in self.columns if column.is_layer], self._rows)

    def stream(self):
        """The same record with only the stream: what enters the first block, and each block's output.

        In a residual net this is what the shortcuts carry; in its plain twin, the same places.
        """
        blocks = self.select(Block).names
        first = next(i for i, name in enumerate(self.names) if f"{name}.".startswith(f"{blocks[0]}."))
        return self.select(Block, *self.names[max(first - 1, 0):first])

    def to_csv(self, path):
        """Write the record in long form, a line a value: pass,module,type,quantity,value. NaN where it has no meaning.

        Raises:
            FileError: the file cannot be written.
        """
        tables = {quantity: self.values(quantity) for quantity in QUANTITIES}
        try:
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["pass", "module", "type", "quantity", "value"])
                for i in range(len(self)):
                    for j, (name, kind) in enumerate(zip(self.names, self.types, strict=True)):
                        writer.writerows([i, name, kind, quantity, repr(float(tables[quantity][i, j]))]
                                         for quantity in QUANTITIES)
        except OSError as error:
            raise FileError(f"to_csv: cannot write {os.fspath(path)!r}: {error.strerror or error}. "
                            "Give the path of a file in a folder that exists and can be written to") from error

    def _add_column(self, name, module, on_shortcut):
        """Make the module's column when its first output appears."""
        weight = getattr(module, "weight", None)
        is_layer = isinstance(weight, Tensor) and weight.ndim >= 2
        depth = self.columns[-1].depth if self.columns else 0
        if is_layer and not on_shortcut:  # so that a residual net's layers are as deep as those of its plain twin
            depth += 1
        self.columns.append(Column(name, type(module), is_layer, depth))


def _check_quantity(quantity):
    if quantity not in QUANTITIES:
        raise UnknownNameError(f"unknown quantity {quantity!r}: known are {', '.join(QUANTITIES)}")


def stack_records(records) -> GradientRecord:
    """The passes of several records of nets with the same modules (several seeds, say) as one record.

    Raises:
        ArgumentError: there is no record, or their modules differ.
    """
    records = list(records)
    if not records:
        raise ArgumentError("stack_records: got no record")
    if any(record.names != records[0].names for record in records):
        raise ArgumentError("stack_records: the records are of different modules, so their columns do not correspond")
    return GradientRecord(records[0].columns, [row for record in records for row in record._rows])


class GradientRecorder(BackwardHook):
    """Fills a `GradientRecord` while its `with` block runs. Use `record_gradients`.

    Forward hooks on the modules note which tensor is which module's output; the backward pass then shows this hook each
    output's complete gradient just before it is used. Nothing is kept alive, and no array is copied but the weights
    around an optimizer's step.
    """

    def __init__(self, model, optimizer=None):
        self.model = model
        self.optimizer = optimizer
        self.record = GradientRecord()
        self._names = {id(module): name for name, module in model.named_modules() if name}
        self._modules = [module for name, module in model.named_modules() if name]
        shortcuts = [block.downsample for block in self._modules if isinstance(block, Block)]
        self._on_shortcuts = {id(module) for shortcut in shortcuts if shortcut is not None
                              for _name, module in shortcut.named_modules()}
        self._seen = set()  # names of the modules that have a column
        self._outputs = weakref.WeakKeyDictionary()  # op -> names of the modules that returned its output
        self._weights = {}  # id(weight) -> (weight, names of the modules whose weight it is)
        self._norms = {}  # of the pass that runs: (quantity, name) -> list of 0-d arrays on the weights' device
        self._before_update = {}  # id(weight) -> copy of its array

    def __enter__(self):
        for module in self._modules:
            module.forward_hooks.append(self._after_forward)
        if self.optimizer is not None:
            self.optimizer.hooks.append(self)
        super().__enter__()
        return self.record

    def __exit__(self, *exception):
        super().__exit__(*exception)
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
        if name not in self._seen:
            self._seen.add(name)
            self.record._add_column(name, module, id(module) in self._on_shortcuts)
        self._outputs.setdefault(output.op, []).append(name)
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.op is None:
            names = self._weights.setdefault(id(weight), (weight, []))[1]
            if name not in names:  # modules may share a weight
                names.append(name)

    def start_of_pass(self, root):
        """Forget what an interrupted pass may have left."""
        self._norms = {}

    def before_step(self, step):
        """The gradient of a module's output is complete."""
        names = self._outputs.get(step.op)
        if names is None:
            return
        norm = euclidean_norm(step.grad_output)
        for name in names:
            self._norms.setdefault(("output_grad_norm", name), []).append(norm)

    def after_rebuild(self, op, last):
        """What returned a checkpointed part's output, a stage of a net say, returned that of the op which makes it now."""
        if op in self._outputs:
            self._outputs.setdefault(last, []).extend(self._outputs[op])

    def leaf_gradient(self, leaf, gradient):
        """The gradient of a weight is complete."""
        if id(leaf) in self._weights:
            weight, names = self._weights[id(leaf)]
            gradient_norm, weight_norm = euclidean_norm(gradient), euclidean_norm(weight.data)
            for name in names:
                self._norms["weight_grad_norm", name] = [gradient_norm]
                self._norms["weight_norm", name] = [weight_norm]

    def end_of_pass(self):
        """Add the row of this pass; a pass through another model adds none."""
        if self._norms:
            self.record._rows.append(_combine_on_host(self._norms))
            self._norms = {}

    def before_update(self, optimizer):
        """Keep the weights, to know how far the optimizer moves them."""
        self._before_update = {key: weight.data.copy() for key, (weight, _names) in self._weights.items()}

    def after_update(self, optimizer):
        """Add the update ratio to the row of the last pass."""
        ratios = {}
        for key, before in self._before_update.items():
            weight, names = self._weights[key]
            ratio = _ratio(euclidean_norm(weight.data - before), euclidean_norm(before))
            for name in names:
                ratios["update_ratio", name] = [ratio]
        self._before_update = {}
        if ratios and self.record._rows:
            self.record._rows[-1].update(_combine_on_host(ratios))


def euclidean_norm(x):
    """‖x‖ over all elements, in float64, as a 0-d array on x's device: nothing waits for a GPU here.

    The squares of float32 values fit in float64. Those of float64 values may not, so these are scaled by the largest.
    """
    xp = array_module(x)
    if x.size == 0:
        return xp.zeros((), dtype=np.float64)
    if x.dtype == np.float32:
        return xp.sqrt(xp.sum(xp.square(x.astype(np.float64))))
    largest = xp.max(xp.abs(x))
    scale = xp.where((largest > 0) & (largest < math.inf), largest, 1.0)
    return scale * xp.sqrt(xp.sum(xp.square(x / scale)))


def _ratio(numerator, denominator):
    """numerator / denominator as a 0-d array, NaN where the denominator is 0."""
    xp = array_module(denominator)
    return xp.where(denominator > 0, numerator / xp.where(denominator > 0, denominator, 1.0), math.nan)


def _combine_on_host(norms):
    """{key: [norms]} of device scalars as {key: float}, moved in one transfer.

    A module that ran twice in a pass has two outputs; theirs is the norm of both taken together.
    """
    xp = array_module(next(iter(norms.values()))[0])
    flat = to_host(xp.stack([xp.asarray(norm) for values in norms.values() for norm in values]))
    combined, start = {}, 0
    for key, values in norms.items():
        combined[key] = math.hypot(*flat[start:start + len(values)])
        start += len(values)
    return combined
