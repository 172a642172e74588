"""A drop-in layer beside torch_geometric's with the same weights, and what both give."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor

from graphattn.nn import conv

NODES, EDGES, WIDTH, OUT, HEADS, EDGE_DIM = 8, 24, 5, 4, 2, 3
LAYERS = ("GATConv", "GATv2Conv", "TransformerConv")


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    """Our layer and torch_geometric's, with the same weights."""
    ours, theirs = (getattr(module, name)(WIDTH, OUT, heads=HEADS, **options) for module in (conv, torch_geometric.nn))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def arguments(features: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, edge_index = torch.randn(NODES, WIDTH, generator=generator), torch.randint(NODES, (2, EDGES), generator=generator)
    return [x, edge_index, *([torch.randn(EDGES, EDGE_DIM, generator=generator)] if features else [])]


def outcome(layer: Any, given: list[Tensor]) -> list[Tensor]:
    """Output and all gradients."""
    out = layer(*given)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return [out, *torch.autograd.grad(out, list(layer.parameters()), direction, allow_unused=True, materialize_grads=True)]


def assert_same(ours: Any, theirs: Any, given: list[Tensor]) -> None:
    for found, expected in zip(outcome(ours, given), outcome(theirs, given), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
