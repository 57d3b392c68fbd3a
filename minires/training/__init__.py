"""The training loop, and what decides a run of it."""
from minires.training.loop import Row, Training, evaluate, train_step

__all__ = ["Row", "Training", "evaluate", "train_step"]
