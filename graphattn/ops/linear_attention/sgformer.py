from __future__ import annotations

import math

from torch import Tensor

from graphattn.ops.linear_attention.sums import graph_of_nodes, kernel_sums
from graphattn.ops.segment import segment_sum

# Queries or keys whose squares sum up to less count as zero, which no norm can be made of.
_TINY = 1e-20


def sgformer(query: Tensor, key: Tensor, value: Tensor, ptr: Tensor) -> Tensor:
    r"""The simple global attention of SGFormer, each head for itself.

    .. math::
        o_i = \frac{v_i + \frac{1}{n} \sum_j (\tilde q_i \cdot \tilde k_j) v_j}
                   {1 + \frac{1}{n} \sum_j \tilde q_i \cdot \tilde k_j}, \qquad
        \tilde Q = Q / \lVert Q \rVert_F, \quad \tilde K = K / \lVert K \rVert_F

    with n nodes in the graph and the Frobenius norms over the graph. They keep every denominator positive from two nodes on
    (it is at least 1 - 1/√n); a graph of one node keeps its value.

    Wu et al., "SGFormer: Simplifying and empowering transformers for large-graph representations" (2023). torch_geometric's
    `SGFormerAttention` divides each query and key by its own norm instead, under which a denominator can be zero, and
    takes the mean over heads.
    """
    num_graphs = ptr.shape[0] - 1
    graph = graph_of_nodes(ptr, query.shape[0])
    # The norms are one factor a graph and head, taken to the sums instead of to all queries and keys.
    squares = (segment_sum(rows.square().sum(-1, keepdim=True), graph, num_graphs) for rows in (query, key))
    of_query, of_key = (square.masked_fill(square < _TINY, math.inf).rsqrt() for square in squares)
    factor = of_query * of_key / ptr.diff().clamp(min=1)[:, None, None]
    weighted, total = (sums * factor.index_select(0, graph) for sums in kernel_sums(query, key, value, ptr))
    # As a step from the value itself: of one node, both sides of the fraction may be near zero, but the step is zero. From two
    # nodes on the denominator is at least 1 - 1 / √2.
    return value + (weighted - total * value) / (1 + total).clamp(min=0.25)
