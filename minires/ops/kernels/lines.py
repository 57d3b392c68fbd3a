"""The batch as lines of many channels, and sums along them: how the fast form of batch norm walks through memory.

A batch (N, C, H, W) whose channels lie last in memory is a matrix of (pixels, channels). T pixels make a line, (R, T·C), as
NumPy's inner loops want to be long; the lines are cut into blocks that stay in the cache.
"""
import math
from types import ModuleType

from minires.arrays.backend import Array
from minires.arrays.blocking import block_bytes
from minires.arrays.memory import empty
from minires.arrays.threads import over_ranges

LINE_LENGTH = 8192  # floats in a line of a block: NumPy's inner loops want to be long
SHORT_LENGTH = 2048  # floats in a line that is summed


def as_lines(xp: ModuleType, x: Array) -> tuple[Array, int]:
    """(the batch as lines, C): pixels with channels last, T pixels to a line; (N, C, H, W) or (N, C) -> (R, T·C)."""
    C = x.shape[1]
    pixels = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x                       # (N, C, H, W) -> (N, H, W, C)
    rows = xp.ascontiguousarray(pixels).reshape(-1, C)                           # a view where it lies so already
    T = math.gcd(len(rows), max(1, LINE_LENGTH // C))
    return rows.reshape(-1, T * C), C


def short_lines(lines: Array, C: int) -> Array:
    """The same numbers in lines of which a sum stays in L1, (R, T·C) -> (R', T'·C)."""
    T = math.gcd(lines.shape[1] // C, max(1, SHORT_LENGTH // C))
    return lines.reshape(-1, T * C)


def as_image(lines: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `as_lines`: (R, T·C) -> (N, C, H, W) or (N, C)."""
    if len(shape) == 2:
        return lines.reshape(shape)
    N, C, H, W = shape
    return lines.reshape(N, H, W, C).transpose(0, 3, 1, 2)                       # (N, H, W, C) -> (N, C, H, W)


def spread(xp: ModuleType, per_channel: list[Array], lines: Array) -> list[Array]:
    """Vectors (C,) repeated along a line, each (T·C,), in the lines' precision."""
    spread_out = []
    for vector in per_channel:
        line = empty(xp, (lines.shape[1] // len(vector), len(vector)), lines.dtype)   # (T, C)
        line[...] = vector                                                       # a third of the time of tile
        spread_out.append(line.reshape(-1))                                      # (T, C) -> (T·C,)
    return spread_out


def blocks(xp: ModuleType, lines: Array, some: slice | None = None) -> list[slice]:
    """Slices that cut the lines, or some of them (a slice), into blocks which stay in the cache."""
    some = some or slice(0, len(lines))
    at_once = max(1, block_bytes(xp) // (lines.shape[1] * lines.dtype.itemsize))
    found = []
    for start in range(some.start, some.stop, at_once):
        found.append(slice(start, min(start + at_once, some.stop)))
    return found


def batch_statistics(xp: ModuleType, lines: Array, C: int) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, (C,) in float64, in one pass.

    E[x²] - E[x]² would lose all digits where the mean is large beside the spread. So the values are moved by a first guess
    of the mean, that of the first block, which is as good as the mean itself: var = E[(x - guess)²] - E[x - guess]².
    """
    M = lines.size // C
    first = lines[blocks(xp, lines)[0]]
    guess = (per_channel(line_sums(xp, short_lines(first, C)), C) / (first.size // C)).astype(lines.dtype)
    [guess_lines] = spread(xp, [guess], lines)                                   # (C,) -> (T·C,)

    def work(some):
        sums = squares = xp.zeros(short_lines(lines, C).shape[1])                # (T'·C,) in float64
        for block in blocks(xp, lines, some):
            moved = empty(xp, lines[block].shape, lines.dtype)
            moved = short_lines(xp.subtract(lines[block], guess_lines, out=moved), C)
            sums = sums + line_sums(xp, moved)
            squares = squares + xp.einsum("rc,rc->c", moved, moved)              # without a temporary of their size
        return sums, squares

    sums, squares = sums_of_ranges(over_ranges(work, len(lines), lines), C)
    distance = sums / M                                                          # of the mean from the guess
    var = xp.maximum(squares / M - distance * distance, 0)                       # rounding can leave -0.0001 of a constant
    return guess + distance, var


def gradient_sums(xp: ModuleType, dy_lines: Array, x_lines: Array, mean: Array, C: int) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - mean) over all pixels, (C,) in float64."""
    [mean_lines] = spread(xp, [mean], x_lines)                                   # (C,) -> (T·C,)

    def work(some):
        sums = products = xp.zeros(short_lines(x_lines, C).shape[1])             # (T'·C,) in float64
        for block in blocks(xp, x_lines, some):
            centred = empty(xp, x_lines[block].shape, x_lines.dtype)
            centred = short_lines(xp.subtract(x_lines[block], mean_lines, out=centred), C)
            dy = short_lines(dy_lines[block], C)
            sums = sums + line_sums(xp, dy)
            products = products + xp.einsum("rc,rc->c", dy, centred)             # without a temporary of their size
        return sums, products

    return sums_of_ranges(over_ranges(work, len(x_lines), x_lines), C)


def line_sums(xp: ModuleType, lines: Array) -> Array:
    """Σ over lines, (R, L) -> (L,): a product with ones is many times faster than sum(axis=0)."""
    return xp.ones(len(lines), dtype=lines.dtype) @ lines                        # (R) @ (R, L) -> (L,)


def sums_of_ranges(parts: list[tuple[Array, Array]], C: int) -> tuple[Array, Array]:
    """Pairs of vectors in which the channels repeat, one pair from each thread, as one pair of (C,) in float64."""
    first, second = parts[0]
    for a, b in parts[1:]:
        first, second = first + a, second + b
    return per_channel(first, C), per_channel(second, C)


def per_channel(vector: Array, C: int) -> Array:
    """The sum over the pixels of a line: (T·C,) -> (T, C) -> (C,) in float64."""
    return vector.reshape(-1, C).sum(axis=0, dtype="float64")
