"""Sums and maxima over the edges of each target. On a CPU they add in the edges' order: the same bits for any threads."""

from __future__ import annotations

from torch import Tensor


def segment_sum(values: Tensor, index: Tensor, size: int) -> Tensor:
    """out[i] = Σ_{e: index[e] = i} values[e]; an empty segment gives zero. Shapes [edges, ...] → [size, ...]."""
    return values.new_zeros((size, *values.shape[1:])).index_add(0, index, values)


def segment_max(values: Tensor, index: Tensor, size: int) -> Tensor:
    """out[i] = max_{e: index[e] = i} values[e]. Shapes [edges, heads] → [size, heads].

    An empty segment, and one of nothing but -inf (all masked by a bias), gives zero, so that it can be taken off.
    """
    out = values.new_full((size, *values.shape[1:]), float("-inf"))
    out = out.scatter_reduce(0, index.unsqueeze(-1).expand_as(values), values, "amax")
    return out.masked_fill(out == float("-inf"), 0.0)
