"""Reordering, by hand on paths and cliques; what is permuted, what is renumbered, what stays; and the way back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.utils import to_undirected

from graphattn.errors import InputError
from graphattn.nn import GraphTransformer, MaskedSelfAttention
from graphattn.structure import Reorder


def graph(edges: list[tuple[int, int]], num_nodes: int, **attributes: object) -> Data:
    """Both directions of every edge."""
    both = edges + [(j, i) for i, j in edges]
    return Data(edge_index=torch.tensor(both, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes, **attributes)


def shuffled_path(num_nodes: int, seed: int) -> list[tuple[int, int]]:
    name = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(seed)).tolist()
    return list(itertools.pairwise(name))


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


@pytest.mark.parametrize("num_nodes", [2, 3, 10, 101])
def test_rcm_straightens_a_path(num_nodes: int) -> None:
    edges = shuffled_path(num_nodes, seed=num_nodes)
    assert bandwidth(Reorder()(graph(edges, num_nodes))) == 1
    one_way = Data(edge_index=torch.tensor(edges).t(), num_nodes=num_nodes)
    assert bandwidth(Reorder()(one_way)) == 1


def test_rows_move_and_edges_stay() -> None:
    """The path 2 - 0 - 1, every kind of attribute on it."""
    x = torch.tensor([[0.0, 1.0], [10.0, 0.0], [0.0, 21.0]])
    given = graph([(2, 0), (0, 1)], 3, x=x, sparse=x.to_sparse_csr(), coordinates=x.to_sparse_coo(), y=torch.tensor([0, 1, 2]))
    given.train_mask, given.names, given.table = torch.tensor([True, False, False]), ["a", "b", "c"], np.arange(3)
    given.class_names, given.level, given.edge_attr = ["p", "q", "r"], 7, torch.arange(4)
    given.edge_label_index, given.face = torch.tensor([[0, 1, 2], [2, 2, 1]]), torch.tensor([[0], [1], [2]])
    before = given.clone()
    data = Reorder()(given)

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
    data = Reorder()(Data(edge_index=edge_index, x=torch.arange(3.0)))
    assert type(data.edge_index) is Tensor
    assert torch.equal(data.node_order[data.edge_index], edge_index.as_tensor())


def test_as_many_edges_as_nodes() -> None:
    """A directed ring: node and edge attributes have the same length."""
    ring = Data(edge_index=torch.tensor([[0, 2, 1, 3], [2, 1, 3, 0]]), num_nodes=4)
    ring.y, ring.edge_weight = torch.arange(4), torch.arange(4)
    data = Reorder()(ring)
    assert data.node_order.tolist() != [0, 1, 2, 3]
    assert torch.equal(data.y, data.node_order)
    assert torch.equal(data.edge_weight, torch.arange(4))


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
def test_any_graph(edges: list[tuple[int, int]], num_nodes: int, directed: bool) -> None:
    given = graph(edges, num_nodes, y=torch.arange(num_nodes))
    if directed:
        given.edge_index = given.edge_index[:, : len(edges)]
    data = Reorder()(given)
    assert data.node_order.sort().values.tolist() == list(range(num_nodes))
    assert torch.equal(data.node_order[data.edge_index], given.edge_index)
    assert torch.equal(Reorder.undo(data.y, data.node_order), given.y)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_order_every_time(seed: int) -> None:
    threads = torch.get_num_threads()
    first = Reorder()(random_graph(seed))
    try:
        torch.set_num_threads(3 - min(threads, 2))
        second = Reorder()(random_graph(seed))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(first.node_order, second.node_order)
    assert torch.equal(first.edge_index, second.edge_index)


def test_batch_is_reordered_graph_by_graph() -> None:
    # Graphs of 5, 1 and 2 nodes: as many boundaries in `ptr` as the last two have nodes and one more.
    sizes = [5, 1, 2]
    paths = [graph(shuffled_path(size, seed=3), size, y=torch.arange(size)) for size in sizes]
    given = Batch.from_data_list(paths)
    data = Reorder()(given)
    assert data.batch.tolist() == [0, 0, 0, 0, 0, 1, 2, 2]
    assert data.ptr.tolist() == [0, 5, 6, 8]
    assert torch.equal(data.batch[data.edge_index[0]], data.batch[data.edge_index[1]])
    assert torch.equal(data.node_order[data.edge_index], given.edge_index)
    assert bandwidth(data) == 1
    assert [one.num_nodes for one in data.to_data_list()] == sizes
    assert all(torch.equal(one.y.sort().values, path.y) for one, path in zip(data.to_data_list(), paths, strict=True))


def test_ptr_as_long_as_a_node_attribute_stays() -> None:
    data = Reorder()(Batch.from_data_list([graph([(0, 1)], 2), graph([], 1)]))
    assert data.ptr.tolist() == [0, 2, 3]


def test_unsorted_batch_is_sorted() -> None:
    data = Reorder()(graph([(0, 2), (1, 3)], 4, batch=torch.tensor([1, 0, 1, 0])))
    assert data.batch.tolist() == [0, 0, 1, 1]
    assert data.node_order[:2].sort().values.tolist() == [1, 3]
    without = Reorder()(graph([], 3, batch=torch.tensor([1, 0, 1])))
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
    once = Reorder()(given)
    once.edge_index = once.edge_index.roll(1, dims=1)[:, 5:]  # another graph, which has another order
    data = Reorder()(once)
    assert not torch.equal(data.node_order, once.node_order)
    assert torch.equal(data.node_order, data.y)
    assert torch.equal(Reorder.undo(data.y, data.node_order), given.y)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("score", ["dot", "additive", "static"])
def test_layer_gives_the_same(seed: int, score: str) -> None:
    torch.manual_seed(seed)
    given = random_graph(seed)
    edge_dim = 3 if score != "static" else None
    layer = MaskedSelfAttention(6, 8, heads=2, score=score, edge_dim=edge_dim).double().eval()
    data = Reorder()(given)

    def run(data: Data) -> tuple[Tensor, Tensor]:
        attr = data.edge_attr if edge_dim else None
        return layer(data.x, data.edge_index, edge_attr=attr, return_attention=True)

    expected, expected_weights = run(given)
    out, weights = run(data)
    assert not torch.equal(out, expected)
    torch.testing.assert_close(Reorder.undo(out, data.node_order), expected, rtol=0, atol=1e-12)
    # Edges keep their order: nothing to undo.
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)


def test_model_on_sparse_features_gives_the_same() -> None:
    torch.manual_seed(0)
    given = random_graph(0)
    given.x = (given.x > 0.5).double().to_sparse_csr()
    data = Reorder()(given)
    model = GraphTransformer(6, 16, 3, num_layers=2, heads=2).double().eval()
    expected, out = (model(one.x, one.edge_index) for one in (given, data))
    torch.testing.assert_close(Reorder.undo(out, data.node_order), expected, rtol=0, atol=1e-12)


def test_facebook_pages_come_nearer(real_data: Path) -> None:
    """Links between pages span n/3 as published, the mean of random numbers."""
    edges = np.loadtxt(real_data / "facebook_page_page" / "facebook_edges.csv", delimiter=",", skiprows=1, dtype=np.int64)
    given = Data(edge_index=to_undirected(torch.from_numpy(edges.T)), num_nodes=22_470)
    before, after = ((data.edge_index[0] - data.edge_index[1]).abs().double().mean() for data in (given, Reorder()(given)))
    assert before == pytest.approx(22_470 / 3, rel=0.02)
    assert after < 0.5 * before


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


@pytest.mark.parametrize(
    "node_order",
    [torch.tensor([0, 1]), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 3]), torch.tensor([-1, 1, 2]), torch.ones(3)],
    ids=["short", "twice", "beyond", "negative", "floats"],
)
def test_undo_needs_an_order_of_the_rows(node_order: Tensor) -> None:
    with pytest.raises(InputError, match="node_order must hold each of the 3 rows of out once"):
        Reorder.undo(torch.zeros(3, 2), node_order)
