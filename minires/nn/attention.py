"""Attention with several heads: Vaswani et al. 2017, arXiv:1706.03762, section 3.2."""
from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from minires import ops
from minires.arguments import flag, given_or_new_generator, instance, whole_number
from minires.engine.tensor import Tensor
from minires.errors import ArgumentError, ShapeError
from minires.nn import init
from minires.nn.linear import Linear
from minires.nn.module import Module


class MultiheadAttention(Module):
    """Each place of a sequence takes a mean of the values of others, weighed by how well its query fits their keys.

        scores = q kᵀ / √D,  weights = softmax(scores),  y = weights v              in each head, equation 1
        q, k, v = query W_q, key W_k, value W_v;  output = (all heads' y, side by side) W_o

    The four products are layers of their own, `q_proj`, `k_proj`, `v_proj` and `out_proj`, so that a recording shows the
    gradient of each. (PyTorch keeps the first three in one: `in_proj_weight` is theirs, one below the other.) Sequences are
    (N, L, E), as PyTorch's with batch_first=True. Weights are Glorot-uniform, biases zero.

    Args:
        embed_dim: E, the length of the vectors.
        num_heads: H; each head sees D = E / H numbers of them.
        bias: do the four layers have one?
        generator: a `np.random.Generator` that draws the weights; an unseeded one by default.

    Raises:
        ArgumentError: a size is not a positive integer, or `num_heads` does not divide `embed_dim`.
        DTypeError: `generator` is none of NumPy's.
    """

    def __init__(self, embed_dim: int, num_heads: int, bias: bool = True, *, generator: np.random.Generator | None = None):
        super().__init__()
        self.embed_dim: int = whole_number("MultiheadAttention", "embed_dim", embed_dim)
        self.num_heads: int = whole_number("MultiheadAttention", "num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            raise ArgumentError(f"MultiheadAttention: embed_dim {embed_dim} cannot be split into {num_heads} heads: "
                                "num_heads must divide it")
        has_bias = flag("MultiheadAttention", "bias", bias)
        generator = given_or_new_generator("MultiheadAttention", generator)
        self.q_proj: Linear = Linear(self.embed_dim, self.embed_dim, has_bias)
        self.k_proj: Linear = Linear(self.embed_dim, self.embed_dim, has_bias)
        self.v_proj: Linear = Linear(self.embed_dim, self.embed_dim, has_bias)
        self.out_proj: Linear = Linear(self.embed_dim, self.embed_dim, has_bias)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            init.glorot_uniform_(layer.weight, generator)

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None,
                attn_mask: ArrayLike | None = None, need_weights: bool = True,
                average_attn_weights: bool = True) -> tuple[Tensor, Tensor | None]:
        """(output, weights): what the values are for each query, and how they were weighed.

        Args:
            query: (N, L, E).
            key: (N, S, E); None: the query, which then attends to itself.
            value: (N, S, E); None: the key.
            attn_mask: booleans (L, S), or (N, H, L, S) or what broadcasts to it; True where a query must not look, as in
                PyTorch. `np.triu(np.ones((L, L), bool), 1)` hides what comes later. A query that may look nowhere gets NaN.
            need_weights: are the weights wanted?
            average_attn_weights: their mean over the heads, or those of each?

        Returns:
            output (N, L, E); weights (N, L, S), or (N, H, L, S) of each head, or None.

        Raises:
            ShapeError: the sequences do not fit one another or E, or the mask does not broadcast.
            ArgumentError: a flag is neither True nor False.
            DTypeError: the mask holds no booleans, or a sequence is no tensor.
        """
        key = query if key is None else key
        value = key if value is None else value
        self.check(query, key, value)
        need_weights = flag("MultiheadAttention", "need_weights", need_weights)
        average = flag("MultiheadAttention", "average_attn_weights", average_attn_weights)
        q = self.heads(self.q_proj, query)                                       # (N, L, E) -> (N, H, L, D)
        k = self.heads(self.k_proj, key)                                         # (N, S, E) -> (N, H, S, D)
        v = self.heads(self.v_proj, value)                                       # (N, S, E) -> (N, H, S, D)
        scores = q * (1 / math.sqrt(q.shape[3])) @ k.transpose(0, 1, 3, 2)       # (N, H, L, D) @ (N, H, D, S)
        if attn_mask is not None:
            scores = self.masked(scores, attn_mask)                              # (N, H, L, S)
        weights = ops.softmax(scores, axis=3)                                    # shares of the S places
        y = weights @ v                                                          # (N, H, L, S) @ (N, H, S, D)
        N, H, L, D = y.shape
        beside = y.transpose(0, 2, 1, 3).reshape(N * L, H * D)                   # (N, H, L, D) -> (N, L, H, D) -> (N·L, E)
        output = self.out_proj(beside).reshape(N, L, H * D)                      # -> (N, L, E)
        if not need_weights:
            return output, None
        return output, weights.mean(axis=1) if average else weights              # (N, H, L, S) -> (N, L, S)

    def heads(self, layer: Linear, x: Tensor) -> Tensor:
        """A sequence through a layer, split into the parts of the heads: (N, L, E) -> (N, H, L, D)."""
        N, L, E = x.shape
        y = layer(x.reshape(N * L, E))                                           # (N, L, E) -> (N·L, E)
        y = y.reshape(N, L, self.num_heads, E // self.num_heads)                 # -> (N, L, H, D)
        return y.transpose(0, 2, 1, 3)

    def masked(self, scores: Tensor, attn_mask: ArrayLike) -> Tensor:
        """The scores (N, H, L, S) with -inf where the mask is True."""
        masked = ops.where(attn_mask, -math.inf, scores)
        if masked.shape != scores.shape:
            raise ShapeError(f"{self.title}: attn_mask has shape {np.shape(attn_mask)}, expected one that broadcasts to the "
                             f"scores (N, H, L, S) = {scores.shape}, such as (L, S)")
        return masked

    def check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Raise an error that says what does not fit."""
        for name, x in (("query", query), ("key", key), ("value", value)):
            instance("MultiheadAttention", name, x, Tensor, "a tensor")
            if x.ndim != 3 or x.shape[2] != self.embed_dim or 0 in x.shape[1:]:
                raise ShapeError(f"{self.title}: expected {name} (N, length, {self.embed_dim}), got shape {x.shape}")
        if not len(query) == len(key) == len(value) or key.shape[1] != value.shape[1]:
            raise ShapeError(f"{self.title}: query {query.shape}, key {key.shape} and value {value.shape} must have one N, "
                             "and key and value one length")

    @property
    def title(self) -> str:
        """What error messages call it."""
        return "MultiheadAttention" + (f" (layer {self.path!r})" if self.path else "")

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.embed_dim}, num_heads={self.num_heads}"
