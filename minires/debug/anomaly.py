"""`detect_anomaly`: the first op whose output or gradient is not finite."""
import numpy as np

from minires.arrays.backend import Array, all_finite, to_host
from minires.engine.backward import BackwardStep
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.errors import AnomalyError


class detect_anomaly(BackwardHook):
    """`with detect_anomaly():` the first op whose output or gradient is not finite raises, and says which and where.

    Every output and gradient is looked at, which takes time (and, on a GPU, waits for it): for a net that misbehaves.

    Raises:
        AnomalyError: it names the op, its layer, the value, its place, and the line of your code that made the op.
    """

    def after_forward(self, op: Op, inputs: list[Array | None], output: Array) -> None:
        """Look at what an op made."""
        if all_finite(output):
            return
        fed = [i for i, x in enumerate(inputs) if x is not None and not all_finite(x)]
        cause = (f"it was given such values, in its input {fed[0]}" if fed
                 else "its inputs are finite: " + ", ".join(_range_of(x) for x in inputs if x is not None))
        raise AnomalyError(f"{op.title}: the output {_first_not_finite(output)}; {cause}. {_called_at(op)}")

    def before_step(self, step: BackwardStep) -> None:
        """Look at the gradient that comes in: that of the loss itself, as every later one was looked at already."""
        if not all_finite(step.grad_output):
            raise AnomalyError(f"{step.op.title}: the gradient of its output {_first_not_finite(step.grad_output)}, before "
                               f"its backward ran. {_called_at(step.op)}")

    def after_step(self, step: BackwardStep) -> None:
        """Look at the gradients that an op made."""
        for i, gradient in enumerate(step.grad_inputs):
            if gradient is not None and not all_finite(gradient):
                raise AnomalyError(f"{step.op.title}: the gradient of its input {i} {_first_not_finite(gradient)}; that of "
                                   f"its output is finite: {_range_of(step.grad_output)}. {_called_at(step.op)}")


def _first_not_finite(x):
    """"is nan at [0, 3] (and at 5 more of its 12 places)"."""
    host = to_host(x)
    places = np.argwhere(~np.isfinite(host))
    place = tuple(int(n) for n in places[0])
    more = f" (and at {len(places) - 1} more of its {host.size} places)" if len(places) > 1 else ""
    return f"is {host[place]} at {list(place)}{more}"


def _range_of(x):
    """"shape (2, 3), from -1.2 to 3.4"."""
    host = to_host(x)
    return f"shape {host.shape}" + (f", from {host.min():.3g} to {host.max():.3g}" if host.size else "")


def _called_at(op):
    file, line = op.where
    return f"Called at {file}:{line}"
