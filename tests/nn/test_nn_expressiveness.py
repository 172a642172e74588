"""Which options tell graphs apart that message passing cannot, and which cannot: one table, tested line by line.

Three pairs of graphs that are not the same, harder from left to right. The nodes have one constant feature, so that structure
alone can tell; in each pair every node sees the same neighbours of neighbours of neighbours, so that message passing cannot.

* **triangles**: two triangles and a hexagon; every node has two neighbours.
* **molecules**: decalin and bicyclopentyl, the carbons alone; two rings of six that share a bond,
  and two of five that a bond joins.
* **rook**: the 4×4 rook's graph and the Shrikhande graph, both strongly regular (16, 6, 2, 2). Distances, walks, resistance,
  eigenvalues and the numbers of cycles up to length 7 are the same; of length 8 there go 5,976 and 5,844 through each node.

What was found:

* Attention along edges, to all nodes, both, or linear, with virtual nodes or degrees, tells no pair: no more than GIN does.
* Random-walk probabilities and cycle counts tell triangles and molecules (cycles from the length of the rings that differ).
* Cycles of length 8 alone tell the rook's graph; distances, walks and resistance do not, in pair attention either.
* Softmax weights sum to one: a weighted mean of equal vectors is that vector, so a bias or a k-hop edge says nothing where all
  node vectors are equal. With the sigmoid normaliser, which can count, or in pair attention, whose values read the state on
  pairs, distance, walks and resistance each tell triangles and molecules; with degrees beside them softmax tells molecules.
* Laplacian eigenvectors have free signs, and a free basis where eigenvalues repeat, as they do in all of these graphs but
  decalin. An output that changes with the order of the same nodes tells nothing ("by order"). Sign-invariant ones tell
  triangles, and molecules with four vectors; among eight are two repeated eigenvalues of bicyclopentyl, and which of its rings
  comes first in the one and in the other is a matter of order. Eigenvalues alone tell both; those of the rook's graph are the
  same.
* Expander edges are drawn from the order of the edges: a difference of outputs is one of order, too.

Not here: "sinusoidal" and "learned" read a position, which these graphs do not have.
"""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GINConv, global_add_pool
from torch_geometric.utils import from_networkx, to_networkx

from graphattn.chem import from_smiles
from graphattn.nn import GraphTransformer
from graphattn.structure import AddCycleCounts, AddDistance, AddLaplacian, AddRandomWalk, structure_transform

# Outputs of two graphs: apart, the same, or different for the same graph with its nodes in another order.
TELLS, CANNOT, ORDER = "tells", "cannot", "by order"
APART, EQUAL = 1e-4, 1e-9
ORDERS, MODELS = 4, 3


def constant(edge_index: Tensor, num_nodes: int) -> Data:
    return Data(x=torch.ones(num_nodes, 1, dtype=torch.float64), edge_index=edge_index)


def of_networkx(graph: nx.Graph) -> Data:
    return constant(from_networkx(graph).edge_index, len(graph))


def carbons(smiles: str) -> Data:
    molecule = from_smiles(smiles)
    return constant(molecule.edge_index, molecule.num_nodes)


def on_a_torus(*steps: tuple[int, int]) -> nx.Graph:
    """The 4×4 squares of a torus, joined by these steps and their opposites."""
    squares = [(a, b) for a in range(4) for b in range(4)]
    return nx.Graph(((a, b), ((a + x) % 4, (b + y) % 4)) for a, b in squares for x, y in steps)


ROOK, SHRIKHANDE = on_a_torus((1, 0), (2, 0), (0, 1), (0, 2)), on_a_torus((1, 0), (0, 1), (1, 1))
PAIRS = {
    "triangles": (of_networkx(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))), of_networkx(nx.cycle_graph(6))),
    "molecules": (carbons("C1CCC2CCCCC2C1"), carbons("C1CCCC1C1CCCC1")),
    "rook": (of_networkx(ROOK), of_networkx(SHRIKHANDE)),
}


def full(normaliser: str = "softmax", **biases: int) -> dict[str, Any]:
    return {"attention": "full", "normaliser": normaliser, "biases": biases}


def pair(**biases: int) -> dict[str, Any]:
    return {"attention": "pair", "biases": biases}


def edges(normaliser: str = "softmax", **extra_edges: int) -> dict[str, Any]:
    return {"normaliser": normaliser, "extra_edges": extra_edges}


def encoded(**encodings: int) -> dict[str, Any]:
    return {"encodings": encodings}


DEGREE = encoded(degree=1)
ALL = {"distance": 5, "relative_walk": 8, "resistance": 2}

