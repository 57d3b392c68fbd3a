"""`describe(tensor)`: the statistics of a tensor, on demand."""
from __future__ import annotations

from typing import Any

import numpy as np

from minires.arrays.backend import Array, MaybeNone, array_module, device_of, is_array, to_host
from minires.arrays.norms import euclidean_norm
from minires.debug.step_summary import place
from minires.engine.tensor import Tensor
from minires.errors import DTypeError
from minires.text.tables import html_cell, html_table, text_table


def describe(tensor: Tensor | Array) -> Description:
    """Statistics of a tensor, or of a raw array such as a gradient; on a GPU, this waits for it.

    Returns:
        A `Description`, which a prompt shows as text and a notebook as a table. Least, largest, mean, standard deviation
        (dividing by the count) and norm are those of the finite values, in float64; NaN where there is none.

    Raises:
        DTypeError: this is neither a tensor nor an array of real numbers, of NumPy or CuPy.
    """
    return Description(tensor)


class Description:
    """What `describe` found.

    Attributes:
        name: the tensor's name, or None.
        shape, dtype, device: as the tensor's.
        min, max, mean, std, norm: of the finite values, Python floats.
        zeros, nan, inf: how many values are exactly 0, NaN, and infinite.
        op: the label of the op that made it, with its layer, or None.
        made_at: (file, line) of your code that called that op, or None.
        grad_norm: the norm of `grad`, or None where there is none.
    """

    name: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: str
    min: float
    max: float
    mean: float
    std: float
    norm: float
    zeros: int
    nan: int
    inf: int
    op: str | None
    made_at: tuple[str, int] | MaybeNone
    grad_norm: float | None

    def __init__(self, tensor: Tensor | Array) -> None:
        x = tensor.data if isinstance(tensor, Tensor) else tensor
        if not isinstance(x, np.generic) and not is_array(x):
            raise DTypeError(f"describe: got a {type(x).__name__}, expected a Tensor or an array of NumPy or CuPy: of a "
                             "net, give one of its parameters; wrap numbers in mr.Tensor(…)")
        if x.dtype.kind not in "biuf":
            raise DTypeError(f"describe: got an array of {x.dtype}, expected one of real numbers")
        xp = array_module(x)
        made_by = tensor.op if isinstance(tensor, Tensor) else None
        self.name = tensor.name if isinstance(tensor, Tensor) else None
        self.shape, self.dtype, self.device = x.shape, x.dtype, device_of(x)
        finite = x[xp.isfinite(x)].astype(np.float64)
        self.min, self.max, self.mean, self.std = _statistics(to_host(finite))
        self.norm = float(euclidean_norm(finite)) if finite.size else float("nan")
        self.zeros, self.nan, self.inf = [int(xp.sum(is_so)) for is_so in (x == 0, xp.isnan(x), xp.isinf(x))]
        self.op = None if made_by is None else made_by.title
        self.made_at = None if made_by is None else made_by.where
        grad = tensor.grad if isinstance(tensor, Tensor) else None
        self.grad_norm = None if grad is None else float(euclidean_norm(grad))

    def items(self) -> list[tuple[str, str]]:
        """(what, value) pairs of text."""
        count = int(np.prod(self.shape))
        finite = "" if self.nan == self.inf == 0 else " of the finite values"
        items = [("name", self.name)] if self.name else []
        items += [("shape", f"{list(self.shape)} = {count:,} values"), ("dtype", str(self.dtype)), ("device", self.device),
                  (f"min, max{finite}", f"{self.min:.6g}, {self.max:.6g}"),
                  (f"mean, std{finite}", f"{self.mean:.6g}, {self.std:.6g}"),
                  (f"norm{finite}", f"{self.norm:.6g}"),
                  ("zeros", _share(self.zeros, count)), ("NaN", _share(self.nan, count)), ("inf", _share(self.inf, count))]
        if self.grad_norm is not None:
            items.append(("norm of grad", f"{self.grad_norm:.6g}"))
        if self.op is not None:
            items.append(("made by", f"{self.op}, called at {place(self.made_at)}"))
        return items

    def __str__(self) -> str:
        return "\n".join(text_table(self.items()))

    __repr__ = __str__  # a prompt, or a debugger's `p`, shows the lines

    def _repr_html_(self) -> str:
        return html_table(f"<tr>{html_cell(what, 'left', 'th')}{html_cell(value, 'left')}</tr>"
                          for what, value in self.items())


def _statistics(finite):
    """(min, max, mean, std) of a host array of finite float64 values; NaN of none."""
    if finite.size == 0:
        return (float("nan"),) * 4
    scale = max(np.abs(finite).max(), np.finfo(np.float64).tiny)  # so that no square overflows or vanishes
    return tuple(float(value) for value in (finite.min(), finite.max(), scale * (finite / scale).mean(),
                                            scale * (finite / scale).std()))


def _share(count, total):
    return f"{count:,} ({count / total:.1%})" if count else "0"
