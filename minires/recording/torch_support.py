"""Which models of PyTorch can be recorded: those whose modules run one by one in this process. Others are refused."""
from __future__ import annotations

from typing import Any

import torch

from minires.errors import ArgumentError, DTypeError

COMPILED = ("is compiled by torch.compile, and no hook is called inside compiled code: record the net that was compiled "
            "(model._orig_mod, or the model before model.compile()) and run that meanwhile")
SHARDED = ("keeps the weights of its modules in pieces on several processes, so that no norm here would be that of a "
           "weight: record the net before it is sharded")
REFUSED = {  # a class of PyTorch, by name, and why its hooks would show nothing or something else
    "OptimizedModule": COMPILED,
    "ScriptModule": "is a script of torch.jit, whose parts run without hooks: record the net that it was made from",
    "DataParallel": "runs copies of the net, one on each device, and a copy is not recorded: record the net itself, "
                    "model.module, and run that meanwhile",
    "DistributedDataParallel": "is the wrapping of a net: record the net itself, model.module, and go on running the "
                               "wrapped one. Each process then records the gradients of its own share of the batch",
    "FullyShardedDataParallel": SHARDED,
    "FSDPModule": SHARDED,
}


def check_model(model: torch.nn.Module) -> None:
    """Raise where a model, or a part of it, cannot be recorded.

    Raises:
        ArgumentError: it is compiled, scripted, or spread over several devices by a class of PyTorch's.
    """
    for name, module in model.named_modules():
        part = f"the model's part {name!r}" if name else "the model"
        for kind in type(module).__mro__:
            if kind.__name__ in REFUSED and kind.__module__.startswith("torch."):
                raise ArgumentError(f"record_gradients: {part}, of class {kind.__name__}, {REFUSED[kind.__name__]}")
        if getattr(module, "_compiled_call_impl", None) is not None:  # by module.compile()
            raise ArgumentError(f"record_gradients: {part} {COMPILED}")


def check_optimizer(optimizer: Any) -> None:
    """Raise where this is neither None nor an optimizer of PyTorch.

    Raises:
        DTypeError: it is something else.
    """
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise DTypeError(f"record_gradients: optimizer is a {type(optimizer).__name__}, expected one of PyTorch for a model "
                         "of PyTorch, such as torch.optim.SGD(model.parameters(), …)")


def check_scaler(scaler: Any) -> None:
    """Raise where this is neither None nor a gradient scaler of PyTorch.

    Raises:
        DTypeError: it is something else.
    """
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise DTypeError(f"record_gradients: grad_scaler is a {type(scaler).__name__}, expected the torch.amp.GradScaler "
                         "that scales the loss")
