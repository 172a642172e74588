"""What all transforms of structure share: odd graphs, the same twice, each once, and a transform for every name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.structure import (
    STRUCTURE,
    AddDegree,
    AddRandomWalk,
    precompute,
    structure_transform,
)

ALL = structure_transform({"degree": 1, "random_walk": 3, "laplacian": 2})


def graph(edges: list[tuple[int, int]], num_nodes: int) -> Data:
    """Both directions of every edge."""
    both = edges + [(j, i) for i, j in edges]
    return Data(edge_index=torch.tensor(both, dtype=torch.long).reshape(-1, 2).t(), num_nodes=num_nodes)


def encodings(data: Data) -> list[Tensor]:
    return [data[f"{name}_pe"] for name in ("degree", "random_walk", "laplacian")]


def test_degree_counts_edges_into_a_node() -> None:
    data = AddDegree()(Data(edge_index=torch.tensor([[0, 0, 1, 2, 2], [1, 1, 1, 0, 2]]), num_nodes=4))
    assert data.degree_pe.flatten().tolist() == pytest.approx([math.log(2), math.log(4), math.log(2), 0.0])


def test_random_walk_on_a_triangle() -> None:
    data = AddRandomWalk(4)(graph([(0, 1), (1, 2), (2, 0)], 3))
    assert data.random_walk_pe.tolist() == [pytest.approx([0.0, 1 / 2, 1 / 4, 3 / 8])] * 3


def test_random_walk_on_a_path() -> None:
    data = AddRandomWalk(4)(graph([(0, 1), (1, 2)], 3))
    assert data.random_walk_pe.tolist() == [[0.0, 0.5, 0.0, 0.5], [0.0, 1.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.5]]


def test_random_walk_from_a_node_that_nothing_leaves() -> None:
    data = AddRandomWalk(3)(Data(edge_index=torch.tensor([[0, 0], [1, 0]]), num_nodes=3))
    assert data.random_walk_pe.tolist() == [[0.5, 0.25, 0.125], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "data",
    [
        graph([], 1),
        graph([], 3),
        graph([(0, 1)], 3),  # C.CC: two fragments
        graph([(0, 1), (2, 3)], 4),
        graph([(0, 1), (1, 2), (2, 3)], 4),
        graph([(node, node + 1) for node in range(119)], 120),
        graph([(node, node + 1) for node in range(0, 120, 2)], 121),  # sixty fragments for the sparse solver
        graph([], 130),
        graph([(0, node) for node in range(1, 150)], 150),  # 148 equal eigenvalues
    ],
    ids=[
        "one-atom",
        "no-edges",
        "fragment-and-atom",
        "two-fragments",
        "path",
        "long-path",
        "many-fragments",
        "no-edges-130",
        "star",
    ],
)
def test_any_graph_twice(data: Data) -> None:
    before = data.edge_index.clone()
    first, second = encodings(ALL(data.clone())), encodings(ALL(data.clone()))
    for pe, again, columns in zip(first, second, (1, 3, 2), strict=True):
        assert pe.shape == (data.num_nodes, columns)
        assert pe.dtype == torch.float32
        assert pe.isfinite().all()
        assert torch.equal(pe, again)
    assert torch.equal(data.edge_index, before)


def test_transforms_leave_the_other_attributes() -> None:
    data = graph([(0, 1), (1, 2)], 3)
    data.x, data.edge_attr = torch.ones(3, 2), torch.ones(4, 5)
    out = ALL(data)
    assert torch.equal(out.x, torch.ones(3, 2))
    assert torch.equal(out.edge_attr, torch.ones(4, 5))


@pytest.mark.parametrize(("option", "name"), [(option, name) for option, known in STRUCTURE.items() for name in known])
def test_every_kind_reads_what_its_transform_adds(option: str, name: str) -> None:
    """In as many columns as it says; nothing but the arguments of the model's call comes from elsewhere."""
    kind, number = STRUCTURE[option][name], 3
    try:
        kind.check(number)
    except InputError:
        number = 1 if name != "resistance" else 2
    transform, data = kind.transform(number), graph([(node, node + 1) for node in range(9)], 10)
    assert kind.option == option
    added = {} if transform is None else dict(transform.adds)
    assert set(kind.reads) - {"edge_attr", "edge_index", "batch"} <= set(added)
    if transform is not None:
        assert type(transform) is kind.computed_by
        made = transform(data)
        assert set(added) <= set(made.keys())
        for attribute, columns in kind.columns(number).items():
            if added[attribute] in ("node", "pair"):
                assert made[attribute].shape[1:] == (() if columns is None else (columns,))
                assert made[attribute].shape[0] == {"node": 10, "pair": 100}[added[attribute]]


def test_each_transform_once() -> None:
    """Two encodings that read one attribute share its transform, and must agree on its columns."""
    shared = structure_transform({"degree": 1, "degree_bucket": 1}, {"edge": 3, "distance": 4}, {"virtual": 1, "k_hop": 2})
    names = ["AddDegree(direction='in')", "AddDistance(longest=4)", "AddKHop(first=2, k=2, max_edges=33554432)"]
    assert [repr(transform) for transform in shared.transforms] == names
    with pytest.raises(InputError, match=r"^encodings 'degree_bucket' needs AddDegree.*, but another option has AddDegree"):
        structure_transform({"degree": 1, "degree_bucket": 2})
    with pytest.raises(InputError, match=r"^encodings 'degree' must be 1, or 2 for in- and out-degree, got 3$"):
        structure_transform({"degree": 3})
    with pytest.raises(InputError, match=r"^biases must be among distance, relative_walk, resistance, edge, got 'angle'$"):
        structure_transform(biases={"angle": 3})


def test_edges_of_a_sparse_matrix_alone_are_refused() -> None:
    data = Data(adj_t=torch.eye(2).to_sparse_csr(), num_nodes=2)
    for apply in (AddDegree(), lambda data: precompute([data], AddDegree())):
        with pytest.raises(InputError, match=r"^data must hold its edges as edge_index, but has adj_t alone"):
            apply(data)
