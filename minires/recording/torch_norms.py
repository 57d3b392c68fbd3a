"""Norms of PyTorch's tensors, as 0-d tensors in float64 on the tensors' device: nothing waits for a GPU before `on_host`."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

ROW = 512  # elements whose squares are summed up in float32: as exact as the values, and in a sixth of the time
LARGE = 2**15  # elements, from which on this is faster than a copy in float64
SAFE = 1e-12, 1e15  # within these norms, no square in float32 that matters has vanished or overflowed
NO_FLOAT64 = ("mps",)  # devices without it: the norm is taken on the host


def euclidean_norm(x: Any) -> Any:
    """‖x‖ over all elements, as `arrays.norms.euclidean_norm`; of a tensor of any dtype, dense or sparse.

    Large float32 tensors on the host are summed up in rows of 512 in float32, and the rows in float64: the norm is exact up
    to 1e-7 of itself. All others are in float64 throughout.
    """
    x = dense_values(x.detach())
    if x.numel() == 0:
        return torch.zeros((), dtype=torch.float64, device=x.device)
    if x.dtype == torch.float64:
        largest = torch.linalg.vector_norm(x, math.inf)  # whose square may not fit in float64
        scale = torch.where((largest > 0) & (largest < math.inf), largest, 1.0)
        return scale * torch.linalg.vector_norm(x / scale)
    if _has_rows(x):
        rows, rest = _rows(x)
        norm = torch.linalg.vector_norm(torch.linalg.vector_norm(rows, dim=1), dtype=torch.float64)  # (N, 512) -> (N,) -> ()
        if rest.numel():
            norm = torch.hypot(norm, torch.linalg.vector_norm(rest, dtype=torch.float64))
        if _is_safe(norm):
            return norm
    return torch.linalg.vector_norm(x, dtype=torch.float64)


def _has_rows(x):
    """Is it to be summed up in rows?"""
    return x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() >= LARGE and x.is_contiguous()


def _rows(x):
    """Its elements in rows of 512, and those that are left."""
    whole = x.numel() // ROW * ROW
    return x.view(-1)[:whole].view(-1, ROW), x.view(-1)[whole:]


def _is_safe(norm):
    return SAFE[0] < float(norm) < SAFE[1]  # on the host, where nobody waits for it


def dense_values(x: Any) -> Any:
    """The numbers of a sparse or complex tensor, or of one on a device without float64, as a real dense one."""
    if x.layout == torch.sparse_coo:
        x = x.coalesce().values()  # an embedding's, say
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
    return x.cpu() if x.device.type in NO_FLOAT64 else x


def ratio(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator of two 0-d tensors, NaN where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator, math.nan)


def cosine(a: Any, b: Any, a_norm: Any, b_norm: Any) -> Any:
    """a · b / (‖a‖ ‖b‖) of two tensors of one shape and their norms; NaN where a norm is 0 or not finite.

    It is summed up as a norm is.
    """
    if _has_rows(a) and _has_rows(b) and _is_safe(a_norm) and _is_safe(b_norm):
        (rows, rest), (other_rows, other_rest) = _rows(a), _rows(b)
        products = torch.linalg.vecdot(rows, other_rows).to(torch.float64)                # (N, 512), (N, 512) -> (N,)
        return (products.sum() + torch.dot(rest.to(torch.float64), other_rest.to(torch.float64))) / (a_norm * b_norm)
    one, other = [torch.where((norm > 0) & (norm < math.inf), norm, math.nan) for norm in (a_norm, b_norm)]
    a, b = [x.cpu() if x.device.type in NO_FLOAT64 else x for x in (a, b)]
    return torch.sum((a.to(torch.float64) / one) * (b.to(torch.float64) / other))


def on_host(numbers: Sequence[Any]) -> list[np.float64]:
    """0-d tensors as numbers of NumPy, in one transfer from each device."""
    places: dict[Any, list[int]] = {}
    for i, number in enumerate(numbers):
        places.setdefault(number.device, []).append(i)
    values = np.empty(len(numbers))
    for _device, indices in places.items():
        values[indices] = torch.stack([numbers[i] for i in indices]).cpu().numpy()
    return list(values)
