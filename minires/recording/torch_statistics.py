"""What activations.py and histograms.py tell of arrays, of PyTorch's tensors: on their device, without waiting for it.

Complex numbers count as two, their real and their imaginary part. On the host these are NumPy's own, which are faster there.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from minires.recording import activations, histograms
from minires.recording.histograms import BELOW, NOT_FINITE, ZEROS
from minires.recording.torch_norms import dense_values


def statistics(tensors: Sequence[Any]) -> tuple[Any, Any, Any]:
    """(mean, standard deviation, share of exact zeros) of all elements of these tensors, as `activations.statistics`."""
    values = [dense_values(x.detach()) for x in tensors]
    if all(x.device.type == "cpu" for x in values):
        mean, std, zeros = activations.statistics([_as_array(x) for x in values])
        return torch.tensor(mean), torch.tensor(std), torch.tensor(zeros)
    return statistics_on_device(values)


def statistics_on_device(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The same of dense, real tensors, by PyTorch."""
    total = sum(x.numel() for x in values)
    if total == 0:
        nothing = torch.full((), math.nan, dtype=torch.float64)
        return nothing, nothing, nothing
    each = [[number.to(values[0].device) for number in _moments(x)] for x in values if x.numel()]
    means, stds, zeros = zip(*each, strict=True)
    return activations.pooled(means, stds, zeros, [x.numel() / total for x in values if x.numel()])


def _as_array(x):
    """A tensor on the host as an array of float32, or of float64; its memory where it can be."""
    return (x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float64)).resolve_neg().numpy()


def _moments(x):
    """(mean, standard deviation, share of zeros) of one tensor; scaled by the largest, as sums of float64 may overflow."""
    zeros = (x == 0).to(torch.float64).mean()
    scale: Any = 1.0
    if x.dtype == torch.float64:
        largest = torch.linalg.vector_norm(x, math.inf)
        scale = torch.where((largest > 0) & (largest < math.inf), largest, 1.0)
    x = x.to(torch.float64) / scale
    mean = x.mean()
    return mean * scale, (x - mean).square().mean().sqrt() * scale, zeros


def count(gradient: Any, edges: np.ndarray, scale: float) -> Any:
    """How many elements of gradient / scale are of which size, as `histograms.count`: a vector of len(edges) + 3."""
    values = dense_values(gradient.detach())
    if scale != 1:
        values = values.to(torch.float64) / scale
    if values.device.type == "cpu":
        return torch.from_numpy(histograms.count(_as_array(values), edges))
    return count_on_device(values, edges)


def count_on_device(values: Any, edges: np.ndarray) -> Any:
    """The same of a dense, real tensor, by PyTorch."""
    size = values.to(torch.float64).abs().flatten()
    is_finite = torch.isfinite(size)
    counts = torch.zeros(len(edges) + 3, dtype=torch.int64, device=size.device)
    counts[ZEROS] = (size == 0).sum()
    counts[NOT_FINITE] = (~is_finite).sum()
    sizes = torch.where(is_finite, size, 0.0)
    place = torch.bucketize(sizes, torch.from_numpy(edges).to(size.device), right=True)  # how many edges are not above
    places = torch.zeros(len(edges) + 1, dtype=torch.int64, device=size.device)
    places.index_add_(0, place, (sizes > 0).to(torch.int64))
    counts[BELOW:NOT_FINITE] = places
    return counts
