"""An example for a net that has to run once, to tell of what it is made."""
import numpy as np

from minires.engine.tensor import Tensor
from minires.nn.module import Module


def zeros_for(model: Module, shape: tuple[int, ...]) -> Tensor:
    """Zeros of this shape, in the precision and on the device of the model's parameters."""
    dtype = next((parameter.dtype for parameter in model.parameters()), np.float32)
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    return Tensor(np.zeros(shape, dtype)).to(device)
