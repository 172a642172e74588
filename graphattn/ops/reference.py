"""The equation in plain PyTorch: the specification of every kernel and the oracle of every test.

o_i = Σ_{j ∈ M(i)} α_ij · v_ij        α_i· = normalise_{j ∈ M(i)} ( score(q_i, k_ij) + b_ij )
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.ops.linear import map_rows
from graphattn.ops.mask import AdjacencyMask
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.philox import dropout_mask
from graphattn.ops.score import Score
from graphattn.ops.segment import segment_sum


class EdgeFeatures(NamedTuple):
    """What edges add to keys and values: k_ij = k_j + W_k e_ij and v_ij = v_j + W_v e_ij.

    Args:
        attr: the features e, shape [edges, edge_channels].
        key_weight: W_k, shape [heads, channels, edge_channels], or None to leave keys as they are.
        value_weight: W_v, shape [heads, value channels, edge_channels], or None to leave values as they are.
    """

    attr: Tensor
    key_weight: Tensor | None = None
    value_weight: Tensor | None = None


def attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: AdjacencyMask,
    score: Score,
    normaliser: str,
    bias: Tensor | None,
    edge_attr: EdgeFeatures | None,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Output [targets, heads, value channels] and weights before dropout [edges, heads]; arguments as in `attention`."""
    source, target, size = mask.source, mask.target, mask.num_targets
    pair_key, pair_value = key.index_select(0, source), value.index_select(0, source)
    if edge_attr is not None:
        if edge_attr.key_weight is not None:
            pair_key = pair_key + map_rows(edge_attr.attr, edge_attr.key_weight)
        if edge_attr.value_weight is not None:
            pair_value = pair_value + map_rows(edge_attr.attr, edge_attr.value_weight)
    scores = score(query.index_select(0, target), pair_key)
    if bias is not None:
        torch._check(bias.shape[0] == scores.shape[0])  # a tracer cannot know that all pairs are as many as their biases
        scores = scores + bias
    weights = normaliser_of(normaliser)(scores, target, size)
    kept = weights
    if dropout and seed is not None:
        kept = weights * dropout_mask(weights.shape[0], weights.shape[1], dropout, seed) / (1 - dropout)
    return segment_sum(kept.unsqueeze(-1) * pair_value, target, size), weights
