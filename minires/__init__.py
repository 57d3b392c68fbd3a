"""minires: an autograd engine in which a gradient can be seen. `import minires as mr`.

Importing it imports NumPy and nothing slow: matplotlib comes with the first use of `mr.plot`, CuPy with the first
`.to("cuda")`.
"""
import importlib
from typing import TYPE_CHECKING

from minires.engine.tensor import Tensor  # first, as its file holds the package's one import cycle

from minires import data, debug, models, nn, ops, optim  # isort: skip
from minires.arguments import attribute_error
from minires.arrays.threads import get_threads, set_threads
from minires.debug.anomaly import detect_anomaly
from minires.debug.description import describe
from minires.debug.explanation import explain
from minires.debug.gradient_check import gradcheck
from minires.debug.writes import detect_writes
from minires.drawing import draw
from minires.engine.backward import BackwardStep, backward_steps
from minires.engine.hooks import BackwardHook
from minires.engine.op import Op
from minires.engine.state import no_grad, reference_ops
from minires.errors import (
    AnomalyError,
    ArgumentError,
    BackwardError,
    DataError,
    DeviceError,
    DTypeError,
    FileError,
    GradcheckError,
    LabelError,
    MiniresError,
    ModuleError,
    PlaceError,
    ShapeError,
    StateError,
    UnknownNameError,
)
from minires.nn.saving import load, save
from minires.nn.summary import summary
from minires.recording import GradientRecord, record_gradients, stack_records

if TYPE_CHECKING:
    from minires.recording import plot

__version__ = "0.1.0"

__all__ = [
    "AnomalyError",
    "ArgumentError",
    "BackwardError",
    "BackwardHook",
    "BackwardStep",
    "DTypeError",
    "DataError",
    "DeviceError",
    "FileError",
    "GradcheckError",
    "GradientRecord",
    "LabelError",
    "MiniresError",
    "ModuleError",
    "Op",
    "PlaceError",
    "ShapeError",
    "StateError",
    "Tensor",
    "UnknownNameError",
    "backward_steps",
    "data",
    "debug",
    "describe",
    "detect_anomaly",
    "detect_writes",
    "draw",
    "explain",
    "get_threads",
    "gradcheck",
    "load",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "plot",
    "record_gradients",
    "reference_ops",
    "save",
    "set_threads",
    "stack_records",
    "summary",
]


if not TYPE_CHECKING:  # a type checker would take any name for one that this gives

    def __getattr__(name):
        """Import `mr.plot`, and matplotlib with it, when it is first used (PEP 562)."""
        if name == "plot":
            return importlib.import_module("minires.recording.plot")
        raise attribute_error("minires", name, __all__)


def __dir__() -> list[str]:
    """The public names, and those with two underscores: not the modules and folders that lie beside them."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
