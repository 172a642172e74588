from __future__ import annotations

import networkx as nx
import pytest
import torch

from benchmarks.graphs import (
    GRAPHS,
    Graph,
    molecules,
    power_law_graph,
    random_graph,
    symmetric_power_law_graph,
    undirected_graph,
)


def number_of(graph: Graph) -> torch.Tensor:
    return graph.edge_index[0] * graph.num_nodes + graph.edge_index[1]


def as_pairs(graph: Graph) -> list[tuple[int, int]]:
    return list(map(tuple, graph.edge_index.t().tolist()))


@pytest.mark.parametrize("make", [random_graph, power_law_graph, undirected_graph])
def test_exactly_as_many_different_edges_as_asked_for_sorted_by_source(make) -> None:
    graph = make(300, 4_000)
    number = number_of(graph)
    assert graph.edge_index.shape == (2, 4_000)
    assert graph.num_edges == 4_000
    assert int(graph.edge_index.max()) < 300
    assert bool((number.diff() > 0).all())
    assert torch.equal(number, number_of(make(300, 4_000)))


def test_power_law_degrees_fall_with_rank_as_the_exponent_says_at_both_ends() -> None:
    graph = power_law_graph(20_000, 200_000)
    for end in graph.edge_index:
        degree = torch.bincount(end, minlength=20_000).sort(descending=True).values.double()
        # degree ∝ rank^(-1 / (γ - 1)) with γ = 2.1, read where hubs are not saturated and degrees are not yet small numbers.
        slope = (degree[999] / degree[99]).log() / torch.tensor(1000 / 100).log()
        assert float(slope) == pytest.approx(-1 / 1.1, abs=0.1)


def test_hubs_of_the_two_ends_are_different_nodes() -> None:
    source, target = (torch.bincount(end, minlength=2_000).argmax() for end in power_law_graph(2_000, 20_000).edge_index)
    assert source != target


def test_molecules_are_connected_graphs_with_bonds_in_both_directions() -> None:
    graph = molecules(((20, 10, 40), (3, 100, 220)))
    sizes = torch.bincount(graph.batch)
    assert graph.num_nodes == int(sizes.sum())
    assert int((sizes >= 100).sum()) == 3
    assert bool(((sizes >= 10) & (sizes <= 220)).all())
    assert bool((graph.batch.diff() >= 0).all())
    pairs = set(as_pairs(graph))
    assert pairs == {(j, i) for i, j in pairs}
    assert all(i != j for i, j in pairs)
    assert bool((graph.batch[graph.edge_index[0]] == graph.batch[graph.edge_index[1]]).all())
    assert nx.number_connected_components(nx.Graph(pairs)) == 23
    assert int(torch.bincount(graph.edge_index[1]).max()) <= 6


def test_a_ring_closes_for_every_eighth_atom() -> None:
    # A tree of 25 atoms has 24 bonds; atoms 5, 13 and 21 close rings with atoms 0, 8 and 16, which no branch reaches.
    assert molecules(((1, 25, 25),)).num_edges == 2 * (24 + 3)


def test_undirected_graphs_hold_each_pair_in_both_directions_and_no_loop() -> None:
    pairs = set(as_pairs(undirected_graph(100, 800)))
    assert len(pairs) == 800
    assert all(i != j and (j, i) in pairs for i, j in pairs)


def test_a_cached_index_holds_the_same_edges_sorted_by_target() -> None:
    graph = random_graph(50, 300)
    cached = graph.with_cached_index()
    assert cached.edge_index.is_sorted_by_col
    assert bool((cached.edge_index[1].diff() >= 0).all())
    tensor = cached.edge_index.as_tensor()
    assert torch.equal(tensor, graph.edge_index[:, cached.edge_order])
    assert sorted(map(tuple, tensor.t().tolist())) == sorted(as_pairs(graph))


def test_sizes_of_the_registered_graphs() -> None:
    sizes = {"random": (100_000, 1_000_000), "power-law": (40_000, 600_000), "cora-sized": (2_708, 10_556), "tiny": (25, 54)}
    sizes |= {"power-law-100k": (100_000, 1_000_000), "cora": (2_708, 10_556), "pubmed": (19_717, 88_648)}
    for name, size in sizes.items():
        graph = GRAPHS[name].full()
        assert (graph.num_nodes, graph.num_edges) == size
    assert int(GRAPHS["molecules"].full().batch.max()) + 1 == 128
    assert int(GRAPHS["skewed"].full().batch.max()) + 1 == 500
    assert torch.equal(torch.bincount(GRAPHS["molecules-even"].full().batch), torch.full((128,), 25))
    assert sorted(torch.bincount(GRAPHS["molecules-one-large"].full().batch).tolist()) == [20] * 127 + [400]
    assert all(recipe.small().num_edges <= 10_000 for recipe in GRAPHS.values())


def test_a_network_of_the_catalogue_is_drawn_where_its_files_are_not(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("GRAPHATTN_DATA", raising=False)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    graph = GRAPHS["cora"].full()
    assert graph.origin == "drawn"
    assert (graph.num_nodes, graph.num_edges) == (2_708, 10_556)


def test_a_network_of_the_catalogue(monkeypatch, real_data) -> None:
    monkeypatch.setenv("GRAPHATTN_DATA", str(real_data))
    for name, size in {"cora": (2_708, 10_556), "pubmed": (19_717, 88_648)}.items():
        graph = GRAPHS[name].full()
        assert graph.origin == "catalogue"
        assert (graph.num_nodes, graph.num_edges) == size
        assert bool((number_of(graph).diff() > 0).all())


def test_symmetric_power_law_has_every_edge_both_ways_and_its_hubs_at_both_ends() -> None:
    graph = symmetric_power_law_graph(3_000, 30_000, 2.5)
    number = number_of(graph)
    assert graph.num_edges == 30_000
    assert bool((number.diff() > 0).all())
    assert set(as_pairs(graph)) == {(j, i) for i, j in as_pairs(graph)}
    assert bool((graph.edge_index[0] != graph.edge_index[1]).all())
    degree = torch.bincount(graph.edge_index[1], minlength=3_000).sort(descending=True).values.double()
    slope = (degree[299] / degree[29]).log() / torch.tensor(300 / 30).log()
    assert float(slope) == pytest.approx(-1 / 1.5, abs=0.1)
