"""Resistance distances against numpy's pseudo-inverse and networkx, and by Ohm's law."""

from __future__ import annotations

import os

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_cases import check_batches, drawn, from_networkx, graph, graphs, table
from torch_geometric.data import Data

from graphattn.chem import from_smiles
from graphattn.errors import InputError
from graphattn.structure import AddResistance


@drawn
@given(graphs(), st.booleans())
def test_equals_the_pseudo_inverse_of_each_component(data: Data, weighted: bool) -> None:
    n = data.num_nodes
    one_way = np.zeros((n, n))
    for (source, target), weight in zip(data.edge_index.t().tolist(), data.weight.tolist(), strict=True):
        one_way[source, target] += weight if weighted else 1
    conductance = np.maximum(one_way, one_way.T)
    network = nx.from_numpy_array(conductance)
    expected = np.zeros((n, n, 2))
    for nodes in nx.connected_components(network):
        chosen = np.ix_(list(nodes), list(nodes))
        part = conductance[chosen] - np.diag(conductance[chosen].diagonal())
        inverse = np.linalg.pinv(np.diag(part.sum(0)) - part, hermitian=True)
        diagonal = inverse.diagonal()
        expected[(*chosen, 0)] = diagonal[:, None] + diagonal[None] - 2 * inverse
        expected[(*chosen, 1)] = 1
    actual = AddResistance("weight" if weighted else None)(data).resistance_pair
    torch.testing.assert_close(actual, torch.from_numpy(expected).float().flatten(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("network", [nx.karate_club_graph(), nx.petersen_graph(), nx.cycle_graph(50)], ids=str)
def test_equals_networkx(network: nx.Graph) -> None:
    n = network.number_of_nodes()
    expected = torch.tensor(
        [[nx.resistance_distance(network, i, j) for j in range(n)] for i in range(0, n, 7)], dtype=torch.float64
    )
    actual = table(AddResistance()(from_networkx(network)).resistance_pair, n)
    torch.testing.assert_close(actual[::7, :, 0].double(), expected, rtol=1e-5, atol=1e-6)
    assert bool((actual[..., 1] == 1).all())


def test_ohm() -> None:
    """In a row resistances add; side by side conductances do; on a ring of six 1 and 5 stand side by side."""
    row = table(AddResistance()(graph([(0, 1), (1, 2), (2, 3)], 4)).resistance_pair, 4)
    assert row[0, :, 0].tolist() == pytest.approx([0, 1, 2, 3])
    side_by_side = table(AddResistance()(graph([(0, 1), (0, 1)], 2)).resistance_pair, 2)
    assert side_by_side[0, 1].tolist() == pytest.approx([0.5, 1])
    ring = table(AddResistance()(from_smiles("C1CCCCC1")).resistance_pair, 6)
    assert ring[0, :, 0].tolist() == pytest.approx([0, 5 / 6, 8 / 6, 9 / 6, 8 / 6, 5 / 6])


def test_a_one_way_edge_conducts_like_both() -> None:
    """One way or both, it is the same resistor. Self-loops carry nothing, and do not harm the precision."""
    weight = torch.tensor([4.0, 2.0, 2.0, 1e20])
    data = Data(edge_index=torch.tensor([[0, 1, 2, 1], [1, 2, 1, 1]]), num_nodes=3, weight=weight)
    resistance = table(AddResistance("weight")(data).resistance_pair, 3)[..., 0]
    torch.testing.assert_close(resistance, torch.tensor([[0, 0.25, 0.75], [0.25, 0, 0.5], [0.75, 0.5, 0]]))


def test_no_path_is_marked() -> None:
    resistance = table(AddResistance()(from_smiles("[Na+].CC")).resistance_pair, 3)
    assert resistance[0].tolist() == [[0, 1], [0, 0], [0, 0]]
    torch.testing.assert_close(resistance[1], torch.tensor([[0.0, 0], [0, 1], [1, 1]]))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_the_ratio_of_weights_matters(scale: float) -> None:
    data = from_networkx(nx.disjoint_union(nx.petersen_graph(), nx.path_graph(4)))
    data.plain = torch.rand(data.num_edges, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    component = data.edge_index[0] >= 10
    data.scaled = data.plain * torch.where(component, 1.0, scale)
    plain, scaled = (table(AddResistance(name)(data).resistance_pair, 14)[..., 0] for name in ("plain", "scaled"))
    torch.testing.assert_close(scaled[10:, 10:], plain[10:, 10:])
    torch.testing.assert_close(scaled[:10, :10].double() * scale, plain[:10, :10].double(), rtol=1e-5, atol=1e-6)


def test_symmetric_to_the_bit() -> None:
    resistance = table(AddResistance()(from_networkx(nx.karate_club_graph())).resistance_pair, 34)[..., 0]
    assert torch.equal(resistance, resistance.t())
    assert not bool(resistance.diagonal().any())


@drawn
@given(st.lists(graphs(), min_size=1, max_size=4), st.integers(0, 99))
def test_batched_as_alone(some: list[Data], seed: int) -> None:
    check_batches(AddResistance("weight"), "resistance_pair", some, seed)


def test_nothing_at_all() -> None:
    data = AddResistance()(Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=0))
    assert data.resistance_pair.shape == (0, 2)


def test_weights_too_unlike_each_other() -> None:
    chain = graph([(0, 1), (1, 2), (2, 3), (3, 4)], 5)
    chain.weight = torch.tensor([1, 1, 1e-200, 1e-200, 1, 1, 1, 1], dtype=torch.float64)
    with pytest.raises(InputError, match="weight must hold numbers of similar size"):
        AddResistance("weight")(chain)


def test_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine pairs: two columns of 4 bytes, and seven matrices of 8 bytes a pair on the way."""
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2 * 576 - 1}.__getitem__)
    with pytest.raises(InputError, match="resistance distances of 9 pairs of nodes would take about 576 bytes"):
        AddResistance()(graph([(0, 1)], 3))
