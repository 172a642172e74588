"""Shortest-path buckets against networkx, and by hand."""

from __future__ import annotations

import os

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_cases import check_batches, drawn, from_networkx, graph, graphs, table
from torch_geometric.data import Data

from graphattn.chem import from_smiles
from graphattn.errors import InputError
from graphattn.structure import AddDistance


@drawn
@given(graphs(), st.integers(1, 5))
def test_equals_networkx(data: Data, longest: int) -> None:
    network = nx.DiGraph()
    network.add_nodes_from(range(data.num_nodes))
    network.add_edges_from(data.edge_index.t().tolist())
    expected = torch.full((data.num_nodes, data.num_nodes), longest + 2, dtype=torch.uint8)
    for source, lengths in nx.all_pairs_shortest_path_length(network):
        for target, length in lengths.items():
            expected[target, source] = min(length, longest + 1)
    assert torch.equal(AddDistance(longest)(data).distance_pair, expected.flatten())


def test_one_way_street() -> None:
    """0 → 1 → 2 → 3 with at most 2 told apart: further is 3, no path 4. A row is a target, a column a source."""
    data = AddDistance(2)(Data(edge_index=torch.tensor([[0, 1, 2, 2], [1, 2, 3, 3]]), num_nodes=4))
    assert data.distance_pair.dtype == torch.uint8
    assert table(data.distance_pair, 4).tolist() == [[0, 4, 4, 4], [1, 0, 4, 4], [2, 1, 0, 4], [3, 2, 1, 0]]


def test_salts_have_pairs_without_a_path() -> None:
    data = AddDistance(8)(from_smiles("[Na+].CC"))
    assert table(data.distance_pair, 3).tolist() == [[0, 10, 10], [10, 0, 1], [10, 1, 0]]


def test_long_path_fits_the_largest_bucket() -> None:
    data = AddDistance(253)(from_networkx(nx.path_graph(300)))
    assert table(data.distance_pair, 300)[0].tolist() == [min(place, 254) for place in range(300)]


@drawn
@given(st.lists(graphs(), min_size=1, max_size=4), st.integers(0, 99))
def test_batched_as_alone(some: list[Data], seed: int) -> None:
    check_batches(AddDistance(3), "distance_pair", some, seed)


def test_input_is_not_changed() -> None:
    data = graph([(0, 1)], 2)
    AddDistance()(data)
    assert set(data.keys()) == {"edge_index", "num_nodes"}


def test_nothing_at_all() -> None:
    data = AddDistance()(Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=0))
    assert data.distance_pair.shape == (0,)


@pytest.mark.parametrize("longest", [0, 254])
def test_bad_longest(longest: int) -> None:
    with pytest.raises(InputError, match=rf"longest must lie in \[1, 253\], got {longest}"):
        AddDistance(longest)


def test_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 19}.__getitem__)
    AddDistance()(from_networkx(nx.path_graph(9)))
    with pytest.raises(
        InputError, match=r"distances of 100 pairs of nodes would take about 100 bytes, more than half of the 190"
    ):
        AddDistance()(from_networkx(nx.path_graph(10)))
