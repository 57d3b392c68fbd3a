"""Memory order: images are shaped (N, C, H, W), and lie with their channels last where they come from our ops."""
from minires.arrays.backend import Array, array_module


def channels_last(x: Array) -> Array:
    """The image batch as a contiguous array (N, H, W, C): a view where it lies so already, one copy otherwise."""
    return array_module(x).ascontiguousarray(x.transpose(0, 2, 3, 1))    # (N, C, H, W) -> (N, H, W, C)


def zeros_channels_last(shape: tuple[int, ...], like: Array) -> Array:
    """Zeros shaped (N, C, H, W), with channels last in memory."""
    N, C, H, W = shape
    return array_module(like).zeros((N, H, W, C), dtype=like.dtype).transpose(0, 3, 1, 2)
