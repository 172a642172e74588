"""Full attention inside each graph of a batch, from packed queries, keys and values: no linear map on either side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import to_dense_batch

from benchmarks.families.contender import Contender, Family, Inputs, one_each
from benchmarks.graphs import Graph
from graphattn.ops import attention


def _make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
    return {"packed": torch.randn(graph.num_nodes, 3, heads, channels)}


def _ours(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    mask = graph.blocks()

    def forward() -> Tensor:
        query, key, value = inputs["packed"].unbind(1)
        out = attention(query, key, value, mask)
        assert isinstance(out, Tensor)
        return out

    return Contender(forward, one_each(inputs))


def _padded(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    """All graphs padded to the largest. Its sizes are handed over, which spares the rival two reductions a call."""
    sizes = torch.bincount(graph.batch)
    largest, number = int(sizes.max()), sizes.shape[0]

    def forward() -> Tensor:
        dense, present = to_dense_batch(inputs["packed"], graph.batch, max_num_nodes=largest, batch_size=number)
        query, key, value = dense.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=present[:, None, None, :])
        return out.transpose(1, 2)[present]

    return Contender(forward, one_each(inputs))


FULL = Family(
    "ops.attention on a BlockDiagonalMask against to_dense_batch and masked scaled_dot_product_attention",
    _make_inputs,
    {"ours": _ours, "padded": _padded},
)