TABLE: list[tuple[str, dict[str, Any], str, str, str]] = [
    # what the model has                     its options                            triangles, molecules, rook
    ("masked attention", {}, CANNOT, CANNOT, CANNOT),
    ("masked, sigmoid", {"normaliser": "sigmoid"}, CANNOT, CANNOT, CANNOT),
    ("full attention", full(), CANNOT, CANNOT, CANNOT),
    ("masked and full, sigmoid", {"attention": "masked+full", "normaliser": "sigmoid"}, CANNOT, CANNOT, CANNOT),
    ("masked and SGFormer", {"attention": "masked+sgformer"}, CANNOT, CANNOT, CANNOT),
    ("masked and Polynormer", {"attention": "masked+polynormer"}, CANNOT, CANNOT, CANNOT),
    ("masked and Performer", {"attention": "masked+performer"}, CANNOT, CANNOT, CANNOT),
    ("degree", DEGREE, CANNOT, CANNOT, CANNOT),
    ("degree in buckets", encoded(degree_bucket=1), CANNOT, CANNOT, CANNOT),
    ("random walk, 2 steps", encoded(random_walk=2), CANNOT, CANNOT, CANNOT),
    ("random walk, 3 steps", encoded(random_walk=3), TELLS, CANNOT, CANNOT),
    ("random walk, 16 steps", encoded(random_walk=16), TELLS, TELLS, CANNOT),
    ("cycles of 3", encoded(cycles=1), TELLS, CANNOT, CANNOT),
    ("cycles to 4", encoded(cycles=2), TELLS, CANNOT, CANNOT),
    ("cycles to 5", encoded(cycles=3), TELLS, TELLS, CANNOT),
    ("cycles to 6", encoded(cycles=4), TELLS, TELLS, CANNOT),
    ("cycles to 7", encoded(cycles=5), TELLS, TELLS, CANNOT),
    ("cycles to 8", encoded(cycles=6), TELLS, TELLS, TELLS),
    ("Laplacian", encoded(laplacian=4), ORDER, ORDER, ORDER),
    ("Laplacian, sign-invariant, 4", encoded(sign_invariant=4), TELLS, TELLS, ORDER),
    ("Laplacian, sign-invariant, 8", encoded(sign_invariant=8), TELLS, ORDER, ORDER),
    ("full, distance", full(distance=5), CANNOT, CANNOT, CANNOT),
    ("full, relative walk", full(relative_walk=8), CANNOT, CANNOT, CANNOT),
    ("full, resistance", full(resistance=2), CANNOT, CANNOT, CANNOT),
    ("full, distance, degree", full(distance=5) | DEGREE, CANNOT, TELLS, CANNOT),
    ("full, relative walk, degree", full(relative_walk=8) | DEGREE, CANNOT, TELLS, CANNOT),
    ("full, resistance, degree", full(resistance=2) | DEGREE, CANNOT, TELLS, CANNOT),
    ("full, sigmoid, distance", full("sigmoid", distance=5), TELLS, TELLS, CANNOT),
    ("full, sigmoid, relative walk", full("sigmoid", relative_walk=8), TELLS, TELLS, CANNOT),
    ("full, sigmoid, resistance", full("sigmoid", resistance=2), TELLS, TELLS, CANNOT),
    ("pair, distance", pair(distance=5), TELLS, TELLS, CANNOT),
    ("pair, relative walk", pair(relative_walk=8), TELLS, TELLS, CANNOT),
    ("pair, resistance", pair(resistance=2), TELLS, TELLS, CANNOT),
    ("pair, all three, random walk", pair(**ALL) | encoded(random_walk=16), TELLS, TELLS, CANNOT),
    ("pair, all three, cycles to 8", pair(**ALL) | encoded(cycles=6), TELLS, TELLS, TELLS),
    ("3-hop edges", edges(k_hop=3), CANNOT, CANNOT, CANNOT),
    ("3-hop edges, degree", edges(k_hop=3) | DEGREE, CANNOT, TELLS, CANNOT),
    ("3-hop edges, sigmoid", edges("sigmoid", k_hop=3), TELLS, TELLS, CANNOT),
    ("expander edges", edges(expander=4), CANNOT, CANNOT, CANNOT),
    ("expander edges, degree", edges(expander=4) | DEGREE, CANNOT, ORDER, CANNOT),
    ("virtual node, sigmoid, degree", edges("sigmoid", virtual=1) | DEGREE, CANNOT, CANNOT, CANNOT),
]


def in_another_order(graph: Data, seed: int) -> Data:
    """The same graph, its nodes and edges shuffled; as it is for seed 0."""
    if seed == 0:
        return graph
    draw = torch.Generator().manual_seed(seed)
    place = torch.randperm(graph.num_nodes, generator=draw)
    order = torch.randperm(graph.num_edges, generator=draw)
    return constant(place[graph.edge_index][:, order], graph.num_nodes)


