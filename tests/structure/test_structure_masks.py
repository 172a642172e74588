"""The transforms that add edges: k-hop neighbourhoods and expanders, on one graph and on batches of torch_geometric."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphattn.errors import InputError
from graphattn.nn import MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure import AddExpander, AddKHop, StructuralTransform, expander, k_hop

NAMES = ("khop_index", "khop_distance", "expander_index")


def drawn(nodes: int, edges: int) -> Data:
    """Directed, with multi-edges and self-loops."""
    generator = torch.Generator().manual_seed(nodes)
    edge_index = torch.randint(max(nodes, 1), (2, edges), generator=generator)
    return Data(x=torch.randn(nodes, 4, generator=generator), edge_index=edge_index, num_nodes=nodes)


GRAPHS = [drawn(*sizes) for sizes in ((6, 9), (1, 0), (0, 0), (1, 2), (30, 50), (12, 0))]


def applied(data: Data) -> Data:
    return AddExpander(4)(AddKHop(3)(data.clone()))


def same(left: Data, right: Data) -> bool:
    return all(torch.equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in NAMES)


def test_a_path_by_hand() -> None:
    """0 - 1 - 2 - 3: target by target, near ones first."""
    path = Data(edge_index=torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]), num_nodes=4)
    data = AddKHop(2)(path.clone())
    assert data.khop_index.tolist() == [[1, 2, 0, 2, 3, 1, 3, 0, 2, 1], [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]]
    assert data.khop_distance.tolist() == [1, 2, 1, 1, 2, 1, 1, 2, 1, 2]
    beyond = AddKHop(3, first=2)(path.clone())
    assert beyond.khop_index.tolist() == [[2, 3, 3, 0, 1, 0], [0, 0, 1, 2, 3, 3]]
    assert beyond.khop_distance.tolist() == [2, 3, 2, 2, 2, 3]


def test_they_are_the_masks_of_ops() -> None:
    data = applied(GRAPHS[4])
    mask = AdjacencyMask.from_edge_index(data.edge_index, 30)
    near, jumps = k_hop(mask, 3), expander(mask, BlockDiagonalMask.single(30), 4)
    assert torch.equal(data.khop_index, torch.stack([near.source, near.target]))
    assert torch.equal(data.khop_distance - 1, near.edge_type)
    assert torch.equal(data.expander_index, torch.stack([jumps.source, jumps.target]))


def test_a_batch_of_transformed_graphs_is_the_transformed_batch() -> None:
    before = Batch.from_data_list([applied(data) for data in GRAPHS])
    after = applied(Batch.from_data_list(GRAPHS))
    assert same(before, after)
    assert before.khop_index.shape[1] == before.khop_distance.shape[0] > 0
    for one, again in zip(before.to_data_list(), GRAPHS, strict=True):
        assert same(one, applied(again))


def test_an_unsorted_batch() -> None:
    """The same edges between the same nodes, wherever these stand."""
    batch = Batch.from_data_list(GRAPHS)
    mixed = batch.batch[torch.randperm(batch.num_nodes, generator=torch.Generator().manual_seed(0))]
    place = mixed.argsort(stable=True)
    data = applied(Data(edge_index=place[batch.edge_index], batch=mixed, num_nodes=batch.num_nodes))
    expected = applied(batch)
    assert (mixed.diff() < 0).any()
    assert torch.equal(data.khop_index, place[expected.khop_index])
    assert torch.equal(data.khop_distance, expected.khop_distance)
    assert torch.equal(data.expander_index, place[expected.expander_index])


def test_without_nodes_or_edges() -> None:
    for data in (applied(Data(num_nodes=0)), applied(Data(num_nodes=1))):
        assert data.khop_index.shape == data.expander_index.shape == (2, 0)
        assert data.khop_distance.shape == (0,)
        assert data.khop_distance.dtype == torch.int64


def test_an_attention_over_all_of_them() -> None:
    """The edges, nodes up to three steps away, and jumps: a union of five types, alone as in a batch."""
    layer = MaskedSelfAttention(4, 8, heads=2, edge_types=4)
    torch.nn.init.normal_(layer.type_bias)

    def attend(data: Data) -> Tensor:
        n = data.num_nodes
        beyond = AdjacencyMask.from_edge_index(data.khop_index, n).with_types(data.khop_distance - 2, 2)
        jumps = AdjacencyMask.from_edge_index(data.expander_index, n)
        return layer(data.x, AdjacencyMask.from_edge_index(data.edge_index, n) | beyond | jumps)

    made = [AddExpander(3)(AddKHop(3, first=2)(data.clone())) for data in GRAPHS]
    together = attend(Batch.from_data_list(made))
    assert torch.allclose(together, torch.cat([attend(data) for data in made]), atol=1e-6)


@pytest.mark.parametrize("transform", [AddKHop(2), AddExpander(3)], ids=repr)
def test_twice_is_the_same_and_the_input_stays(transform: StructuralTransform) -> None:
    data = GRAPHS[4]
    edges = data.edge_index.clone()
    first, second = transform(data), transform(data)
    assert all(torch.equal(first[name], second[name]) for name in NAMES if name in first)
    assert torch.equal(data.edge_index, edges)
    assert "khop_index" not in data
    assert "expander_index" not in data


def test_repr_names_the_options() -> None:
    assert repr(AddKHop(2)) == "AddKHop(first=1, k=2, max_edges=33554432)"
    assert repr(AddExpander(5)) == "AddExpander(degree=5)"


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"got k=1 and first=2$"):
        AddKHop(1, first=2)
    with pytest.raises(InputError, match=r"^degree must be at least 3, got 2$"):
        AddExpander(2)
    with pytest.raises(InputError, match=r"^k=3 joins about .* but max_edges is 5:"):
        AddKHop(3, max_edges=5)(GRAPHS[0])
