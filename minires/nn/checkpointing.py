"""`checkpoint`: keep a part's inputs in place of all that lies between, and run its forward again in the backward pass.

Chen, Xu, Zhang and Guestrin 2016, arXiv:1604.06174: of n layers in parts of √n, a net holds √n inputs and what one part
saves, in place of what n layers save, for one more forward.
"""
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from minires.arguments import whole_number
from minires.arrays.backend import MaybeNone, array_module
from minires.engine.backward import topological_order
from minires.engine.call_site import call_site
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import runs_definition, state, temporarily
from minires.engine.tensor import Tensor
from minires.errors import BackwardError, DTypeError
from minires.nn.draws import remembered_draws, repeated_draws


def checkpoint(function: Callable[..., Tensor], *inputs: Any, **options: Any) -> Tensor:
    """function(*inputs, **options), of which the backward pass keeps the inputs alone: it runs `function` again then.

    Values, gradients and running statistics are, bit for bit, those without the checkpoint (a tensor from outside that
    is used three times or more may have its contributions added in another order). Backward passes yield the steps of the
    ops that were made again, in their place; recorders and breakpoints see these. `function` may use parameters and
    tensors from outside, and may hold further checkpoints.

    What `function` does besides, such as calling a module's forward hooks, happens twice: `rebuilding` in
    `minires.engine.state.state` tells the second time from the first. Batch norm counts a batch once, and `nn.Dropout` draws
    the same mask. Tensors that are made
    inside are made anew in the backward pass, so one of the first forward that is kept from inside holds what the
    checkpoint was to free.

    Args:
        function: takes the inputs, returns one tensor; a module, say. It must compute the same when it runs again, so a
            random number has to come from outside, but for the masks of `nn.Dropout`.
        inputs, options: tensors, or whatever else `function` takes, by position and by keyword.

    Returns:
        The tensor that `function` returned.

    Raises:
        DTypeError: `function` cannot be called, or does not return one tensor.
        BackwardError: raised by the backward pass, where `function` computed something else when it ran again, or where
            an input's or a parameter's `data` was replaced meanwhile.
    """
    if not callable(function):
        raise DTypeError(f"checkpoint: got a {type(function).__name__} first, expected a function or a module, and then its "
                         "inputs: nn.checkpoint(function, *inputs)")
    with _OpsMade() as made, remembered_draws() as draws:
        y = function(*inputs, **options)
    if not isinstance(y, Tensor):
        kind = f"a {type(y).__name__}" + (f" of {len(y)}" if isinstance(y, (tuple, list)) else "")
        raise DTypeError(f"checkpoint: the function returned {kind}, expected one tensor: checkpoint a part that ends in "
                         "one, or one part for each")
    if y.op is None or id(y.op) not in made.ids:
        return y  # no gradient is wanted, or nothing was made here
    return Checkpoint(function, inputs, options, draws).stand_for(y, made.ids)


def checked_every(owner: str, checkpoint_every: Any) -> int | None:
    """None, or the number of modules of a checkpoint."""
    return None if checkpoint_every is None else whole_number(owner, "checkpoint_every", checkpoint_every)


def run_in_turn(modules: Sequence[Callable[..., Tensor]], x: Tensor, checkpoint_every: int | None = None) -> Tensor:
    """x through each of the modules in turn; in checkpoints of so many modules each, unless `checkpoint_every` is None."""
    if checkpoint_every is None:
        for module in modules:
            x = module(x)
        return x
    for start in range(0, len(modules), checkpoint_every):
        x = checkpoint(run_in_turn, modules[start:start + checkpoint_every], x)
    return x


