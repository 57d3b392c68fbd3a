"""The batch as lines of many channels, and sums along them: how the fast form of batch norm walks through memory."""
import math

from minires.arrays.backend import array_module
from minires.arrays.blocking import block_bytes
from minires.arrays.memory import empty, empty_like
from minires.arrays.threads import over_ranges
from minires.ops.kernels.layout import channels_last

LINE_LENGTH = 8192  # floats in a line of a block: NumPy's inner loops want to be long
SHORT_LENGTH = 2048  # floats in a line that is summed


def batch_statistics(lines, C):
    """Mean and biased variance of each channel, (C,) in float64, in one pass.

    E[x²] - E[x]² would lose all digits where the mean is large beside the spread. So the values are moved by a first guess
    of the mean, that of the first block, which is as good as the mean itself: var = E[(x - guess)²] - E[x - guess]².
    """
    xp = array_module(lines)
    M = lines.size // C
    first = lines[blocks(lines)[0]]
    guess = (channel_sums(first, C) / (first.size // C)).astype(lines.dtype)
    guess_lines = spread(guess, lines)                                           # (C,) -> (T·C,)

    def work(some):
        sums = squares = xp.zeros(short_lines(lines, C).shape[1])                # (T'·C,) in float64
        for block in blocks(lines, some):
            moved = short_lines(xp.subtract(lines[block], guess_lines, out=empty_like(lines[block])), C)
            sums = sums + line_sums(moved)
            squares = squares + line_products(moved, moved)
        return sums, squares

    sums, squares = (per_channel(parts, C) for parts in zip(*over_ranges(work, len(lines), lines), strict=True))
    distance = sums / M                                                          # of the mean from the guess
    var = xp.maximum(squares / M - distance * distance, 0)                       # rounding can leave -0.0001 of a constant
    return guess + distance, var


def gradient_sums(dy_lines, x_lines, mean, C):
    """Σ dy and Σ dy (x - mean) over all pixels, (C,) in float64."""
    xp = array_module(dy_lines)
    mean_lines = spread(mean, x_lines)                                           # (C,) -> (T·C,)

    def work(some):
        sums = products = xp.zeros(short_lines(x_lines, C).shape[1])             # (T'·C,) in float64
        for block in blocks(x_lines, some):
            centred = xp.subtract(x_lines[block], mean_lines, out=empty_like(x_lines[block]))
            dy = short_lines(dy_lines[block], C)
            sums = sums + line_sums(dy)
            products = products + line_products(dy, short_lines(centred, C))
        return sums, products

    return [per_channel(parts, C) for parts in zip(*over_ranges(work, len(x_lines), x_lines), strict=True)]


def channel_sums(lines, C):
    """Σ over lines for each channel, (R, T·C) -> (C,) in float64."""
    return per_channel([line_sums(short_lines(lines, C))], C)


def line_sums(lines):
    """Σ over lines, (R, L) -> (L,): a product with ones is many times faster than sum(axis=0)."""
    return array_module(lines).ones(len(lines), dtype=lines.dtype) @ lines       # (R) @ (R, L) -> (L,)


def line_products(a, b):
    """Σ a·b over lines, (R, L) -> (L,), without a temporary of their size."""
    return array_module(a).einsum("rc,rc->c", a, b)


def per_channel(parts, C):
    """The sum of vectors in which the channels repeat, each (T·C,): (C,) in float64."""
    return sum(parts).reshape(-1, C).sum(axis=0, dtype="float64")                # (T·C,) -> (T, C) -> (C,)


def as_lines(x):
    """(the batch as lines, C): pixels with channels last, T pixels to a line; (N, C, H, W) or (N, C) -> (R, T·C)."""
    C = x.shape[1]
    rows = (channels_last(x) if x.ndim == 4 else array_module(x).ascontiguousarray(x)).reshape(-1, C)
    T = math.gcd(len(rows), max(1, LINE_LENGTH // C))
    return rows.reshape(-1, T * C), C


def short_lines(lines, C):
    """The same numbers in lines of which a sum stays in L1, (R, T·C) -> (R', T'·C)."""
    T = math.gcd(lines.shape[1] // C, max(1, SHORT_LENGTH // C))
    return lines.reshape(-1, T * C)


def as_image(lines, shape):
    """The inverse of `as_lines`: (R, T·C) -> (N, C, H, W) or (N, C)."""
    if len(shape) == 2:
        return lines.reshape(shape)
    N, C, H, W = shape
    return lines.reshape(N, H, W, C).transpose(0, 3, 1, 2)                       # (N, H, W, C) -> (N, C, H, W)


def spread(per_channel, lines):
    """A vector (C,) repeated along a line, (T·C,), in the lines' precision."""
    C = len(per_channel)
    spread_out = empty(array_module(lines), (lines.shape[1] // C, C), lines.dtype)
    spread_out[...] = per_channel                                                # a third of the time of tile
    return spread_out.reshape(-1)                                                # (T, C) -> (T·C,)


def blocks(lines, some=None):
    """Slices that cut the lines, or some of them (a slice), into blocks which stay in the cache."""
    some = some or slice(0, len(lines))
    at_once = max(1, block_bytes(array_module(lines)) // (lines.shape[1] * lines.dtype.itemsize))
    return [slice(start, min(start + at_once, some.stop)) for start in range(some.start, some.stop, at_once)]
