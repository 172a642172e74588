"""Masks: how they are made, their order by hand, and that they travel through pytrees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch_geometric import EdgeIndex

from graphattn.ops import AdjacencyMask, BlockDiagonalMask

EDGES = torch.tensor([[0, 0, 2, 2], [1, 1, 0, 2]])  # a multi-edge and a self-loop


def edges(mask: AdjacencyMask) -> list[tuple[int, int]]:
    return list(zip(mask.source.tolist(), mask.target.tolist(), strict=True))


def test_edge_list() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 4)
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2)]
    assert (mask.num_sources, mask.num_targets, mask.num_edges) == (4, 4, 4)
    assert AdjacencyMask.from_edge_index(EDGES).num_targets == 3
    assert AdjacencyMask.from_edge_index(EDGES[:, :0]).num_targets == 0
    assert AdjacencyMask.from_edge_index(EDGES.int(), 3).source.dtype == torch.int64


def test_bipartite_edge_list() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[4, 0], [0, 1]]), (5, 2))
    assert (mask.num_sources, mask.num_targets) == (5, 2)


def test_edge_index_class() -> None:
    mask = AdjacencyMask.from_edge_index(EdgeIndex(EDGES, sparse_size=(3, 3)), 3)
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2)]
    assert type(mask.source) is Tensor


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_adjacency(layout: torch.layout) -> None:
    """A[target, source]: row 0 attends to 1 and 2, row 1 to 0."""
    dense = torch.tensor([[0.0, 1, 1], [1, 0, 0]])
    mask = AdjacencyMask.from_edge_index(dense.to_sparse(layout=layout))
    assert sorted(edges(mask)) == [(0, 1), (1, 0), (2, 0)]
    assert (mask.num_sources, mask.num_targets) == (3, 2)


def test_stored_zeros_are_edges() -> None:
    adjacency = torch.sparse_coo_tensor(torch.tensor([[0], [1]]), torch.zeros(1), (2, 2), check_invariants=True)
    assert edges(AdjacencyMask.from_edge_index(adjacency, 2)) == [(1, 0)]


def test_uncoalesced_matrix_keeps_its_multi_edges() -> None:
    index = torch.tensor([[1, 0, 1], [0, 2, 0]])
    adjacency = torch.sparse_coo_tensor(index, torch.ones(3), (3, 3), check_invariants=True)
    assert edges(AdjacencyMask.from_edge_index(adjacency)) == [(0, 1), (2, 0), (0, 1)]


def test_self_loops_come_last_also_where_there_is_one() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3).with_self_loops()
    assert edges(mask) == [(0, 1), (0, 1), (2, 0), (2, 2), (0, 0), (1, 1), (2, 2)]


def test_union_keeps_duplicates() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES, 3)
    other = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3)
    assert edges(mask | other) == [*edges(mask), (0, 1), (1, 2)]
    assert mask.num_edges == 4


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_pairs_of_an_unsorted_batch(dtype: torch.dtype) -> None:
    """Graph 0 is node 1; graph 1 has no node; graph 2 is nodes 0 and 2."""
    mask = BlockDiagonalMask.from_batch(torch.tensor([2, 0, 2], dtype=dtype))
    assert mask.ptr.tolist() == [0, 1, 1, 3]
    assert mask.order is not None
    assert mask.order.tolist() == [1, 0, 2]
    assert mask.num_pairs == 5
    assert edges(mask.pairs()) == [(1, 1), (0, 0), (2, 0), (0, 2), (2, 2)]  # (source, target), row by row


def test_batch_in_order_keeps_no_order() -> None:
    mask = BlockDiagonalMask.from_batch(torch.tensor([0, 0, 1]), num_graphs=3)
    assert mask.order is None
    assert mask.ptr.tolist() == [0, 2, 3, 3]
    assert edges(mask.pairs()) == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2)]
    assert edges(BlockDiagonalMask.from_ptr(mask.ptr).pairs()) == edges(mask.pairs())
    assert BlockDiagonalMask.single(2).ptr.tolist() == [0, 2]
    assert BlockDiagonalMask.single(0).num_pairs == 0


@pytest.mark.parametrize(
    "mask",
    [
        AdjacencyMask.from_edge_index(EDGES, (5, 3)),
        BlockDiagonalMask.from_batch(torch.tensor([1, 0])),
        BlockDiagonalMask.from_batch(torch.tensor([0, 1])),
    ],
    ids=["adjacency", "unsorted", "sorted"],
)
def test_pytree_round_trip_and_devices(mask: AdjacencyMask | BlockDiagonalMask) -> None:
    leaves, spec = pytree.tree_flatten(mask)
    assert any(isinstance(leaf, Tensor) for leaf in leaves)
    for again in (pytree.tree_unflatten(leaves, spec), mask.to("cpu")):
        assert type(again) is type(mask)
        for name, value in vars(mask).items():
            other = getattr(again, name)
            assert torch.equal(value, other) if isinstance(value, Tensor) else value == other
    assert mask.to("meta").num_targets == mask.num_targets
    assert all(value.is_meta for value in vars(mask.to("meta")).values() if isinstance(value, Tensor))
