"""The sizes of a convolution."""
from typing import NamedTuple


class Geometry(NamedTuple):
    """The sizes of one convolution: padding on each side, and the number of outputs."""

    KH: int
    KW: int
    SH: int
    SW: int
    DH: int
    DW: int
    top: int
    bottom: int
    left: int
    right: int
    OH: int
    OW: int
