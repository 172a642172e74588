"""A layer of our encoder, masked and full attention side by side, beside torch_geometric's GPSConv of the same width."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch_geometric.nn import GPSConv, TransformerConv

from benchmarks.families.contender import Build, Contender, Family, Inputs, Leaves
from benchmarks.graphs import Graph
from graphattn.nn import AttentionContext, EncoderLayer

# Softmax takes them out again: their gradients are rounding.
WITHOUT_EFFECT = ("attention.masked.lin_key.bias", "attention.full.lin_key.bias")


def _layer(width: int, heads: int) -> EncoderLayer:
    return EncoderLayer(width, heads, attention="masked+full")


def _make_inputs(graph: Graph, heads: int, channels: int) -> Inputs:
    x = torch.randn(graph.num_nodes, heads * channels)
    return {"x": x} | {name: tensor.detach() for name, tensor in _layer(x.shape[1], heads).named_parameters()}


@contextmanager
def _backend(name: str | None) -> Iterator[None]:
    before = os.environ.get("GRAPHATTN_BACKEND")
    if name is not None:
        os.environ["GRAPHATTN_BACKEND"] = name
    try:
        yield
    finally:
        if name is not None:
            os.environ.pop("GRAPHATTN_BACKEND")
            if before is not None:
                os.environ["GRAPHATTN_BACKEND"] = before


def _ours(backend: str | None = None) -> Build:
    def build(graph: Graph, heads: int, inputs: Inputs) -> Contender:
        x = inputs["x"]
        layer = _layer(x.shape[1], heads).to(x.dtype)
        parameters = dict(layer.named_parameters())
        layer.load_state_dict({name: inputs[name].detach() for name in parameters})
        context = AttentionContext(graph.mask().prepare(), graph.blocks().prepare())

        def forward() -> Tensor:
            with _backend(backend):
                return layer(x, context).x

        leaves: Leaves = {name: (tensor,) for name, tensor in parameters.items() if name not in WITHOUT_EFFECT}
        return Contender(forward, leaves | {"x": (x,)})

    return build


def _pyg(graph: Graph, heads: int, inputs: Inputs) -> Contender:
    x, width = inputs["x"], inputs["x"].shape[1]
    layer = GPSConv(width, TransformerConv(width, width // heads, heads), heads).to(x.dtype)
    leaves: Leaves = {name: (tensor,) for name, tensor in layer.named_parameters()}
    return Contender(lambda: layer(x, graph.edge_index, graph.batch), leaves | {"x": (x,)})


ENCODER = Family(
    "EncoderLayer(attention='masked+full') beside GPSConv with a TransformerConv, another computation of the same size",
    _make_inputs,
    {"ours": _ours(), "reference": _ours("reference"), "pyg": _pyg},
)
