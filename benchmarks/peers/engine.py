"""The interface that each engine here is brought to, and one operation in it, ready to be timed."""
import functools

import numpy as np

TAPE_LENGTH = 500  # operations of the chain that shows what the tape itself costs: two engines recurse, Python allows 1,000


@functools.cache
def blas_controller():
    """What sets the threads of NumPy's BLAS while the program runs."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


class BaseEngine:
    """An engine. A subclass also has those operations that the engine can do, on its own tensors:

        conv2d(x, weight, stride, padding), batch_norm(x, weight, bias), relu(x), shortcut_add(residual, shortcut),
        zero_pad_shortcut(x, out_channels), negate(x)

    Arrays go in and come out shaped (N, C, H, W), and kernels (O, C, KH, KW). Inside, each engine holds them in the shape
    and the memory order that its own operations leave behind.
    """

    name: str
    version: str

    def image(self, array, wants_gradient):
        """A tensor of a batch of images (N, C, H, W)."""
        raise NotImplementedError

    def parameter(self, array):
        """A tensor that wants a gradient, of a kernel (O, C, KH, KW) or a vector (C,)."""
        raise NotImplementedError

    def cotangent(self, array):
        """dL/dy in the form that `gradients` takes."""
        raise NotImplementedError

    def gradients(self, y, inputs, dy) -> list:
        """dL/d(input) of each of the inputs that want one, from dL/dy, in the engine's own form."""
        raise NotImplementedError

    def image_to_numpy(self, value):
        """An output, or the gradient of an image, as an array (N, C, H, W)."""
        return np.asarray(value)

    def parameter_to_numpy(self, value):
        """The gradient of a parameter as an array of its shape."""
        return np.asarray(value)

    def use_threads(self, count):
        """Compute on this many threads from now on."""
        blas_controller().limit(limits=count, user_api="blas")

    def chain(self, x):
        """`TAPE_LENGTH` negations, one after the other."""
        for _ in range(TAPE_LENGTH):
            x = self.negate(x)
        return x

    def trial(self, arrays):
        """The operation that `arrays`, an `OpArrays`, describes, ready to run; None where this engine cannot do it."""
        return Trial(self, arrays) if hasattr(self, arrays.op) else None


class Trial:
    """One operation in one engine: `forward()`, then `backward()`, then `outcome()` for a comparison."""

    def __init__(self, engine, arrays):
        self.engine = engine
        self.names = [name for name in arrays.inputs if name in arrays.wanted]
        self.images = arrays.images
        self.inputs = {name: engine.image(array, name in arrays.wanted) if name in self.images else engine.parameter(array)
                       for name, array in arrays.inputs.items()}
        self.function = functools.partial(getattr(engine, arrays.op), **arrays.options)
        self.dy = engine.cotangent(arrays.dy)
        self.y = self.results = None

    def forward(self):
        """Compute the output, and what the backward will need."""
        self.results = None
        self.y = self.function(*self.inputs.values())

    def backward(self):
        """Compute the gradients of the inputs, and let go of the output, as a training step does."""
        self.results = self.engine.gradients(self.y, [self.inputs[name] for name in self.names], self.dy)
        self.y = None

    def both(self):
        """Forward and backward."""
        self.forward()
        self.backward()

    def outcome(self) -> dict:
        """{"y": …, "dx": …, "dweight": …}: the output and the gradients as NumPy arrays."""
        self.forward()
        outcome = {"y": np.array(self.engine.image_to_numpy(self.y))}
        self.backward()
        for name, result in zip(self.names, self.results, strict=True):
            to_numpy = self.engine.image_to_numpy if name in self.images else self.engine.parameter_to_numpy
            outcome[f"d{name}"] = np.array(to_numpy(result))
        return outcome
