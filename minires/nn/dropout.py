"""The dropout layer."""
from minires import ops
from minires.arguments import number, whole_number
from minires.engine.state import state
from minires.engine.tensor import Tensor
from minires.nn.draws import number_of_draw
from minires.nn.init import generator_for
from minires.nn.module import Module


class Dropout(Module):
    """While training, each element of x is 0 with probability p, and 1 / (1 - p) times itself otherwise; see `ops.dropout`.

    In evaluation x goes through as it is. Each mask is another one, decided by the seed, the layer's dotted name and how
    many masks it has drawn: so two layers of a net differ, and a run can be repeated. (Layers that are part of no net have
    no name: give them seeds of their own.) In a checkpoint, the forward that runs again draws the same mask.

    Args:
        p: the probability of 0, from 0 to 1.
        seed: an integer that is not negative.

    Attributes:
        draws: how many masks were drawn. A training loop of your own saves and sets it beside the weights, to go on where it
            was interrupted; `minires.training.Training` does.

    Raises:
        ArgumentError: p is not from 0 to 1, or the seed not an integer that is not negative.
    """

    def __init__(self, p: float = 0.5, seed: int = 0):
        super().__init__()
        self.p: float = number("Dropout", "p", p, largest=1)
        self.seed: int = whole_number("Dropout", "seed", seed, smallest=0)
        self.draws: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...)."""
        if not self.training or self.p == 0:
            return x
        draw = number_of_draw(self.draws)
        if state.rebuilding is None:
            self.draws += 1
        return ops.dropout(x, self.p, True, generator_for(self.seed, f"{self.path} {draw}"))

    def extra_repr(self) -> str:
        """The probability and the seed."""
        return f"p={self.p}, seed={self.seed}"
