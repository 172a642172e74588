"""Whole layers with their linear maps. No map has a bias, on either side.

`MaskedSelfAttention` always has three maps. GATv2Conv has two (its values are its keys) and GATConv one, so the same
computation as theirs is written here with `ops.attention`; the "own" families put our three-map layers beside theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

from benchmarks.families.contender import Contender, Family, Inputs, Leaves, one_each
from benchmarks.graphs import Graph
from graphattn.nn import MaskedSelfAttention
from graphattn.ops import Additive, AdjacencyMask, Score, Static, attention


def _make_inputs(maps: str, vectors: int) -> Callable[[Graph, int, int], Inputs]:
    """x [nodes, width], maps [width, width] and, where the score has any, its vectors `att` [vectors, heads, channels]."""

    def make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
        width = heads * channels
        inputs = {"x": torch.randn(graph.num_nodes, width)}
        inputs |= {name: nn.init.xavier_uniform_(torch.empty(width, width)) for name in maps.split()}
        return inputs | ({"att": torch.randn(vectors, heads, channels)} if vectors else {})

    return make_inputs


def parameter(tensor: Tensor) -> nn.Parameter:
    """A leaf of its own with these values: gradients of copies are told apart, and an optimiser changes nobody else's."""
    return nn.Parameter(tensor.detach().clone())


def attend(query: Tensor, key: Tensor, edges: Tensor | AdjacencyMask, heads: int, score: Score) -> Tensor:
    """Attention with keys for values: [nodes, width] → [nodes, width]."""
    mask = edges if isinstance(edges, AdjacencyMask) else AdjacencyMask.from_edge_index(edges, key.shape[0])
    q = query.unflatten(1, (heads, -1))
    k = q if key is query else key.unflatten(1, (heads, -1))
    out = attention(q, k, k, mask, score=score)
    assert isinstance(out, Tensor)
    return out.flatten(1)


def own_layer(width: tuple[int, int], heads: int, score: str, maps: tuple[Tensor, Tensor, Tensor]) -> MaskedSelfAttention:
    """Our layer with these maps for queries, keys and values; the vectors of the score are left as they are drawn."""
    layer = MaskedSelfAttention(*width, heads, score=score, bias=False, out_proj=False).to(maps[0].dtype)
    for linear, weight in zip((layer.lin_query, layer.lin_key, layer.lin_value), maps, strict=True):
        linear.weight = parameter(weight)
    return layer


def _ours_dot(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, maps = inputs["x"], (inputs["query"], inputs["key"], inputs["value"])
    layer = own_layer((x.shape[1], x.shape[1]), heads, "dot", maps)
    weights: Leaves = {name: (getattr(layer, f"lin_{name}").weight,) for name in ("query", "key", "value")}
    return Contender(lambda: layer(x, graph.edge_index), {"x": (x,)} | weights)


def _pyg_dot(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x = inputs["x"]
    conv = TransformerConv(x.shape[1], x.shape[1] // heads, heads, bias=False, root_weight=False)
    for name in ("query", "key", "value"):
        getattr(conv, f"lin_{name}").weight = parameter(inputs[name])
    weights: Leaves = {name: (getattr(conv, f"lin_{name}").weight,) for name in ("query", "key", "value")}
    return Contender(lambda: conv(x, graph.edge_index), {"x": (x,)} | weights)


def _ours_gatv2(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, score = inputs["x"], Additive(inputs["att"][0])

    def forward() -> Tensor:
        return attend(F.linear(x, inputs["query"]), F.linear(x, inputs["key"]), graph.edge_index, heads, score)

    return Contender(forward, one_each(inputs))


def _own_gatv2(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, width = inputs["x"], inputs["x"].shape[1]
    layer = own_layer((width, width), heads, "additive", (inputs["query"], inputs["key"], inputs["key"]))
    layer.att = parameter(inputs["att"][0])
    key = (layer.lin_key.weight, layer.lin_value.weight)
    leaves: Leaves = {"x": (x,), "query": (layer.lin_query.weight,), "key": key, "att": (layer.att,)}
    return Contender(lambda: layer(x, graph.edge_index), leaves)


def _pyg_gatv2(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x = inputs["x"]
    conv = GATv2Conv(x.shape[1], x.shape[1] // heads, heads, add_self_loops=False, bias=False)
    conv.lin_l.weight, conv.lin_r.weight = parameter(inputs["key"]), parameter(inputs["query"])
    conv.att = parameter(inputs["att"])
    leaves: Leaves = {"x": (x,), "query": (conv.lin_r.weight,), "key": (conv.lin_l.weight,), "att": (conv.att,)}
    return Contender(lambda: conv(x, graph.edge_index), leaves)


def _ours_gat(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, score = inputs["x"], Static(inputs["att"])

    def forward() -> Tensor:
        projected = F.linear(x, inputs["key"])
        return attend(projected, projected, graph.edge_index, heads, score)

    return Contender(forward, one_each(inputs))


def _own_gat(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, width = inputs["x"], inputs["x"].shape[1]
    layer = own_layer((width, width), heads, "static", (inputs["key"], inputs["key"], inputs["key"]))
    layer.att = parameter(inputs["att"])
    maps = (layer.lin_query.weight, layer.lin_key.weight, layer.lin_value.weight)
    return Contender(lambda: layer(x, graph.edge_index), {"x": (x,), "key": maps, "att": (layer.att,)})


def _pyg_gat(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, att = inputs["x"], inputs["att"]
    conv = GATConv(x.shape[1], x.shape[1] // heads, heads, add_self_loops=False, bias=False)
    conv.lin.weight = parameter(inputs["key"])
    conv.att_dst, conv.att_src = parameter(att[:1]), parameter(att[1:])
    leaves: Leaves = {"x": (x,), "key": (conv.lin.weight,)}
    return Contender(lambda: conv(x, graph.edge_index), leaves, {"att": (conv.att_dst, conv.att_src)})


LAYER_DOT = Family(
    "MaskedSelfAttention(score='dot', out_proj=False) against TransformerConv(root_weight=False): three maps each",
    _make_inputs("query key value", 0),
    {"ours": _ours_dot, "pyg": _pyg_dot},
)
LAYER_GATV2 = Family(
    "two maps and ops.attention with one tensor as key and value against GATv2Conv: two maps each",
    _make_inputs("query key", 1),
    {"ours": _ours_gatv2, "pyg": _pyg_gatv2},
)
LAYER_GAT = Family(
    "one map and ops.attention with one tensor as query, key and value against GATConv: one map each",
    _make_inputs("key", 2),
    {"ours": _ours_gat, "pyg": _pyg_gat},
)
OWN_GATV2 = Family(
    "MaskedSelfAttention(score='additive', out_proj=False), three maps, against GATv2Conv, two maps",
    LAYER_GATV2.make_inputs,
    {"ours": _own_gatv2, "pyg": _pyg_gatv2},
)
OWN_GAT = Family(
    "MaskedSelfAttention(score='static', out_proj=False), three maps, against GATConv, one map",
    LAYER_GAT.make_inputs,
    {"ours": _own_gat, "pyg": _pyg_gat},
)
