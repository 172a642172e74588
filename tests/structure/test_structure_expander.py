"""Expander edges: degrees, symmetry and connection by NetworkX, the spectral gap, and that a graph has its own in any batch."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure import expander

NO_EDGES = torch.zeros(2, 0, dtype=torch.long)


def of_one(nodes: int, degree: int, edge_index: Tensor = NO_EDGES) -> AdjacencyMask:
    return expander(AdjacencyMask.from_edge_index(edge_index, nodes), BlockDiagonalMask.single(nodes), degree)


def pairs(mask: AdjacencyMask) -> list[tuple[int, int]]:
    return list(zip(mask.source.tolist(), mask.target.tolist(), strict=True))


def dense(mask: AdjacencyMask) -> np.ndarray:
    matrix = np.zeros((mask.num_targets, mask.num_sources))
    np.add.at(matrix, (mask.target.numpy(), mask.source.numpy()), 1)
    return matrix


@pytest.mark.parametrize("degree", [3, 4, 5, 6, 9])
def test_simple_symmetric_regular_connected(degree: int) -> None:
    for nodes in [*range(30), 64, 65, 101, 500]:
        mask = of_one(nodes, degree)
        matrix = dense(mask)
        assert (matrix <= 1).all()
        assert (matrix == matrix.T).all()
        assert not matrix.diagonal().any()
        expected = [min(degree, nodes - 1)] * nodes
        if nodes > degree + 1 and nodes * degree % 2:
            expected[0] -= 1
        assert sorted(matrix.sum(1)) == expected
        assert nodes == 0 or nx.is_connected(nx.from_numpy_array(matrix))


def test_few_nodes_are_a_complete_graph() -> None:
    assert pairs(of_one(3, 4)) == [(1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2)]
    assert (dense(of_one(5, 4)) == 1 - np.eye(5)).all()
    assert of_one(1, 4).num_edges == of_one(0, 4).num_edges == 0


@pytest.mark.parametrize("degree", [3, 4, 5, 6, 8])
def test_spectral_gap(degree: int) -> None:
    """max(|λ_2|, |λ_n|) of the adjacency matrix, by LAPACK up to 200 nodes and by Lanczos above."""
    bound = 2 * math.sqrt(degree - 1) + 0.1
    for nodes in [*range(degree + 2, 80), 100, 151, 200]:
        values = np.linalg.eigvalsh(dense(of_one(nodes, degree)))
        assert max(values[-2], -values[0]) <= bound, nodes
    for nodes in (1000, 5001):
        mask = of_one(nodes, degree)
        adjacency = csr_array((np.ones(mask.num_edges), (mask.target.numpy(), mask.source.numpy())), shape=(nodes, nodes))
        values = np.sort(np.abs(eigsh(adjacency, k=3, which="LM", v0=np.arange(nodes) % 7 + 1.0, return_eigenvectors=False)))
        assert values[-1] == pytest.approx(degree, abs=0.01)
        assert values[-2] <= bound, nodes


def test_a_small_graph_without_the_gap_is_drawn_again() -> None:
    """Of the 70 cubic graphs on six nodes 10 are K₃,₃, where a signal only swings from side to side: its eigenvalue is -3."""
    for seed in range(60):
        values = np.linalg.eigvalsh(dense(of_one(6, 3, torch.arange(2 * seed).reshape(2, -1) % 6)))
        assert values[0] > -2.5


def test_edges_are_spread_evenly() -> None:
    """Over many seeds every pair of 12 nodes is joined about as often: with probability 4 / 11."""
    counts = sum(dense(of_one(12, 4, torch.arange(2 * seed).reshape(2, -1) % 12)) for seed in range(1, 401))
    often = counts[~np.eye(12, dtype=bool)] / 400
    assert np.abs(often - 4 / 11).max() < 0.12  # five standard deviations of a mean of 400
    assert often.std() < 0.03


def graphs() -> tuple[Tensor, Tensor]:
    """Five graphs, one empty, the same path in the second and the last; edges between places in the graph, one by one."""
    generator = torch.Generator().manual_seed(3)
    sizes = torch.tensor([7, 9, 0, 80, 9])
    batch = torch.repeat_interleave(torch.arange(5), sizes)
    start = sizes.cumsum(0) - sizes
    path = torch.stack([torch.arange(8), torch.arange(1, 9)])
    parts = [torch.randint(7, (2, 10), generator=generator), path + 7, torch.randint(80, (2, 99), generator=generator) + 16]
    return batch, torch.cat([*parts, path + start[4]], dim=1)


def test_a_graph_has_its_edges_alone_and_in_any_batch() -> None:
    batch, edge_index = graphs()
    made = pairs(expander(AdjacencyMask.from_edge_index(edge_index, len(batch)), BlockDiagonalMask.from_batch(batch), 4))
    expected = []
    for graph in range(5):
        nodes = (batch == graph).nonzero().flatten()
        own = edge_index[:, batch[edge_index[0]] == graph] - (nodes[0] if len(nodes) else 0)
        alone = pairs(of_one(len(nodes), 4, own))
        expected += [(int(nodes[j]), int(nodes[i])) for j, i in alone]
    assert made == expected
    second = {(j - 7, i - 7) for j, i in made if 7 <= i < 16}
    assert second == {(j - 96, i - 96) for j, i in made if i >= 96}


def test_an_unsorted_batch() -> None:
    """Nodes of a graph and its edges keep their order, but lie among those of others."""
    batch, edge_index = graphs()
    moved = batch[torch.randperm(len(batch), generator=torch.Generator().manual_seed(1))]
    place = moved.argsort(stable=True)  # where each node of the sorted batch stands now
    assert (moved.diff() < 0).any()
    sorted_ = expander(AdjacencyMask.from_edge_index(edge_index, len(batch)), BlockDiagonalMask.from_batch(batch), 4)
    mixed = expander(AdjacencyMask.from_edge_index(place[edge_index], len(batch)), BlockDiagonalMask.from_batch(moved), 4)
    assert pairs(mixed) == [(int(place[j]), int(place[i])) for j, i in pairs(sorted_)]


def test_the_seed_is_the_graph() -> None:
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    made = pairs(of_one(30, 4, edges))
    assert pairs(of_one(30, 4, edges)) == made
    others = [of_one(30, 4, torch.tensor([[0, 1, 2], [1, 2, 4]])), of_one(30, 4, torch.tensor([[0, 1, 1], [1, 2, 3]]))]
    others += [of_one(30, 4, edges.flip(0)), of_one(30, 4, edges.flip(1)), of_one(30, 4, edges[:, :2]), of_one(30, 4)]
    assert all(pairs(other) != made for other in others)


def test_the_drawing_itself() -> None:
    """A saved model predicts from these edges: if this fails, networkx draws others; raise `AddExpander.version`."""
    made = pairs(of_one(7, 3, torch.tensor([[0, 1, 2], [1, 2, 3]])))
    expected = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4), (0, 5), (4, 5), (1, 6), (5, 6)]
    assert [(j, i) for j, i in made if j < i] == expected


def test_bad_input() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[0], [3]]), 4)
    with pytest.raises(InputError, match=r"^degree must be at least 3, got 2$"):
        expander(mask, BlockDiagonalMask.single(4), 2)
    with pytest.raises(InputError, match=r"^mask must be of the 5 nodes of blocks, got 4 → 4 nodes$"):
        expander(mask, BlockDiagonalMask.single(5), 3)
    with pytest.raises(InputError, match=r"has edges between two graphs$"):
        expander(mask, BlockDiagonalMask.from_batch(torch.tensor([0, 0, 1, 1])), 3)
