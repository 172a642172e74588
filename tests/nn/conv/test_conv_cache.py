"""What the drop-in layers keep of an `edge_index`: its sorted edges with their self-loops, until it changes or is gone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from conv_pairs import HEADS, LAYERS, NODES, OUT, WIDTH, pair
from torch import Tensor
from torch_geometric import EdgeIndex

from graphattn.nn import conv
from graphattn.ops import AdjacencyMask
from graphattn.ops.mask import adjacency


def edges() -> Tensor:
    return torch.randint(NODES, (2, 20), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one number of edges whenever edges are grouped by node."""
    counted: list[int] = []

    def group(row: Tensor, *others: Any) -> Any:
        counted.append(row.shape[0])
        return original(row, *others)

    original = adjacency.group_edges
    monkeypatch.setattr(adjacency, "group_edges", group)
    return counted


@pytest.mark.parametrize("kind", ["tensor", "EdgeIndex", "coo", "csr"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_same_edges_are_sorted_once(name: str, kind: str, sorts: list[int]) -> None:
    x, edge_index = torch.randn(NODES, WIDTH), edges()
    if kind == "EdgeIndex":
        edge_index = EdgeIndex(edge_index, sparse_size=(NODES, NODES))
    elif kind != "tensor":
        dense = torch.zeros(NODES, NODES)
        dense[edge_index[1], edge_index[0]] = 1
        edge_index = dense.to_sparse() if kind == "coo" else dense.to_sparse_csr()
    first, second = (getattr(conv, name)(WIDTH, 3, heads=2) for _ in range(2))
    for layer in (first, second, first):
        layer(x, edge_index).sum().backward()
    assert len(sorts) == 2  # by target and by source
    getattr(conv, name)(WIDTH, 3, flow="source_to_target")(x, edge_index)
    assert len(sorts) == 2


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_layers_that_want_other_edges_share_what_they_can(flow: str, sorts: list[int]) -> None:
    x, edge_index = torch.randn(NODES, WIDTH), edges()
    layers = [conv.GATConv(WIDTH, WIDTH, flow=flow), conv.TransformerConv(WIDTH, WIDTH, flow=flow)]
    for layer in layers * 3:
        x = layer(x, edge_index)
    loops = int((edge_index[0] == edge_index[1]).sum())
    assert loops
    assert sorts == [20 - loops + NODES] * 2 + [20] * 2


@pytest.mark.parametrize("name", LAYERS)
def test_a_change_in_place_is_noticed(name: str) -> None:
    ours, theirs = pair(name)
    x, edge_index = torch.randn(NODES, WIDTH), edges()
    before = ours(x, edge_index)
    edge_index[0, 3] = (edge_index[0, 3] + 1) % NODES
    edge_index[:, 5] = 2  # a new self-loop
    after = ours(x, edge_index)
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, theirs(x, edge_index))


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_outlives_the_edges(name: str) -> None:
    edge_index = edges()
    layer = getattr(conv, name)(WIDTH, 3)
    layer(torch.randn(NODES, WIDTH), edge_index).sum().backward()
    kept = AdjacencyMask.from_edge_index(edge_index, NODES)
    looped, _ = kept.with_self_loops_renewed()
    alive = [weakref.ref(edge_index), weakref.ref(kept), weakref.ref(looped)]
    del edge_index, kept, looped
    gc.collect()
    assert [reference() for reference in alive] == [None] * 3


@pytest.mark.parametrize("fill_value", ["mean", "add", "max", 0.5, torch.tensor([1.0, -1.0])])
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_features_of_self_loops_are_formed_anew(name: str, fill_value: Any) -> None:
    """Only the edges are kept: new features give new ones to the loops, with gradients."""
    ours, theirs = pair(name, edge_dim=2, fill_value=fill_value)
    x, edge_index = torch.randn(NODES, WIDTH), edges()
    for _ in range(2):
        edge_attr = torch.randn(20, 2)
        found, expected = (edge_attr.clone().requires_grad_() for _ in range(2))
        direction = torch.randn(NODES, HEADS * OUT)
        for layer, attr in ((ours, found), (theirs, expected)):
            out = layer(x, edge_index, attr)
            out.backward(direction)
        torch.testing.assert_close(ours(x, edge_index, found), theirs(x, edge_index, expected))
        assert found.grad is not None
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=1e-4)


def test_other_numbers_of_nodes_are_other_masks() -> None:
    ours, theirs = pair("GATConv")
    edge_index = edges()
    for nodes in (NODES, NODES + 3, NODES):
        x = torch.randn(nodes, WIDTH)
        torch.testing.assert_close(ours(x, edge_index), theirs(x, edge_index))


def test_edges_made_in_inference_mode_are_not_kept() -> None:
    ours, theirs = pair("GATConv")
    with torch.inference_mode():
        x, edge_index = torch.randn(NODES, WIDTH), edges()
        before = ours(x, edge_index)
        edge_index[0] = edge_index[0].flip(0)
        assert not torch.equal(ours(x, edge_index), before)
        torch.testing.assert_close(ours(x, edge_index), theirs(x, edge_index))


def test_edges_seen_in_inference_mode_serve_training_later() -> None:
    layer = conv.GATConv(WIDTH, 3)
    x, edge_index = torch.randn(NODES, WIDTH), edges()
    with torch.inference_mode():
        layer(x, edge_index)
    layer(x, edge_index).sum().backward()
    assert layer.att_src.grad is not None
