"""What PyTorch tells of its engine, its tensors and its modules only under names that begin with an underscore.

All of them are what PyTorch's own `DistributedDataParallel`, checkpoints and hooks for several gradients stand on.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

NO_PASS = -1  # the number of the pass where none runs


def current_pass() -> int:
    """A number of the backward pass that runs in this thread, the innermost where a checkpoint runs one in another."""
    return torch._C._current_graph_task_id()


def call_at_the_end_of_the_pass(function: Callable[[], None]) -> None:
    """Call it once the backward pass that runs has ended; not where the pass fails."""
    torch.autograd.Variable._execution_engine.queue_callback(function)


def is_transformed() -> bool:
    """Does a transform of torch.func (grad, vmap, …) run this code?"""
    core: Any = torch._C
    return core._functorch.peek_interpreter_stack() is not None


def version_of(x: torch.Tensor) -> int:
    """How often a tensor has been changed in place."""
    return x._version


def is_view(x: torch.Tensor) -> bool:
    """Does it show the values of another tensor, on the graph as well?"""
    return x._is_view()


def own_weights(module: torch.nn.Module) -> list[torch.Tensor]:
    """The parameter `weight` of a module; of a layer that has none, such as an LSTM, all its kernels and matrices."""
    weight = module._parameters.get("weight")  # without a search for what is not there
    if weight is not None:
        return [weight]
    own: list[torch.Tensor] = [parameter for parameter in module._parameters.values() if parameter is not None]
    matrices = [parameter for parameter in own if parameter.ndim >= 2]
    if isinstance(module, torch.nn.MultiheadAttention):
        return [*matrices, module.out_proj.weight]  # of a layer in it that never runs itself
    if matrices and (module._modules or hasattr(module, "weight")):
        return []  # a block's are no layer's; `torch.nn.utils.weight_norm` computes the weight of others
    return matrices


def next_number() -> int:
    """The number of the next node of the graph that this thread makes: later nodes have larger ones."""
    autograd: Any = torch.autograd
    return autograd._get_sequence_nr()


def number_of(node: Any) -> int:
    """The number of a node of the graph; that of a leaf is larger than all."""
    return node._sequence_nr()