def drawn(make: Any, seed: int) -> nn.Module:
    """A model with weights large enough that all of its parts matter."""
    torch.manual_seed(seed)
    net = make().double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return net


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@torch.no_grad()
def outputs(options: dict[str, Any], graphs: list[Data], seed: int) -> Tensor:
    net = drawn(lambda: GraphTransformer(1, 8, 4, num_layers=3, heads=2, readout="sum", **options), seed)
    data = structure_transform(*(options.get(name) for name in ("encodings", "biases", "extra_edges")))(
        Batch.from_data_list(graphs)
    )
    structure = {name: value.double() if value.is_floating_point() else value for name, value in data if name in net.reads}
    return net(data.x, data.edge_index, batch=data.batch, structure=structure)


def verdict(options: dict[str, Any], first: Data, second: Data) -> str:
    between, within = [], []
    for seed in range(MODELS):
        graphs = [in_another_order(graph, order) for graph in (first, second) for order in range(ORDERS)]
        of_first, of_second = outputs(options, graphs, seed).split(ORDERS)
        between.append(apart(of_first[0], of_second[0]))
        within += [apart(out, of_graph[0]) for of_graph in (of_first, of_second) for out in of_graph]
    if max(within) > EQUAL:
        assert max(within) > APART
        return ORDER
    if max(between) > APART:
        return TELLS
    assert max(between) < EQUAL
    return CANNOT


@pytest.mark.parametrize(("options", "expected"), [(row[1], row[2:]) for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_tells_the_pairs_apart(options: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert tuple(verdict(options, *graphs) for graphs in PAIRS.values()) == expected


@pytest.mark.parametrize("name", PAIRS)
def test_the_graphs_of_a_pair_are_not_the_same(name: str) -> None:
    first, second = (to_networkx(graph, to_undirected=True) for graph in PAIRS[name])
    assert not nx.is_isomorphic(first, second)


class GIN(nn.Module):
    """Plain message passing in its most expressive form: Xu et al., "How powerful are graph neural networks?" (2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GINConv(nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Linear(8, 8)), train_eps=True) for width in (1, 8, 8, 8)
        )

    def forward(self, data: Batch) -> Tensor:
        x = data.x
        for layer in self.layers:
            x = layer(x, data.edge_index)
        return global_add_pool(x, data.batch)


@pytest.mark.parametrize("name", PAIRS)
def test_message_passing_fails_on_every_pair(name: str) -> None:
    for seed in range(MODELS):
        net = drawn(GIN, seed)
        with torch.no_grad():
            first, second = net(Batch.from_data_list(list(PAIRS[name])))
            longer = net(Batch.from_data_list([of_networkx(nx.path_graph(len(PAIRS[name][0].x)))]))[0]
        assert apart(first, second) < EQUAL
        assert apart(first, longer) > APART  # it is no constant


def test_the_rook_and_shrikhande_graphs_by_hand() -> None:
    """Strongly regular (16, 6, 2, 2): adjacency eigenvalues 6, 2 (6 times), −2 (9 times)."""
    found = {}
    for name, graph, data in zip(("rook", "shrikhande"), (ROOK, SHRIKHANDE), PAIRS["rook"], strict=True):
        assert nx.is_strongly_regular(graph)
        assert set(dict(graph.degree).values()) == {6}
        distance = AddDistance(5)(data.clone()).distance_pair
        assert distance.bincount().tolist() == [16, 16 * 6, 16 * 9]
        returns = AddRandomWalk(16)(data.clone()).random_walk_pe
        steps = torch.arange(1, 17, dtype=torch.float64)
        by_hand = (1 + 6 * (1 / 3) ** steps + 9 * (-1 / 3) ** steps) / 16
        torch.testing.assert_close(returns.double(), by_hand.expand(16, -1), rtol=1e-6, atol=1e-7)
        values = AddLaplacian(15)(data.clone()).laplacian_values_pe
        expected = torch.tensor([2 / 3] * 6 + [4 / 3] * 9).expand(16, -1)
        torch.testing.assert_close(values, expected)
        cycles = AddCycleCounts(8)(data.clone()).cycles_pe
        assert (cycles == cycles[0]).all()
        found[name] = cycles[0].tolist()
    assert found["rook"][:5] == found["shrikhande"][:5]
    assert {name: counts[5] for name, counts in found.items()} == {"rook": 5976, "shrikhande": 5844}


def test_laplacian_eigenvalues_tell_the_first_two_pairs() -> None:
    """They need no basis and no sign. Two triangles: 3/2 twice in each; the hexagon: 1/2, 1/2, 3/2, 3/2, 2."""
    first, second = (AddLaplacian(5)(graph.clone()).laplacian_values_pe for graph in PAIRS["triangles"])
    torch.testing.assert_close(first, torch.tensor([1.5, 1.5, 0, 0, 0]).expand(6, -1))
    torch.testing.assert_close(second, torch.tensor([0.5, 0.5, 1.5, 1.5, 2]).expand(6, -1))
    first, second = (AddLaplacian(9)(graph.clone()).laplacian_values_pe for graph in PAIRS["molecules"])
    assert apart(first[0], second[0]) > 0.01
