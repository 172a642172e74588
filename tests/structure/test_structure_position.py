"""Positions on path graphs, and what is no path."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from graphattn.errors import InputError
from graphattn.structure import AddPosition


def path(order: list[int], directed: bool = False) -> Data:
    """The path that visits the nodes in this order."""
    steps = list(pairwise(order))
    edges = steps if directed else steps + [(j, i) for i, j in steps]
    return Data(edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), num_nodes=len(order))


def places(order: list[int]) -> list[float]:
    return [float(order.index(node)) for node in range(len(order))]


orders = st.integers(1, 9).flatmap(lambda count: st.permutations(range(count)))


@settings(max_examples=60, deadline=None)
@given(orders)
def test_path_from_its_smaller_end(order: list[int]) -> None:
    first = order if order[0] <= order[-1] else order[::-1]
    position = AddPosition()(path(order)).position_pe
    assert position.dtype == torch.float32
    assert position.shape == (len(order), 1)
    assert position.flatten().tolist() == places(first)


@settings(max_examples=60, deadline=None)
@given(orders)
def test_directed_path_from_its_source(order: list[int]) -> None:
    assert AddPosition()(path(order, directed=True)).position_pe.flatten().tolist() == places(order)


def test_multi_edges_and_self_loops_change_nothing() -> None:
    data = Data(edge_index=torch.tensor([[1, 1, 2, 0, 0], [2, 2, 1, 2, 0]]), num_nodes=3)
    assert AddPosition()(data).position_pe.flatten().tolist() == [0, 2, 1]


def test_batch_in_any_order_of_nodes() -> None:
    several = [path([2, 0, 1], directed=True), path([0]), path([1, 3, 0, 2])]
    batch = Batch.from_data_list(several)
    alone = torch.cat([AddPosition()(data).position_pe for data in several])
    assert torch.equal(AddPosition()(batch).position_pe, alone)
    place = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    mixed = Data(edge_index=place[batch.edge_index], num_nodes=8)
    mixed.batch = torch.empty_like(batch.batch).index_copy(0, place, batch.batch)
    got = AddPosition()(mixed).position_pe[place]
    # The first path's direction is given by its edges; in the last the smaller number may be the other end.
    assert torch.equal(got[:4], alone[:4])
    assert torch.equal(got[4:], alone[4:]) or torch.equal(got[4:], 3 - alone[4:])


def test_empty_graph() -> None:
    assert AddPosition()(Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=0)).position_pe.shape == (0, 1)


@pytest.mark.parametrize(
    ("edges", "num_nodes"),
    [
        ([(0, 1), (1, 2), (2, 0)], 3),  # a ring
        ([(0, 1), (0, 2), (0, 3)], 4),  # a star
        ([(0, 1)], 3),  # a node beside
        ([(0, 1), (1, 2), (2, 0)], 4),  # a ring and a node: as many edges as a path
        ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 2)], 5),  # a ring with a tail
    ],
)
def test_other_graphs_need_positions(edges: list[tuple[int, int]], num_nodes: int) -> None:
    data = Data(edge_index=torch.tensor(edges).t().contiguous(), num_nodes=num_nodes)
    with pytest.raises(InputError, match=f"a graph of {num_nodes} nodes is none: give data.position_pe"):
        AddPosition()(Batch.from_data_list([path([0, 1]), data]))
    data.position_pe = torch.arange(float(num_nodes)).unsqueeze(1) * 2
    assert torch.equal(AddPosition()(data).position_pe, data.position_pe)


def test_given_positions_of_another_shape() -> None:
    data = path([0, 1, 2])
    data.position_pe = torch.arange(3)
    with pytest.raises(InputError, match=r"data.position_pe must be a tensor of shape \[3, 1\], got shape \[3\]"):
        AddPosition()(data)
