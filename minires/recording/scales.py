"""Which axis and which colours show a quantity: norms a logarithmic axis, shares and means a linear one."""
from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

WIDEST = 1e3  # ratio of the largest to the smallest number that a linear axis still tells from 0


def is_logarithmic(quantity: str) -> bool:
    """Is it drawn on a logarithmic axis, which has no place for a zero?"""
    return quantity not in ("activation_mean", "activation_zeros")


def drawable(values: np.ma.MaskedArray[Any, Any], quantity: str) -> np.ndarray:
    """The values, with a gap (NaN) where the quantity's axis has no place for them, or where there is none."""
    plain = values.filled(np.nan)
    return np.where(np.isfinite(plain) & ((plain > 0) | (not is_logarithmic(quantity))), plain, np.nan)


def set_scale(ax: Axes, quantity: str, values: np.ndarray) -> None:
    """Make the y axis that of a quantity, for these values, of which some may be NaN.

    Means have a sign. Where some are tiny beside others, the axis is logarithmic to both sides, and linear around 0.
    """
    if is_logarithmic(quantity):
        ax.set_yscale("log")
    elif quantity == "activation_zeros":
        ax.set_ylim(-0.02, 1.02)
    else:
        ax.axhline(0, color="black", linewidth=0.6, linestyle=":")
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if sizes.size and sizes.max() > WIDEST * sizes.min():
            ax.set_yscale("symlog", linthresh=sizes.min())


def colours_of(quantity: str, values: np.ndarray) -> dict[str, Any]:
    """How a map shows these values of a quantity (logarithms, of one with a logarithmic axis), for `Axes.imshow`."""
    if quantity == "activation_zeros":
        return {"cmap": "cividis", "vmin": 0, "vmax": 1}
    if quantity == "activation_mean":
        largest = np.abs(values[np.isfinite(values)]).max(initial=0) or 1
        return {"cmap": "PuOr", "vmin": -largest, "vmax": largest}
    return {"cmap": "cividis"}
