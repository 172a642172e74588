"""Relative random-walk probabilities against powers of a matrix made edge by edge, and by hand."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pair_cases import check_batches, drawn, graph, graphs, table
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.structure import AddRelativeWalk


@drawn
@given(graphs(), st.integers(1, 6), st.booleans())
def test_equals_powers_of_the_transition_matrix(data: Data, steps: int, weighted: bool) -> None:
    n = data.num_nodes
    matrix = np.zeros((n, n))
    for (source, target), weight in zip(data.edge_index.t().tolist(), data.weight.tolist(), strict=True):
        matrix[source, target] += weight if weighted else 1
    for row in matrix:
        row /= row.sum() or 1
    powers = [np.linalg.matrix_power(matrix, step) if n else matrix for step in range(steps)]
    expected = torch.from_numpy(np.stack(powers, -1)).float().flatten(0, 1)
    actual = AddRelativeWalk(steps, "weight" if weighted else None)(data).rrwp_pair
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_path_of_three() -> None:
    """From the end 0 the walk is at 1, then at 0 or 2. The row of target 0 holds what a walk from 0 does."""
    data = AddRelativeWalk(3)(graph([(0, 1), (1, 2)], 3))
    assert data.rrwp_pair.dtype == torch.float32
    assert table(data.rrwp_pair, 3)[0].tolist() == [[1, 0, 0.5], [0, 1, 0], [0, 0, 0.5]]
    assert table(data.rrwp_pair, 3)[1].tolist() == [[0, 0.5, 0], [1, 0, 1], [0, 0.5, 0]]


def test_multi_edges_and_weights_share_the_step() -> None:
    two_of_three = Data(
        edge_index=torch.tensor([[0, 0, 0], [1, 1, 2]]), num_nodes=3, edge_weight=torch.tensor([[1.0], [2], [1]])
    )
    assert table(AddRelativeWalk(2)(two_of_three).rrwp_pair, 3)[0, :, 1].tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    assert table(AddRelativeWalk(2, "edge_weight")(two_of_three).rrwp_pair, 3)[0, :, 1].tolist() == [0, 3 / 4, 1 / 4]


def test_a_walk_ends_where_no_edge_leaves() -> None:
    data = AddRelativeWalk(3)(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2))
    assert table(data.rrwp_pair, 2).tolist() == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 0], [1, 0, 0]]]


@drawn
@given(st.lists(graphs(), min_size=1, max_size=4), st.integers(0, 99))
def test_batched_as_alone(some: list[Data], seed: int) -> None:
    check_batches(AddRelativeWalk(4, "weight"), "rrwp_pair", some, seed)


def test_nothing_at_all() -> None:
    data = AddRelativeWalk(4)(Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=0))
    assert data.rrwp_pair.shape == (0, 4)


def test_bad_options() -> None:
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        AddRelativeWalk(0)
    with pytest.raises(InputError, match="finite and not negative"):
        AddRelativeWalk(2, "w")(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2, w=torch.tensor([-1.0])))


def test_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine pairs: 3 columns of 4 bytes each, and five matrices of 8 bytes a pair on the way."""
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2 * 468 - 1}.__getitem__)
    AddRelativeWalk(2)(graph([(0, 1)], 3))
    with pytest.raises(InputError, match="relative random walks of 9 pairs of nodes would take about 468 bytes"):
        AddRelativeWalk(3)(graph([(0, 1)], 3))
