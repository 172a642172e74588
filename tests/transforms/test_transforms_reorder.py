"""Reordering, by hand on paths and cliques; what is permuted, what is renumbered, what stays; and the way back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.utils import to_undirected

from graphattn.errors import InputError
from graphattn.nn import GraphTransformer, MaskedSelfAttention
from graphattn.transforms import Reorder
from graphattn.transforms.reorder import ORDERS, _sweep

methods = pytest.mark.parametrize("method", ORDERS)


def graph(edges: list[tuple[int, int]], num_nodes: int, **attributes: object) -> Data:
    """Both directions of every edge."""
    both = edges + [(j, i) for i, j in edges]
    return Data(edge_index=torch.tensor(both, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes, **attributes)


def shuffled_path(num_nodes: int, seed: int) -> list[tuple[int, int]]:
    name = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(seed)).tolist()
    return list(itertools.pairwise(name))


def clique(nodes: list[int]) -> list[tuple[int, int]]:
    return list(itertools.combinations(nodes, 2))


def random_graph(seed: int, num_nodes: int = 40, num_edges: int = 90) -> Data:
    """Directed, with self-loops, multi-edges and isolated nodes."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(num_nodes - 5, (2, num_edges), generator=generator)
    return Data(
        x=torch.randn(num_nodes, 6, dtype=torch.float64, generator=generator),
        edge_index=edge_index,
        edge_attr=torch.randn(num_edges, 3, dtype=torch.float64, generator=generator),
    )


def bandwidth(data: Data) -> int:
    return int((data.edge_index[0] - data.edge_index[1]).abs().max())


def is_contiguous(data: Data, nodes: list[int]) -> bool:
    """Whether these nodes of the caller's lie side by side in the new order."""
    places = torch.isin(data.node_order, torch.tensor(nodes)).nonzero().flatten()
    return bool(places[-1] - places[0] == len(nodes) - 1)


@pytest.mark.parametrize("num_nodes", [2, 3, 10, 101])
def test_rcm_straightens_a_path(num_nodes: int) -> None:
    edges = shuffled_path(num_nodes, seed=num_nodes)
    assert bandwidth(Reorder("rcm")(graph(edges, num_nodes))) == 1
    one_way = Data(edge_index=torch.tensor(edges).t(), num_nodes=num_nodes)
    assert bandwidth(Reorder("rcm")(one_way)) == 1


def test_communities_gathers_two_cliques() -> None:
    """Even and odd numbers are a clique each, joined by one edge, with one isolated node."""
    even, odd = list(range(0, 12, 2)), list(range(1, 12, 2))
    data = Reorder("communities")(graph([*clique(even), *clique(odd), (4, 7)], 13))
    assert is_contiguous(data, even)
    assert is_contiguous(data, odd)
    # Degree 6 at both ends of the bridge, 5 elsewhere: highest first, then the caller's order.
    assert data.node_order.tolist() == [4, 0, 2, 6, 8, 10, 7, 1, 3, 5, 9, 11, 12]


def test_a_sweep_by_hand() -> None:
    """Two triangles and an edge between them, m = 7; to join c, node i gains (edges to c) − strength_i · total_c / 14.

    First sweep: 0 joins 1 (1 − 4/14 against 1 − 6/14 for 2); 1 stays; 2 joins them (2 − 12/14); 3 joins 4, the first of
    equals (1 − 6/14); 4 leaves it for 5 (1 − 4/14 against 1 − 6/14); 5 stays. Second: 3 joins 5 (2 − 12/14).
    """
    edge_index = graph([*clique([0, 1, 2]), *clique([3, 4, 5]), (2, 3)], 6).edge_index
    adjacency = csr_array((np.ones(14), edge_index.numpy()), shape=(6, 6))
    strength = adjacency.sum(1)
    community, total = np.arange(6), strength.copy()
    for moved, after, totals in (
        (4, [1, 1, 1, 4, 5, 5], [0, 7, 0, 0, 3, 4]),
        (1, [1, 1, 1, 5, 5, 5], [0, 7, 0, 0, 0, 7]),
        (0, [1, 1, 1, 5, 5, 5], [0, 7, 0, 0, 0, 7]),
    ):
        assert _sweep(adjacency.indptr, adjacency.indices, adjacency.data, strength, community, total) == moved
        assert community.tolist() == after
        assert total.tolist() == totals


