"""`FlatNet`: convolutions in a row, with nothing else to explain what happens to a gradient."""
from minires import nn
from minires.arguments import flag, known_name, whole_number
from minires.engine.tensor import Tensor
from minires.models.block import convolution, normalization
from minires.nn.checkpointing import checked_every, run_in_turn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class FlatNet(nn.Module):
    """`depth` times a 3 x 3 convolution and its activation, at one width and image size. Made by `flat_net`.

    Layers: `layer1`, `layer2`, …, each with `conv`, `bn` and `act`; then `avgpool` and `fc`.
    """

    def __init__(self, depth: int, width: int, in_channels: int, activation: str, batch_norm: bool, num_classes: int = 10,
                 checkpoint_every: int | None = None) -> None:
        super().__init__()
        depth, width = whole_number("flat_net", "depth", depth), whole_number("flat_net", "width", width)
        activation = known_name("flat_net", "activation", activation, ACTIVATIONS)
        batch_norm = flag("flat_net", "batch_norm", batch_norm)
        self.checkpoint_every: int | None = checked_every("flat_net", checkpoint_every)
        self.layers: list[str] = []  # names of the layers, in order
        for i in range(1, depth + 1):
            layer = nn.Sequential({"conv": convolution(in_channels if i == 1 else width, width, 3),
                                   "bn": normalization(width, batch_norm),
                                   "act": ACTIVATIONS[activation]()})
            setattr(self, f"layer{i}", layer)
            self.layers.append(f"layer{i}")
        self.avgpool: nn.GlobalAvgPool2d = nn.GlobalAvgPool2d()
        self.fc: nn.Linear = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, num_classes)."""
        y = run_in_turn([getattr(self, layer) for layer in self.layers], x, self.checkpoint_every)
        y = self.avgpool(y)
        return self.fc(y)
