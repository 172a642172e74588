"""A graph of Cora's size with random labels and 1,433 features of which a node has 18: GAT with two layers, and a linear head.

Neither side has biases or dropout. PyG's layers add self-loops in every call; ours get a mask that has them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv

from benchmarks.families.contender import Build, Contender, Family, Inputs, Leaves, trainer
from benchmarks.families.layer import attend, own_layer, parameter
from benchmarks.graphs import Graph
from graphattn.nn import SparseLinear
from graphattn.ops import Static

FEATURES, WORDS, CLASSES, LABELLED = 1_433, 18, 7, 140

Layer = Callable[[Tensor], Tensor]


def _make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
    width = heads * channels
    words = torch.rand(graph.num_nodes, FEATURES).topk(WORDS, dim=1).indices
    draw = {"map1": [width, FEATURES], "map2": [width, width], "head": [CLASSES, width]}
    draw |= {"att1": [2, heads, channels], "att2": [2, heads, channels]}
    inputs = {name: nn.init.xavier_uniform_(torch.empty(shape)) for name, shape in draw.items()}
    return {"features": torch.zeros(graph.num_nodes, FEATURES).scatter_(1, words, 1 / WORDS)} | inputs


def _contender(first: Layer, second: Layer, graph: Graph, features: Tensor, leaves: Leaves, parts: Leaves) -> Contender:
    """The model of these two layers and `head`, and an epoch of its training."""
    (head,) = leaves["head"]

    def forward() -> Tensor:
        return F.linear(F.elu(second(F.elu(first(features)))), head)

    tensors = [tensor for group in (*leaves.values(), *parts.values()) for tensor in group]
    target = torch.arange(graph.num_nodes) % CLASSES
    return Contender(forward, leaves, parts, trainer(forward, tensors, target, torch.arange(LABELLED)))


def _ours(sparse: bool) -> Build:
    """The maps that GATConv has, and `ops.attention`; `sparse` keeps the features sparse up to the first map's output."""

    def build(graph: Graph, heads: int, inputs: Inputs) -> Contender:
        leaves: Leaves = {name: (parameter(inputs[name]),) for name in ("map1", "att1", "map2", "att2", "head")}
        features = inputs["features"].detach()
        embed: Layer = partial(F.linear, weight=leaves["map1"][0])
        if sparse:
            features, embed = features.to_sparse_csr(), _sparse_linear(inputs["map1"])
            leaves["map1"] = (embed.weight,)
        mask = graph.mask().with_self_loops()

        def layer(linear: Layer, att: Tensor, x: Tensor) -> Tensor:
            projected = linear(x)
            return attend(projected, projected, mask, heads, Static(att))

        first = partial(layer, embed, leaves["att1"][0])
        second = partial(layer, partial(F.linear, weight=leaves["map2"][0]), leaves["att2"][0])
        return _contender(first, second, graph, features, leaves, {})

    return build


def _sparse_linear(weight: Tensor) -> SparseLinear:
    """The map as a layer for sparse inputs, which holds it transposed and always has a bias: zero here, and never trained."""
    linear = SparseLinear(weight.shape[1], weight.shape[0])
    linear.weight = parameter(weight.t().contiguous())
    linear.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
    return linear


def _own(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    leaves: Leaves = {"head": (parameter(inputs["head"]),)}
    mask, layers = graph.mask().with_self_loops(), []
    for number in ("1", "2"):
        weight = inputs[f"map{number}"]
        layer = own_layer((weight.shape[1], weight.shape[0]), heads, "static", (weight, weight, weight))
        layer.att = parameter(inputs[f"att{number}"])
        leaves[f"map{number}"] = (layer.lin_query.weight, layer.lin_key.weight, layer.lin_value.weight)
        leaves[f"att{number}"] = (layer.att,)
        layers.append(partial(layer, edge_index=mask))
    return _contender(layers[0], layers[1], graph, inputs["features"].detach(), leaves, {})


def _pyg(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    leaves: Leaves = {"head": (parameter(inputs["head"]),)}
    parts: Leaves = {}
    layers = []
    for number in ("1", "2"):
        weight, att = inputs[f"map{number}"], inputs[f"att{number}"]
        conv = GATConv(weight.shape[1], weight.shape[0] // heads, heads, bias=False)
        conv.lin.weight, conv.att_dst, conv.att_src = parameter(weight), parameter(att[:1]), parameter(att[1:])
        leaves[f"map{number}"], parts[f"att{number}"] = (conv.lin.weight,), (conv.att_dst, conv.att_src)
        layers.append(partial(conv, edge_index=graph.edge_index))
    return _contender(layers[0], layers[1], graph, inputs["features"].detach(), leaves, parts)


CORA = Family(
    "the maps that GATConv has, on dense features, and ops.attention, against GATConv",
    _make_inputs,
    {"ours": _ours(sparse=False), "pyg": _pyg},
)
CORA_SPARSE = Family(
    "the same with the features kept sparse (SparseLinear), against GATConv on dense features",
    _make_inputs,
    {"ours": _ours(sparse=True), "pyg": _pyg},
)
CORA_OWN = Family(
    "MaskedSelfAttention(score='static', out_proj=False), three maps a layer, against GATConv, one map a layer; dense features",
    _make_inputs,
    {"ours": _own, "pyg": _pyg},
)