def test_communities_nest() -> None:
    """Eight cliques of six in four pairs, five edges inside a pair, one from pair to pair: cliques and pairs are contiguous.

    Joining a pair raises modularity: 5/m = 0.0350 against 2 · 35 · 35/(2m)² = 0.0300, with m = 8 · 15 + 4 · 5 + 3 = 143.
    """
    cliques = [list(range(first, 48, 8)) for first in range(8)]
    edges = [edge for nodes in cliques for edge in clique(nodes)]
    for one, other in zip(cliques[:4], cliques[4:], strict=True):
        edges += list(zip(one[:5], other[:5], strict=True))
    data = Reorder("communities")(graph([*edges, (0, 1), (1, 2), (2, 3)], 48))
    assert all(is_contiguous(data, nodes) for nodes in cliques)
    assert all(is_contiguous(data, one + other) for one, other in zip(cliques[:4], cliques[4:], strict=True))


def test_communities_finds_planted_groups() -> None:
    """Sixty groups of fifty, four edges in five inside: distances fall to a small part of those between random numbers, n/3."""
    draw = np.random.default_rng(0)
    source = draw.integers(3000, size=30_000)
    inside = source // 50 * 50 + draw.integers(50, size=30_000)
    target = np.where(draw.random(30_000) < 0.8, inside, draw.integers(3000, size=30_000))
    hidden = draw.permutation(3000)[np.stack([source, target])]
    data = Reorder("communities")(Data(edge_index=torch.from_numpy(hidden), num_nodes=3000))
    distance = (data.edge_index[0] - data.edge_index[1]).abs().double().mean()
    # A fifth of the edges at n/3, the rest at 50/3.
    assert distance < 1.15 * (0.2 * 1000 + 0.8 * 17)


def test_rows_move_and_edges_stay() -> None:
    """The path 2 - 0 - 1, every kind of attribute on it."""
    x = torch.tensor([[0.0, 1.0], [10.0, 0.0], [0.0, 21.0]])
    given = graph([(2, 0), (0, 1)], 3, x=x, sparse=x.to_sparse_csr(), coordinates=x.to_sparse_coo(), y=torch.tensor([0, 1, 2]))
    given.train_mask, given.names, given.table = torch.tensor([True, False, False]), ["a", "b", "c"], np.arange(3)
    given.class_names, given.level, given.edge_attr = ["p", "q", "r"], 7, torch.arange(4)
    given.edge_label_index, given.face = torch.tensor([[0, 1, 2], [2, 2, 1]]), torch.tensor([[0], [1], [2]])
    before = given.clone()
    data = Reorder("rcm")(given)

    order = data.node_order.tolist()
    assert order in ([2, 0, 1], [1, 0, 2])
    for key in ("x", "y", "train_mask"):
        assert torch.equal(data[key], given[key][order])
    for key, layout in (("sparse", torch.sparse_csr), ("coordinates", torch.sparse_coo)):
        assert data[key].layout == layout
        assert torch.equal(data[key].to_dense(), x[order])
    assert data.coordinates.is_coalesced()
    assert data.names == [given.names[node] for node in order]
    assert data.table.tolist() == order
    assert data.class_names == ["p", "q", "r"]
    assert (data.level, data.num_nodes) == (7, 3)
    assert torch.equal(data.edge_attr, torch.arange(4))
    for key in ("edge_index", "edge_label_index", "face"):
        assert torch.equal(data.node_order[data[key]], given[key])
    # The caller's graph is as it was.
    assert "node_order" not in given
    assert torch.equal(given.edge_index, before.edge_index)
    assert torch.equal(given.x, before.x)


def test_sorted_edge_index_becomes_a_plain_tensor() -> None:
    """Renumbered edges are no longer sorted, and an `EdgeIndex` would go on saying so."""
    edge_index = EdgeIndex([[0, 0, 1, 2], [2, 1, 0, 0]], sort_order="row", sparse_size=(3, 3))
    data = Reorder("rcm")(Data(edge_index=edge_index, x=torch.arange(3.0)))
    assert type(data.edge_index) is Tensor
    assert torch.equal(data.node_order[data.edge_index], edge_index.as_tensor())


