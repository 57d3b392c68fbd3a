"""`BackwardHook`: what can watch the ops and the backward passes."""
from minires.engine.state import state


class BackwardHook:
    """What can watch the ops and the backward passes of a thread, inside `with hook:`. Override what you need.

    Breakpoints, the gradient recorder and progress displays are hooks.
    """

    def before_forward(self, op, inputs):
        """An op is about to run on `inputs`, arrays (None for an absent bias)."""

    def after_forward(self, op, inputs, output):
        """An op has computed `output` from `inputs`, all arrays (None for an absent bias)."""

    def start_of_pass(self, root):
        """A backward pass from the tensor `root` begins."""

    def before_step(self, step):
        """An op's gradient is complete and its `backward` is about to run."""

    def after_rebuild(self, op, last):
        """The part for which the checkpoint `op` stood was made again: its op `last` makes the same output in its place."""

    def after_step(self, step):
        """An op's `backward` has run, and `step.grad_inputs` holds what it returned."""

    def leaf_gradient(self, leaf, gradient):
        """This pass contributes `gradient` (all of it) to a leaf such as a weight."""

    def end_of_pass(self):
        """The last op has run."""

    def __enter__(self):
        state.hooks = (*state.hooks, self)
        return self

    def __exit__(self, *exception):
        state.hooks = tuple(hook for hook in state.hooks if hook is not self)
