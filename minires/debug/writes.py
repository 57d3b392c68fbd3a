"""`detect_writes`: the line that writes to an array which a backward pass will need."""
import numpy as np

from minires.arrays.backend import Array
from minires.engine.backward import BackwardStep
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op


class detect_writes(BackwardHook):
    """`with detect_writes():` arrays that a backward pass will need cannot be written to, so that who does it is caught.

    From each op's forward on, its inputs and its output are read-only, and so is the gradient that its backward is given;
    a write raises NumPy's ValueError "assignment destination is read-only" at the line that writes. At the end of each
    backward pass, and of the block, they are as they were. Without this block, an array that is changed between forward
    and backward gives a wrong gradient without a word. CuPy has no read-only arrays: on a GPU this does nothing.
    """

    def __init__(self) -> None:
        self._locked: list[np.ndarray] = []

    def after_forward(self, op: Op, inputs: list[Array | None], output: Array) -> None:
        """Lock what an op may have saved."""
        for array in (*inputs, output):
            self._lock(array)

    def before_step(self, step: BackwardStep) -> None:
        """Lock the gradient, which may have been handed to several ops."""
        self._lock(step.grad_output)

    def end_of_pass(self) -> None:
        """Unlock, so that an optimizer can move the weights."""
        for array in reversed(self._locked):  # what owns the memory was locked after its views
            array.flags.writeable = True
        self._locked = []

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.end_of_pass()

    def _lock(self, array):
        while isinstance(array, np.ndarray):
            if array.flags.writeable:
                array.flags.writeable = False
                self._locked.append(array)
            array = array.base  # writing to what a view was made of changes the view
