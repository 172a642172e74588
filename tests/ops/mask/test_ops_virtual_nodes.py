"""Virtual nodes: their edges and types by hand, attention through them against plain sums, and that they pass tracers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask, attention, with_virtual_nodes

EDGES = torch.tensor([[0, 2], [2, 0]])
BATCH = torch.tensor([2, 0, 2])  # graph 1 has no node


def triples(mask: AdjacencyMask) -> list[tuple[int, int, int]]:
    assert mask.edge_type is not None
    return list(zip(mask.source.tolist(), mask.target.tolist(), mask.edge_type.tolist(), strict=True))


def test_by_hand() -> None:
    """Nodes 3, 4, 5 are the virtual ones of graphs 0, 1, 2."""
    mask, batch = with_virtual_nodes(AdjacencyMask.from_edge_index(EDGES, 3), BlockDiagonalMask.from_batch(BATCH))
    assert triples(mask) == [(0, 2, 0), (2, 0, 0), (0, 5, 1), (1, 3, 1), (2, 5, 1), (5, 0, 2), (3, 1, 2), (5, 2, 2)]
    assert (mask.num_sources, mask.num_targets, mask.num_types) == (6, 6, 3)
    assert batch.tolist() == [2, 0, 2, 0, 1, 2]


def test_several_virtual_nodes_and_types_of_the_edges() -> None:
    """Nodes 3 and 4 are those of graph 0, 7 and 8 those of graph 2; the edges have two types of their own."""
    edges = AdjacencyMask.from_edge_index(EDGES, 3).with_types(torch.tensor([1, 0]), 2)
    mask, batch = with_virtual_nodes(edges, BlockDiagonalMask.from_batch(BATCH), 2)
    to_virtual = [(0, 7), (0, 8), (1, 3), (1, 4), (2, 7), (2, 8)]
    expected = [(0, 2, 1), (2, 0, 0), *((j, i, 2) for j, i in to_virtual), *((i, j, 3) for j, i in to_virtual)]
    assert triples(mask) == expected
    assert mask.num_types == 4
    assert batch.tolist() == [2, 0, 2, 0, 0, 1, 1, 2, 2]


def test_each_hears_the_mean_of_its_graph() -> None:
    """Equal scores: a virtual node gets the mean of its graph, one of an empty graph nothing."""
    mask, batch = with_virtual_nodes(AdjacencyMask.from_edge_index(EDGES, 3), BlockDiagonalMask.from_batch(BATCH), 2)
    value = torch.tensor([1.0, 10, 3, 7, 7, 7, 7, 7, 7]).view(-1, 1, 1)
    assert len(batch) == len(value)
    out = attention(torch.zeros_like(value), torch.zeros_like(value), value, mask).flatten()
    assert out[3:].unflatten(0, (3, 2)).tolist() == [[10, 10], [0, 0], [2, 2]]
    assert out[:3].tolist() == pytest.approx([(3 + 7 + 7) / 3, 7, (1 + 7 + 7) / 3])


def test_nothing_but_empty_graphs() -> None:
    blocks = BlockDiagonalMask.from_batch(torch.zeros(0, dtype=torch.long), 2)
    mask, batch = with_virtual_nodes(AdjacencyMask.from_edge_index(EDGES[:, :0], 0), blocks)
    assert (mask.num_edges, mask.num_targets, batch.tolist()) == (0, 2, [0, 1])
    zero = torch.zeros(2, 1, 1)
    assert attention(zero, zero, zero + 1, mask).flatten().tolist() == [0, 0]


def test_made_once() -> None:
    mask, blocks = AdjacencyMask.from_edge_index(EDGES, 3), BlockDiagonalMask.from_batch(BATCH)
    made = with_virtual_nodes(mask, blocks, 2)
    assert with_virtual_nodes(mask, blocks, 2) is made
    assert with_virtual_nodes(mask, blocks, 1)[0].num_targets == 6
    assert with_virtual_nodes(mask, BlockDiagonalMask.single(3), 2)[0].num_targets == 5
    with torch.inference_mode():
        inside, batch = with_virtual_nodes(mask, blocks, 3)
    assert not any(tensor.is_inference() for tensor in (inside.source, inside.target, inside.edge_type, batch))


def test_bad_input() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3)
    with pytest.raises(InputError, match=r"^count must be at least 1 virtual node a graph, got 0$"):
        with_virtual_nodes(mask, BlockDiagonalMask.single(3), 0)
    with pytest.raises(InputError, match=r"^mask must be of the 4 nodes of blocks, got 3 → 3 nodes$"):
        with_virtual_nodes(mask, BlockDiagonalMask.single(4))


class Model(nn.Module):
    """Attention over nodes and two virtual nodes of each of two graphs, on unions made inside."""

    def forward(self, x: Tensor, edge_index: Tensor, more: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        nodes = x.shape[0]
        blocks = BlockDiagonalMask.from_batch(batch, 2)
        mask = AdjacencyMask.from_edge_index(edge_index, nodes) | AdjacencyMask.from_edge_index(more, nodes)
        mask, of_all = with_virtual_nodes(mask.with_self_loops(), blocks, 2)
        rows = torch.cat([x, x.new_ones(2 * 2, x.shape[1])]).unsqueeze(1)
        out = attention(rows, rows, rows, mask, bias=mask.type_columns.sum(1, keepdim=True) * mask.edge_type.unsqueeze(1))
        return out[nodes:].flatten(1), of_all


def inputs(nodes: int, edges: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(nodes)
    ends = (torch.randint(nodes, (2, size), generator=generator) for size in (edges, edges + 3))
    return torch.randn(nodes, 4, generator=generator), *ends, torch.arange(nodes) % 2


def test_compile_and_export() -> None:
    model = Model()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    nodes = Dim("nodes")
    shapes = {"x": {0: nodes}, "edge_index": {1: Dim("edges")}, "more": {1: Dim("more")}, "batch": {0: nodes}}
    exported = torch.export.export(model, inputs(5, 6), dynamic_shapes=shapes).module()
    for sizes in ((5, 6), (9, 20)):
        expected, of_all = model(*inputs(*sizes))
        for function in (compiled, exported):
            out, batch = function(*inputs(*sizes))
            assert torch.allclose(out, expected, atol=1e-6)
            assert torch.equal(batch, of_all)
