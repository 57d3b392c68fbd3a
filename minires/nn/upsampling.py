"""The layer that makes images larger."""
from minires import ops
from minires.arguments import IntOrPair, known_name, pair
from minires.engine.tensor import Tensor
from minires.nn.module import Module
from minires.ops.upsampling import MODES


class Upsample(Module):
    """Images x (N, C, H, W) that are larger by a whole number; see `ops.upsample`.

    Args:
        scale_factor: a positive integer, or a pair (vertical, horizontal). (PyTorch's first argument is another: the size.)
        mode: "nearest", or "bilinear" with align_corners=False.

    Raises:
        ArgumentError: the factor is not a positive integer.
        UnknownNameError: no such mode.
    """

    def __init__(self, scale_factor: IntOrPair, mode: str = "nearest"):
        super().__init__()
        self.scale_factor: tuple[int, int] = pair("Upsample", "scale_factor", scale_factor)
        self.mode: str = known_name("Upsample", "mode", mode, MODES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, SH·H, SW·W)."""
        return ops.upsample(x, self.scale_factor, self.mode)

    def extra_repr(self) -> str:
        """The factors and the mode."""
        return f"scale_factor={self.scale_factor}, mode={self.mode!r}"
