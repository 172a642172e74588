"""Sums and maxima over the edges of each target. On a CPU they add in the edges' order: the same bits for any threads."""

from __future__ import annotations

from torch import Tensor


def segment_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """out[i] = Σ_{e: index[e] = i} values[e]; an empty segment gives zero. Shapes [edges, ...] → [size, ...]."""
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def segment_max(values: Tensor, index: Tensor, size: int) -> Tensor:
    """out[i] = max_{e: index[e] = i} values[e]; an empty segment gives -inf. Shapes [edges, heads] → [size, heads]."""
    out = values.new_full((size, *values.shape[1:]), float("-inf"))
    return out.scatter_reduce(0, index.unsqueeze(-1).expand_as(values), values, "amax")