class Checkpoint(Op):
    """Stands on the graph for all the ops of a checkpointed part; its inputs are all that these use from outside.

    It has no backward of its own: the backward pass puts the ops that `rebuild` makes in its place.
    """

    def __init__(self, function: Callable[..., Tensor], arguments: tuple[Any, ...], options: dict[str, Any],
                 draws: list[int]):
        self.function: Callable[..., Tensor] | MaybeNone = function
        self.arguments: tuple[Any, ...] | MaybeNone = arguments
        self.options: dict[str, Any] | MaybeNone = options
        self.draws = draws
        self.layer = state.layer
        self.reference: bool = runs_definition()
        self.call_site = call_site()

    def stand_for(self, y: Tensor, made: set[int]) -> Tensor:
        """A tensor of y's array that was made by this op alone, and not by those whose ids are in `made`."""
        ops, outside = _part(y.op, made)
        self.inputs = tuple(outside)
        self.needs_grad = (True,) * len(outside)
        self.input_shapes = tuple([x.made[0] if isinstance(x, Op) else x.shape for x in outside])
        self.input_dtypes = tuple([x.made[1] if isinstance(x, Op) else x.dtype for x in outside])
        self.made = y.shape, y.dtype
        tensors = [x for x in (*self.arguments, *self.options.values(), *outside) if isinstance(x, Tensor)]
        self.saved = [(x, x.data) for x in tensors], [type(op) for op in ops], _some_values(y.data)
        output = Tensor(y.data, requires_grad=True, name=y.name)
        output.op = self
        self.output_reference = weakref.ref(output)
        for hook in state.hooks:
            if isinstance(hook, _OpsMade):  # of a checkpoint around this one
                hook.ids.add(id(self))
        return output

    def rebuild(self) -> list[Op]:
        """Run the function again: the ops that it makes, each after its inputs; the last one makes the output.

        They lead to the inputs of this op, as those of the first forward did.
        """
        tensors, kinds, values = self.saved
        for tensor, array in tensors:
            if tensor.data is not array:
                raise BackwardError(f"{self.title}: the data of {tensor!r} were replaced between forward and backward, so "
                                    "the forward cannot run again: run it anew, or write into the array after backward")
        as_in_the_forward = temporarily(grad_enabled=True, reference=self.reference, layer=self.layer,
                                        rebuilding=self.call_site)  # which also tells that this is not the forward
        with as_in_the_forward, repeated_draws(self.draws), _OpsMade() as made:
            y = self.function(*self.arguments, **self.options)
        ops, outside = _part(y.op, made.ids) if isinstance(y, Tensor) and y.op is not None else ([], [])
        if ([type(op) for op in ops] != kinds or {id(x) for x in outside} != {id(x) for x in self.inputs}
                or not _agree(_some_values(y.data), values)):
            raise BackwardError(f"{self.title}: the function computed something else when it ran again for the backward "
                                "pass: it must not depend on what may change meanwhile, such as random numbers, or train() "
                                "and eval()")
        ops[-1].output_reference = self.output_reference
        return ops

    def release(self) -> None:
        """Free what `rebuild` needs."""
        super().release()
        self.function = self.arguments = self.options = None


class _OpsMade(BackwardHook):
    """The ids of the ops that are made in its block: what tells the part from what it uses from outside."""

    def __init__(self):
        self.ids: set[int] = set()

    def after_forward(self, op, inputs, output):
        self.ids.add(id(op))


def _part(last: Op, made: set[int]) -> tuple[list[Op], list[Op | Tensor]]:
    """(the ops in `made` that `last` was computed with, each after its inputs; what these use from outside)."""
    order = topological_order(last, made)
    return [x for x in order if isinstance(x, Op) and id(x) in made], [x for x in order if id(x) not in made]


def _some_values(y):
    """At most three places along each axis of an array, spread over it: enough to notice that a function is random."""
    return y[tuple([slice(None, None, max(1, -(-length // 3))) for length in y.shape])].copy()


def _agree(a, b):
    """Are these the same values, up to the rounding of another number of threads?"""
    xp = array_module(b)
    return a.shape == b.shape and bool(xp.allclose(a, b, rtol=1e-3, atol=1e-4 * float(xp.abs(b).sum()), equal_nan=True))
