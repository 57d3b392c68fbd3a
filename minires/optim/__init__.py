"""Optimizers, the schedules of their learning rates, and the clipping of gradients."""
from typing import TYPE_CHECKING

from minires.arguments import attribute_error
from minires.optim.adam import Adam, AdamW
from minires.optim.clipping import clip_grad_norm_
from minires.optim.optimizer import Optimizer, UpdateHook
from minires.optim.rmsprop import RMSProp
from minires.optim.schedule import CosineLR, LinearWarmup, MultiStepLR, Schedule
from minires.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "CosineLR", "LinearWarmup", "MultiStepLR", "Optimizer", "RMSProp", "Schedule",
           "UpdateHook", "clip_grad_norm_"]


if not TYPE_CHECKING:  # a type checker would take any name for one that this gives

    def __getattr__(name):
        raise attribute_error("minires.optim", name, __all__)
