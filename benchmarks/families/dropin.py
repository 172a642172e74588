"""torch_geometric's own layers and models, against themselves after `graphattn.accelerate`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv, GINConv, GPSConv, TransformerConv
from torch_geometric.nn.models import GAT

import graphattn
from benchmarks.families.contender import Build, Contender, Family, Inputs, Leaves
from benchmarks.graphs import Graph

EDGE_DIM = 16
# Biases that softmax or a batch norm takes out again: their gradients are rounding, which no two sides share.
WITHOUT_EFFECT = (
    *("lin_key.bias", "attn.out_proj.bias", "conv.nn.2.bias", "mlp.3.bias"),
    *("conv.lin_key.bias", "conv.lin_value.bias", "conv.lin_skip.bias"),
)

Make = Callable[[int, int], nn.Module]
Call = Callable[[nn.Module, Graph, Inputs], Tensor]


def _on_edges(module: nn.Module, graph: Graph, inputs: Inputs) -> Tensor:
    return module(inputs["x"], graph.edge_index)


def _on_edges_with_features(module: nn.Module, graph: Graph, inputs: Inputs) -> Tensor:
    return module(inputs["x"], graph.edge_index, inputs["edge_attr"])


def _on_batch(module: nn.Module, graph: Graph, inputs: Inputs) -> Tensor:
    return module(inputs["x"], graph.edge_index, graph.batch)


def _family(note: str, make: Make, call: Call = _on_edges, features: int | None = None) -> Family:
    """The family of a module.

    Args:
        note: the module in words.
        make: (channels of x, heads) → the module.
        call: (module, graph, inputs) → output.
        features: channels of x where it is data, whose gradient nobody asks for; None: x is what a layer before gave.
    """

    def make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
        x = torch.randn(graph.num_nodes, features or heads * channels)
        inputs = {"x": x}
        if call is _on_edges_with_features:
            inputs["edge_attr"] = torch.randn(graph.num_edges, EDGE_DIM)
        return inputs | {name: parameter.detach() for name, parameter in make(x.shape[1], heads).named_parameters()}

    def build(accelerated: bool) -> Build:
        def builder(graph: Graph, heads: int, inputs: Inputs) -> Contender:
            module = make(inputs["x"].shape[1], heads).to(inputs["x"].dtype)
            parameters = dict(module.named_parameters())
            module.load_state_dict({name: inputs[name].detach() for name in parameters}, strict=False)
            if accelerated:
                graphattn.accelerate(module)
            leaves: Leaves = {name: (tensor,) for name, tensor in parameters.items() if name not in WITHOUT_EFFECT}
            data = {name: tensor.detach() for name, tensor in inputs.items() if name not in parameters}
            if graph.edge_order is not None and "edge_attr" in data:
                data["edge_attr"] = data["edge_attr"][graph.edge_order]
            if features is None:
                data["x"].requires_grad_()
                leaves["x"] = (data["x"],)
            return Contender(lambda: call(module, graph, data), leaves)

        return builder

    contenders = {"ours": build(accelerated=True), "pyg": build(accelerated=False)}
    return Family(f"{note} after graphattn.accelerate against before", make_inputs, contenders)


def _gat_model(in_channels: int, heads: int) -> nn.Module:
    return GAT(in_channels, hidden_channels=8 * heads, num_layers=2, heads=heads)


def _gat(in_channels: int, heads: int) -> nn.Module:
    return GATConv(in_channels, in_channels // heads, heads)


def _gatv2(in_channels: int, heads: int) -> nn.Module:
    return GATv2Conv(in_channels, in_channels // heads, heads)


def _transformer(in_channels: int, heads: int) -> nn.Module:
    return TransformerConv(in_channels, in_channels // heads, heads, edge_dim=EDGE_DIM)


def _transformer_plain(in_channels: int, heads: int) -> nn.Module:
    return TransformerConv(in_channels, in_channels // heads, heads)


def _gps(in_channels: int, heads: int) -> nn.Module:
    mlp = nn.Sequential(nn.Linear(in_channels, in_channels), nn.ReLU(), nn.Linear(in_channels, in_channels))
    return GPSConv(in_channels, GINConv(mlp), heads)


def _gps_transformer(in_channels: int, heads: int) -> nn.Module:
    return GPSConv(in_channels, _transformer_plain(in_channels, heads), heads)


DROPIN_GAT_CORA = _family("torch_geometric's GAT of two layers on 1,433 features", _gat_model, features=1_433)
DROPIN_GAT_PUBMED = _family("torch_geometric's GAT of two layers on 500 features", _gat_model, features=500)
DROPIN_GAT = _family("GATConv", _gat)
DROPIN_GATV2 = _family("GATv2Conv", _gatv2)
DROPIN_TRANSFORMER = _family(f"TransformerConv(edge_dim={EDGE_DIM})", _transformer, _on_edges_with_features)
DROPIN_TRANSFORMER_PLAIN = _family("TransformerConv", _transformer_plain)
DROPIN_GPS_TRANSFORMER = _family("GPSConv with a TransformerConv", _gps_transformer, _on_batch)
DROPIN_GPS = _family("GPSConv with a GINConv", _gps, _on_batch)
