"""Message and aggregate alone: from queries, keys and values to the output, without the linear maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

from benchmarks.families.contender import Build, Contender, Family, Inputs, one_each
from benchmarks.graphs import Graph
from graphattn.ops import Additive, Dot, Score, Static, attention, attention_reference

Roles = Callable[[Inputs], tuple[Tensor, Tensor, Tensor, Score]]


def _normal(names: str) -> Callable[[Graph, int, int], Inputs]:
    """Inputs of these names, [nodes, heads, channels] but for `packed`, three of it [nodes, 3, heads, channels], and the
    score's: `att` [heads, channels], and `atts`, two of it."""

    def make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
        packed = (graph.num_nodes, 3, heads, channels)
        shapes = {"att": (heads, channels), "atts": (2, heads, channels), "packed": packed}
        default = (graph.num_nodes, heads, channels)
        return {name: torch.randn(shapes.get(name, default)) for name in names.split()}

    return make_inputs


def _dot(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Score]:
    return inputs["query"], inputs["key"], inputs["value"], Dot()


def _gatv2(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Score]:
    return inputs["query"], inputs["key"], inputs["key"], Additive(inputs["att"])


def _gat(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Score]:
    return inputs["x"], inputs["x"], inputs["x"], Static(inputs["atts"])


def _ours(roles: Roles) -> Build:
    def build(graph: Graph, heads: int, inputs: Inputs) -> Contender:
        query, key, value, score = roles(inputs)
        mask = graph.mask()

        def forward() -> Tensor:
            out = attention(query, key, value, mask, score=score)
            assert isinstance(out, Tensor)
            return out

        return Contender(forward, one_each(inputs))

    return build


def _ours_packed(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    mask = graph.mask()

    def forward() -> Tensor:
        out = attention(inputs["packed"], None, None, mask)
        assert isinstance(out, Tensor)
        return out

    return Contender(forward, one_each(inputs))


def _reference(roles: Roles, compiled: bool) -> Build:
    def build(graph: Graph, heads: int, inputs: Inputs) -> Contender:
        query, key, value, score = roles(inputs)
        mask = graph.mask()

        def plain() -> Tensor:
            return attention_reference(query, key, value, mask, score, "softmax", None, None, 0.0, None)[0]

        return Contender(torch.compile(plain) if compiled else plain, one_each(inputs))

    return build


def _reference_packed(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    mask = graph.mask()

    def forward() -> Tensor:
        query, key, value = inputs["packed"].unbind(1)
        return attention_reference(query, key, value, mask, Dot(), "softmax", None, None, 0.0, None)[0]

    return Contender(forward, one_each(inputs))


def _pyg_dot(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    query, key, value = inputs["query"], inputs["key"], inputs["value"]
    channels = query.shape[2]
    conv = TransformerConv(heads * channels, channels, heads, root_weight=False)

    def forward() -> Tensor:
        out = conv.propagate(graph.edge_index, query=query, key=key, value=value, edge_attr=None)
        conv._alpha = None  # as the layer does after this call: the weights must not outlive it
        return out

    return Contender(forward, one_each(inputs))


def _pyg_gatv2(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    query, key = inputs["query"], inputs["key"]
    channels = query.shape[2]
    conv = GATv2Conv(heads * channels, channels, heads, add_self_loops=False)
    conv.att = torch.nn.Parameter(inputs["att"].detach().unsqueeze(0))

    def forward() -> Tensor:
        alpha = conv.edge_updater(graph.edge_index, x=(key, query), edge_attr=None)
        return conv.propagate(graph.edge_index, x=(key, query), alpha=alpha)

    return Contender(forward, one_each(inputs) | {"att": (conv.att,)})


def _pyg_gat(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, atts = inputs["x"], inputs["atts"]
    channels = x.shape[2]
    conv = GATConv(heads * channels, channels, heads, add_self_loops=False)

    def forward() -> Tensor:
        of_query, of_key = atts.unbind(0)
        per_node = (x * of_key).sum(-1), (x * of_query).sum(-1)
        alpha = conv.edge_updater(graph.edge_index, alpha=per_node, edge_attr=None, size=None)
        return conv.propagate(graph.edge_index, x=(x, x), alpha=alpha, size=None)

    return Contender(forward, one_each(inputs))


def _family(note: str, names: str, roles: Roles, pyg: Build) -> Family:
    contenders = {
        "ours": _ours(roles),
        "pyg": pyg,
        "reference": _reference(roles, compiled=False),
        "compile": _reference(roles, compiled=True),
    }
    return Family(note, _normal(names), contenders)


OP_DOT = _family("ops.attention against TransformerConv's propagate", "query key value", _dot, _pyg_dot)
OP_DOT_PACKED = Family(
    "ops.attention on one table of queries, keys and values",
    _normal("packed"),
    {"ours": _ours_packed, "reference": _reference_packed},
)
OP_GATV2 = _family(
    "ops.attention with one tensor as key and value against GATv2Conv's edge_updater and propagate",
    "query key att",
    _gatv2,
    _pyg_gatv2,
)
OP_GAT = _family(
    "ops.attention with one tensor as query, key and value against GATConv's per-node scalars, edge_updater and propagate",
    "x atts",
    _gat,
    _pyg_gat,
)