def test_as_many_edges_as_nodes() -> None:
    """A directed ring: node and edge attributes have the same length."""
    ring = Data(edge_index=torch.tensor([[0, 2, 1, 3], [2, 1, 3, 0]]), num_nodes=4)
    ring.y, ring.edge_weight = torch.arange(4), torch.arange(4)
    data = Reorder("rcm")(ring)
    assert data.node_order.tolist() != [0, 1, 2, 3]
    assert torch.equal(data.y, data.node_order)
    assert torch.equal(data.edge_weight, torch.arange(4))


@methods
@pytest.mark.parametrize(
    ("edges", "num_nodes"),
    [
        ([], 0),
        ([], 1),
        ([], 4),
        ([(0, 0)], 1),
        ([(2, 2), (2, 2)], 3),
        ([(0, 1)], 2),
        ([(0, 3), (1, 4)], 6),
        ([(0, 1), (0, 1), (1, 1), (2, 0)], 3),
        ([(0, node) for node in range(1, 50)], 50),
    ],
    ids=["empty", "one-node", "no-edges", "one-loop", "loop-twice", "pair", "disconnected", "multi-edges", "star"],
)
@pytest.mark.parametrize("directed", [True, False])
def test_any_graph(method: str, edges: list[tuple[int, int]], num_nodes: int, directed: bool) -> None:
    given = graph(edges, num_nodes, y=torch.arange(num_nodes))
    if directed:
        given.edge_index = given.edge_index[:, : len(edges)]
    data = Reorder(method)(given)
    assert data.node_order.sort().values.tolist() == list(range(num_nodes))
    assert torch.equal(data.node_order[data.edge_index], given.edge_index)
    assert torch.equal(Reorder.undo(data.y, data.node_order), given.y)


@methods
@pytest.mark.parametrize("seed", range(5))
def test_the_same_order_every_time(method: str, seed: int) -> None:
    threads = torch.get_num_threads()
    first = Reorder(method)(random_graph(seed))
    try:
        torch.set_num_threads(3 - min(threads, 2))
        second = Reorder(method)(random_graph(seed))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first.node_order, second.node_order)
    assert torch.equal(first.edge_index, second.edge_index)


@methods
def test_batch_is_reordered_graph_by_graph(method: str) -> None:
    # Graphs of 5, 1 and 2 nodes: as many boundaries in `ptr` as the last two have nodes and one more.
    sizes = [5, 1, 2]
    paths = [graph(shuffled_path(size, seed=3), size, y=torch.arange(size)) for size in sizes]
    given = Batch.from_data_list(paths)
    data = Reorder(method)(given)
    assert data.batch.tolist() == [0, 0, 0, 0, 0, 1, 2, 2]
    assert data.ptr.tolist() == [0, 5, 6, 8]
    assert torch.equal(data.batch[data.edge_index[0]], data.batch[data.edge_index[1]])
    assert torch.equal(data.node_order[data.edge_index], given.edge_index)
    if method == "rcm":
        assert bandwidth(data) == 1
    assert [one.num_nodes for one in data.to_data_list()] == sizes
    assert all(torch.equal(one.y.sort().values, path.y) for one, path in zip(data.to_data_list(), paths, strict=True))


def test_ptr_as_long_as_a_node_attribute_stays() -> None:
    data = Reorder("rcm")(Batch.from_data_list([graph([(0, 1)], 2), graph([], 1)]))
    assert data.ptr.tolist() == [0, 2, 3]


@methods
def test_unsorted_batch_is_sorted(method: str) -> None:
    data = Reorder(method)(graph([(0, 2), (1, 3)], 4, batch=torch.tensor([1, 0, 1, 0])))
    assert data.batch.tolist() == [0, 0, 1, 1]
    assert data.node_order[:2].sort().values.tolist() == [1, 3]
    without = Reorder(method)(graph([], 3, batch=torch.tensor([1, 0, 1])))
    assert without.node_order.tolist() == [1, 0, 2]


def test_undo_by_hand() -> None:
    out = torch.tensor([[20.0], [0.0], [10.0]], requires_grad=True)
    back = Reorder.undo(out, torch.tensor([2, 0, 1]))
    assert back.tolist() == [[0.0], [10.0], [20.0]]
    (grad,) = torch.autograd.grad((back * torch.tensor([[1.0], [2.0], [3.0]])).sum(), out)
    assert grad.tolist() == [[3.0], [1.0], [2.0]]


