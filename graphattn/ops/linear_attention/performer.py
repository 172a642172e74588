from __future__ import annotations

import math

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.linear_attention.sums import graph_of_nodes, kernel_sums
from graphattn.ops.segment import segment_max


def performer(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor, projection: Tensor) -> Tensor:
    r"""FAVOR+: softmax attention, estimated by positive orthogonal random features.

    .. math::
        o_i = \frac{\sum_j (\varphi(q_i) \cdot \varphi(k_j)) v_j}{\sum_j \varphi(q_i) \cdot \varphi(k_j)}, \qquad
        \varphi(x) = \exp\!\big(\Omega \hat x - \lVert \hat x \rVert^2 / 2\big), \quad \hat x = x / c^{1/4}

    with c channels; E φ(q) · φ(k) = exp(q · k / √c) over the draw of Ω. The exponents are kept in range by each feature's
    maximum over the keys of the graph and each query's own maximum; both cancel in the fraction, so nothing has to be added to
    a denominator, which is at least one. The estimate is good for queries and keys that are short (q̂, k̂ of length one, say):
    its variance rises with the exponential of their lengths.

    Choromanski et al., "Rethinking attention with Performers" (2021). torch_geometric's `PerformerAttention` has
    max(Ωx, 0) + 0.001 for φ, which estimates no softmax.

    Args:
        query, key, value, ptr: as every form takes them.
        projection: Ω, [features, channels], see `orthogonal_projection`.
    """
    graph, shrink = graph_of_nodes(ptr, query.shape[0]), query.shape[-1] ** -0.25
    query, key = query * shrink, key * shrink
    of_key = (key @ projection.t()).sub_(key.square().sum(-1, keepdim=True) / 2)
    peak = segment_max(of_key.detach().flatten(1), graph, ptr.shape[0] - 1).index_select(0, graph).view_as(of_key)
    # In place, for these are the largest tensors; and without ‖q‖² / 2, which is one factor of a row and cancels.
    of_query = (query @ projection.t()).add_(peak)
    of_query = of_query.sub_(of_query.detach().amax(-1, keepdim=True))
    weighted, total = kernel_sums(of_query.exp_(), of_key.sub_(peak).exp_(), value, ptr)
    return weighted / total


def orthogonal_projection(channels: int, features: int | None = None) -> Tensor:
    """Ω of `performer`: rows orthogonal in blocks, each as long as a Gaussian vector; the same at every call, float32.

    Args:
        channels: channels of a head.
        features: number of rows; default ⌈c ln c⌉ of the paper's bound, and c at least. More make a better estimate.

    Raises:
        InputError: on fewer than one feature.
    """
    features = max(channels, math.ceil(channels * math.log(channels))) if features is None else features
    if features < 1:
        raise InputError(f"features must be a positive number of random features, got {features}")
    generator = torch.Generator().manual_seed(0)
    blocks = []
    for _ in range(math.ceil(features / channels)):
        block, triangle = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))
        blocks.append(block * triangle.diagonal().sign())  # without the signs not uniform over all rotations
    lengths = torch.randn(features, channels, generator=generator, dtype=torch.float64).norm(dim=1, keepdim=True)
    return (torch.cat(blocks)[:features] * lengths).float()
