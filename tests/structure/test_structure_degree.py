"""Degrees against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from graphattn.errors import InputError
from graphattn.structure import STRUCTURE, AddDegree


@st.composite
def graphs(draw: st.DrawFn) -> Data:
    num_nodes = draw(st.integers(0, 6))
    node = st.integers(0, max(num_nodes - 1, 0))
    edges = draw(st.lists(st.tuples(node, node), max_size=3 * num_nodes))
    return Data(edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes)


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_against_networkx(data: Data) -> None:
    other = nx.MultiDiGraph()
    other.add_nodes_from(range(data.num_nodes))
    other.add_edges_from(data.edge_index.t().tolist())
    expected = {
        "in": [[degree] for _, degree in other.in_degree()],
        "out": [[degree] for _, degree in other.out_degree()],
        "both": [[into, out] for (_, into), (_, out) in zip(other.in_degree(), other.out_degree(), strict=True)],
    }
    for direction, degrees in expected.items():
        pe = AddDegree(direction)(data).degree_pe
        assert pe.dtype == torch.float32
        assert pe.shape == (data.num_nodes, 2 if direction == "both" else 1)
        np.testing.assert_allclose(pe.expm1().flatten(), np.array(degrees).flatten(), rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=4))
def test_batch_equals_one_by_one(several: list[Data]) -> None:
    batch = AddDegree("both")(Batch.from_data_list(several))
    assert torch.equal(batch.degree_pe, torch.cat([AddDegree("both")(data).degree_pe for data in several]))


def test_by_name_and_number_of_columns() -> None:
    data = Data(edge_index=torch.tensor([[0, 0, 1], [1, 1, 1]]), num_nodes=3)
    for name in ("degree", "degree_bucket"):
        both = STRUCTURE["encodings"][name].transform(2)(data).degree_pe
        torch.testing.assert_close(both, torch.tensor([[0.0, 2.0], [3.0, 1.0], [0.0, 0.0]]).log1p())
        assert torch.equal(STRUCTURE["encodings"][name].transform(1)(data).degree_pe, both[:, :1])


def test_bad_direction() -> None:
    with pytest.raises(InputError, match="direction must be 'in', 'out' or 'both', got 'up'"):
        AddDegree("up")