def test_two_reorderings_are_undone_at_once() -> None:
    given = random_graph(0)
    given.y = torch.arange(given.num_nodes)
    data = Reorder("rcm")(Reorder("communities")(given))
    assert not torch.equal(data.node_order, Reorder("communities")(given).node_order)
    assert torch.equal(data.node_order, data.y)
    assert torch.equal(Reorder.undo(data.y, data.node_order), given.y)


@methods
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("score", ["dot", "additive", "static"])
def test_layer_gives_the_same(method: str, seed: int, score: str) -> None:
    torch.manual_seed(seed)
    given = random_graph(seed)
    edge_dim = 3 if score != "static" else None
    layer = MaskedSelfAttention(6, 8, heads=2, score=score, edge_dim=edge_dim).double().eval()
    data = Reorder(method)(given)

    def run(data: Data) -> tuple[Tensor, Tensor]:
        attr = data.edge_attr if edge_dim else None
        return layer(data.x, data.edge_index, edge_attr=attr, return_attention=True)

    expected, expected_weights = run(given)
    out, weights = run(data)
    assert not torch.equal(out, expected)
    torch.testing.assert_close(Reorder.undo(out, data.node_order), expected, rtol=0, atol=1e-12)
    # Edges keep their order: nothing to undo.
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)


@methods
def test_model_on_sparse_features_gives_the_same(method: str) -> None:
    torch.manual_seed(0)
    given = random_graph(0)
    given.x = (given.x > 0.5).double().to_sparse_csr()
    data = Reorder(method)(given)
    model = GraphTransformer(6, 16, 3, num_layers=2, heads=2).double().eval()
    expected, out = (model(one.x, one.edge_index) for one in (given, data))
    torch.testing.assert_close(Reorder.undo(out, data.node_order), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "part"), [("communities", 0.2), ("rcm", 0.5)])
def test_facebook_pages_come_nearer(real_data: Path, method: str, part: float) -> None:
    """Links between pages span n/3 as published, the mean of random numbers."""
    edges = np.loadtxt(real_data / "facebook_page_page" / "facebook_edges.csv", delimiter=",", skiprows=1, dtype=np.int64)
    given = Data(edge_index=to_undirected(torch.from_numpy(edges.T)), num_nodes=22_470)
    before, after = (
        (data.edge_index[0] - data.edge_index[1]).abs().double().mean() for data in (given, Reorder(method)(given))
    )
    assert before == pytest.approx(22_470 / 3, rel=0.02)
    assert after < part * before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HeteroData(), "data must be a torch_geometric Data with nodes of one kind, got HeteroData"),
        (Data(num_nodes=2), r"data.edge_index must be a dense tensor of integers, \[2, edges\], got NoneType"),
        (Data(edge_index=torch.zeros(2, 1), num_nodes=2), r"\[2, edges\], got torch.float32 \[2, 1\]"),
        (Data(edge_index=torch.zeros(3, 1).long(), num_nodes=2), r"\[2, edges\], got torch.int64 \[3, 1\]"),
        (Data(edge_index=torch.eye(2).to_sparse_csr(), num_nodes=2), r"dense tensor of integers"),
        (Data(edge_index=torch.tensor([[0], [2]]), num_nodes=2), r"must hold nodes in \[0, 2\), got values from 0 to 2"),
        (Data(edge_index=torch.tensor([[0], [-1]]), num_nodes=2), r"in \[0, 2\), got values from -1 to 0"),
        (graph([(0, 1)], 2, tree_index=torch.tensor([5])), r"data.tree_index must hold nodes in \[0, 2\), got values"),
        (graph([(0, 1)], 2, adj_t=torch.eye(2).to_sparse_csr()), "data holds an adjacency matrix"),
        (graph([(0, 1)], 2, distance_pair=torch.zeros(4)), "data holds distance_pair, .* reorder before computing it"),
    ],
)  # fmt: skip
def test_bad_data(data: Data, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reorder()(data)


def test_bad_method() -> None:
    with pytest.raises(InputError, match="method must be one of communities, rcm, got 'metis'"):
        Reorder("metis")


@pytest.mark.parametrize(
    "node_order",
    [torch.tensor([0, 1]), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 3]), torch.tensor([-1, 1, 2]), torch.ones(3)],
    ids=["short", "twice", "beyond", "negative", "floats"],
)
def test_undo_needs_an_order_of_the_rows(node_order: Tensor) -> None:
    with pytest.raises(InputError, match="node_order must hold each of the 3 rows of out once"):
        Reorder.undo(torch.zeros(3, 2), node_order)
