"""Optimizers, the schedules of their learning rates, and the clipping of gradients."""
from minires.optim.adam import Adam, AdamW
from minires.optim.clipping import clip_grad_norm_
from minires.optim.optimizer import Optimizer, UpdateHook
from minires.optim.rmsprop import RMSProp
from minires.optim.schedule import CosineLR, LinearWarmup, MultiStepLR, Schedule
from minires.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "CosineLR", "LinearWarmup", "MultiStepLR", "Optimizer", "RMSProp", "Schedule",
           "UpdateHook", "clip_grad_norm_"]
