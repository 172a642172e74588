"""Cycle counts against networkx, numbers of ring molecules by hand, and the pair that only long cycles tell apart."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from graphattn.errors import InputError
from graphattn.structure import AddCycleCounts, AddRandomWalk


@st.composite
def graphs(draw: st.DrawFn) -> Data:
    """Directed graphs with multi-edges, self-loops and loose nodes; some are dense."""
    num_nodes = draw(st.integers(0, 7))
    node = st.integers(0, max(num_nodes - 1, 0))
    edges = draw(st.lists(st.tuples(node, node), max_size=4 * num_nodes))
    return Data(edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes)


def from_graph(graph: nx.Graph) -> Data:
    graph = nx.convert_node_labels_to_integers(graph)
    edges = torch.tensor(list(graph.edges), dtype=torch.long).reshape(-1, 2).t()
    return Data(edge_index=edges, num_nodes=graph.number_of_nodes())


def listed(data: Data, longest: int) -> list[list[float]]:
    graph = nx.Graph(edge for edge in data.edge_index.t().tolist() if edge[0] != edge[1])
    seen = Counter((node, len(cycle)) for cycle in nx.simple_cycles(graph, length_bound=longest) for node in cycle)
    return [[float(seen[node, length]) for length in range(3, longest + 1)] for node in range(data.num_nodes)]


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(3, 8))
def test_against_networkx(data: Data, longest: int) -> None:
    pe = AddCycleCounts(longest)(data).cycles_pe
    assert pe.dtype == torch.float32
    assert pe.shape == (data.num_nodes, longest - 2)
    assert pe.tolist() == listed(data, longest)


@pytest.mark.parametrize("seed", range(3))
def test_larger_graphs_against_networkx(seed: int) -> None:
    for graph in (nx.random_regular_graph(4, 16, seed), nx.barabasi_albert_graph(30, 2, seed), nx.grid_2d_graph(4, 5)):
        data = from_graph(graph)
        assert AddCycleCounts(7)(data).cycles_pe.tolist() == listed(data, 7)


@settings(max_examples=30, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_batch_equals_one_by_one_in_any_order_of_nodes(several: list[Data], random: object) -> None:
    alone = torch.cat([AddCycleCounts(5)(data).cycles_pe for data in several])
    batch = Batch.from_data_list(several)
    assert torch.equal(AddCycleCounts(5)(batch).cycles_pe, alone)
    order = list(range(batch.num_nodes))
    random.shuffle(order)  # type: ignore[attr-defined]
    place = torch.tensor(order, dtype=torch.long)
    mixed = Data(edge_index=place[batch.edge_index], num_nodes=len(order))
    mixed.batch = torch.empty_like(batch.batch).index_copy(0, place, batch.batch)
    assert torch.equal(AddCycleCounts(5)(mixed).cycles_pe[place], alone)


def test_two_rings_that_share_a_bond() -> None:
    """Two squares side by side: each node in its own; the two that are shared in both; all six in the ring around."""
    ladder = from_graph(nx.ladder_graph(3))
    assert AddCycleCounts(6)(ladder).cycles_pe.tolist() == [[0, 1 + (node % 3 == 1), 0, 1] for node in range(6)]


def test_complete_graph() -> None:
    """Through a node of K_n: (n - 1)! / (n - length)! / 2 cycles of a length."""
    pe = AddCycleCounts(6)(from_graph(nx.complete_graph(6))).cycles_pe
    assert pe.tolist() == [[10, 30, 60, 60]] * 6


def test_decalin_from_bicyclopentyl() -> None:
    """Both have 10 carbons, of which two have three neighbours, and look alike to message passing."""
    decalin = nx.cycle_graph(10)
    decalin.add_edge(0, 5)
    bicyclopentyl = nx.disjoint_union(nx.cycle_graph(5), nx.cycle_graph(5))
    bicyclopentyl.add_edge(0, 5)
    assert AddCycleCounts(6)(from_graph(decalin)).cycles_pe.sum(0).tolist() == [0, 0, 0, 12]
    assert AddCycleCounts(6)(from_graph(bicyclopentyl)).cycles_pe.sum(0).tolist() == [0, 0, 10, 0]


def test_shrikhande_graph_from_the_rooks_graph() -> None:
    steps = [(0, 1), (1, 0), (1, 1)]
    squares = [(row, column) for row in range(4) for column in range(4)]
    shrikhande = nx.Graph([((r, c), ((r + i) % 4, (c + j) % 4)) for r, c in squares for i, j in steps])
    rook = nx.cartesian_product(nx.complete_graph(4), nx.complete_graph(4))
    first, second = from_graph(shrikhande), from_graph(rook)
    for data in (first, second):
        data.edge_index = torch.cat([data.edge_index, data.edge_index.flip(0)], 1)
    torch.testing.assert_close(AddRandomWalk(16)(first).random_walk_pe, AddRandomWalk(16)(second).random_walk_pe)
    cycles, others = AddCycleCounts(8)(first).cycles_pe, AddCycleCounts(8)(second).cycles_pe
    assert torch.equal(cycles[:, :-1], others[:, :-1])
    assert cycles[:, -1].tolist() == [5844] * 16
    assert others[:, -1].tolist() == [5976] * 16


def test_hubs_are_refused_with_the_length_they_can_afford() -> None:
    crowd = from_graph(nx.complete_graph(60))
    ring = from_graph(nx.cycle_graph(6))
    transform = AddCycleCounts(8, most_steps=10**6)
    sentence = "longest=8 nodes in a graph of 60 nodes take more than most_steps=1,000,000 steps to walk: use longest=3 "
    with pytest.raises(InputError, match=sentence):
        transform(Batch.from_data_list([ring, crowd]))
    assert AddCycleCounts(3, most_steps=10**6)(crowd).cycles_pe.flatten().tolist() == [59 * 58 / 2] * 60
    with pytest.raises(InputError, match=r"to walk: raise most_steps$"):
        AddCycleCounts(8, most_steps=10)(crowd)
    # The limit holds for each graph by itself.
    assert transform(Batch.from_data_list([ring] * 40_000)).cycles_pe[:, 3].unique().tolist() == [1]


def test_bad_length() -> None:
    with pytest.raises(InputError, match="longest must be at least 3, the nodes of the shortest cycle, got 2"):
        AddCycleCounts(2)
