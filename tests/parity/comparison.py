"""Running one function in minires and in PyTorch, and comparing what they return and their gradients."""
import numpy as np
import torch

import minires as mr

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-10}  # shares of an array's largest element


def normal(*shape, seed=0):
    """Standard normal numbers in float64, which `assert_parity` then rounds to the precision of its test."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def as_array(x):
    """The values of an array, or of a tensor of either library, as a NumPy array."""
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    return x.numpy() if isinstance(x, mr.Tensor) else np.asarray(x)


def assert_close(ours, theirs, what, tolerance=None):
    """Equal in shape, in precision, and in each element up to a share of the largest one."""
    ours, theirs = as_array(ours), as_array(theirs)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    scale = np.abs(theirs).max()
    assert 0 < scale < np.inf, f"{what}: PyTorch's largest element is {scale}, so nothing would be compared"
    error = np.abs(ours - theirs).max() / scale
    tolerance = tolerance or TOLERANCE[theirs.dtype]
    assert error <= tolerance, f"{what}: differs by {error:.1e} of its largest element, more than {tolerance:.0e}"


def assert_parity(ours, theirs, inputs, dtype, tolerance=None):
    """Both functions of these arrays agree in value and, for a random gradient of the output, in every input's gradient."""
    inputs = [np.array(x, dtype=dtype, order="K") for x in inputs]
    x = [mr.Tensor(array.copy(order="K"), requires_grad=True) for array in inputs]
    x_torch = [torch.from_numpy(array).requires_grad_() for array in inputs]
    y, y_torch = ours(*x), theirs(*x_torch)
    assert_close(y, y_torch, "output", tolerance)
    dy = np.asarray(normal(*y.shape, seed=1), dtype=y.dtype)
    y.backward(dy)
    y_torch.backward(torch.from_numpy(dy))
    for i in range(len(inputs)):
        assert_close(x[i].grad, x_torch[i].grad, f"gradient of input {i}, of shape {inputs[i].shape}", tolerance)


def to_torch(state_dict):
    """A state dict of minires as one of PyTorch."""
    return {name: torch.from_numpy(array.copy()) for name, array in state_dict.items()}


def to_numpy(state_dict):
    """A state dict of PyTorch as one of arrays, with its own keys."""
    return {name: tensor.numpy().copy() for name, tensor in state_dict.items()}


def assert_same_gradients(ours, theirs, tolerance=None):
    """Two modules have the same parameters by name, with the same gradients."""
    theirs = dict(theirs.named_parameters())
    assert {name for name, _ in ours.named_parameters()} == set(theirs)
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, theirs[name].grad, f"gradient of {name}", tolerance)


def assert_same_state(ours, theirs, tolerance=None):
    """Two modules hold the same values: parameters and running statistics."""
    ours, theirs = ours.state_dict(), to_numpy(theirs.state_dict())
    assert set(ours) == {name for name in theirs if not name.endswith("num_batches_tracked")}
    for name, values in ours.items():
        assert_close(values, theirs[name], name, tolerance)
