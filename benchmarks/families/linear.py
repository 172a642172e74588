"""Linear attention inside each graph of a batch, from packed queries, keys and values: no linear map on either side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor
from torch_geometric.utils import to_dense_batch

from benchmarks.families.contender import Contender, Family, Inputs, one_each
from benchmarks.graphs import Graph
from graphattn.ops.linear_attention import linear_attention, orthogonal_projection

# Of query, key, value [graphs, nodes, heads, channels] and present [graphs, nodes, 1, 1] → [graphs, nodes, heads, channels].
Dense = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


_projection = cache(lambda channels, dtype: orthogonal_projection(channels).to(dtype))


def _sums(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j (q_i · k_j) v_j and Σ_j q_i · k_j; what is padding in key is zero."""
    state = torch.einsum("bnhc,bnhd->bhcd", key, value)
    return torch.einsum("bnhc,bhcd->bnhd", query, state), torch.einsum("bnhc,bhc->bnh", query, key.sum(1)).unsqueeze(-1)


def _sgformer(query: Tensor, key: Tensor, value: Tensor, present: Tensor) -> Tensor:
    norms = (rows.square().sum((1, 3), keepdim=True).rsqrt() for rows in (query, key))
    factor = 1 / present.sum(1, keepdim=True)
    for norm in norms:
        factor = factor * norm
    weighted, total = _sums(query * factor, key, value)
    return (value + weighted) / (1 + total)


def _polynormer(query: Tensor, key: Tensor, value: Tensor, present: Tensor) -> Tensor:
    weighted, total = _sums(query.sigmoid(), key.sigmoid() * present, value)
    return weighted / total


def _performer(query: Tensor, key: Tensor, value: Tensor, present: Tensor) -> Tensor:
    channels = query.shape[-1]
    projection = _projection(channels, query.dtype)
    query, key = query * channels**-0.25, key * channels**-0.25
    of_key = (key @ projection.t() - key.square().sum(-1, keepdim=True) / 2).masked_fill(~present, float("-inf"))
    peak = of_key.detach().amax(1, keepdim=True)
    of_query = query @ projection.t() + peak
    weighted, total = _sums((of_query - of_query.detach().amax(-1, keepdim=True)).exp(), (of_key - peak).exp(), value)
    return weighted / total


def _make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
    return {"packed": torch.randn(graph.num_nodes, 3, heads, channels)}


def _ours(form: str, graph: Graph, heads: int, inputs: Inputs) -> Contender:
    mask = graph.blocks()
    channels, dtype = inputs["packed"].shape[-1], inputs["packed"].dtype
    projection = _projection(channels, dtype) if form == "performer" else None

    def forward() -> Tensor:
        query, key, value = inputs["packed"].unbind(1)
        return linear_attention(query, key, value, mask, form, projection)

    return Contender(forward, one_each(inputs))


def _padded(attend: Dense, graph: Graph, heads: int, inputs: Inputs) -> Contender:
    """All graphs padded to the largest. Its sizes are handed over, which spares the rival two reductions a call."""
    sizes = torch.bincount(graph.batch)
    largest, number = int(sizes.max()), sizes.shape[0]

    def forward() -> Tensor:
        dense, present = to_dense_batch(inputs["packed"], graph.batch, max_num_nodes=largest, batch_size=number)
        return attend(*dense.unbind(2), present[:, :, None, None])[present]

    return Contender(forward, one_each(inputs))


def _family(form: str, attend: Dense) -> Family:
    return Family(
        f"ops.linear_attention on a BlockDiagonalMask, form {form}, against to_dense_batch and einsum",
        _make_inputs,
        {"ours": partial(_ours, form), "padded": partial(_padded, attend)},
    )


_FORMS = {"sgformer": _sgformer, "polynormer": _polynormer, "performer": _performer}
LINEAR = {form: _family(form, attend) for form, attend in _FORMS.items()}
