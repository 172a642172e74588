"""NetworkX graphs of every kind."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

from graphattn.errors import InputError
from graphattn.networks import FeatureEncoding, fit_ids, from_networkx


def test_karate_club() -> None:
    network = from_networkx(nx.karate_club_graph(), label="club")
    assert network.report == {"nodes": 34, "edges": 78}
    assert network.data.edge_index.shape == (2, 156)
    assert network.data.class_names == ["Mr. Hi", "Officer"]
    assert network.data.y.bincount().tolist() == [17, 17]
    assert network.ids[:3] == ["0", "1", "2"]


def test_attributes_become_labels_and_features() -> None:
    graph = nx.Graph()
    graph.add_node("p", age=1, role="x", side=True)
    graph.add_node("q", age=3.0, role=None, side=None)
    graph.add_node("r", role="y", side=float("nan"))
    graph.add_node("s", age=float("nan"), side=False)
    graph.add_edges_from([("q", "p"), ("p", "p")])
    network = from_networkx(graph, label="side", features=["age", "role"])
    assert network.data.y.tolist() == [1, -1, -1, 0]
    assert network.data.class_names == ["False", "True"]
    assert network.data.x.to_dense().tolist() == [[-1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert network.data.edge_index.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert network.report["isolated"] == 2

    other = nx.Graph()
    other.add_node(5, age=5, role="y", side="True")
    again = from_networkx(other, label="side", encoding=network.encoding, class_names=["True", "False"])
    assert again.data.x.to_dense().tolist() == [[3, 0, 1]]
    assert again.data.y.tolist() == [0]
    assert again.data.edge_index.shape == (2, 0)


@pytest.mark.parametrize("kind", [nx.DiGraph, nx.MultiDiGraph])
def test_direction_is_kept(kind: type[nx.Graph]) -> None:
    assert from_networkx(kind([(1, 0), (1, 0), (0, 2)])).data.edge_index.tolist() == [[0, 1], [1, 2]]


def test_parallel_edges_count_once() -> None:
    network = from_networkx(nx.MultiGraph([("a", "b"), ("a", "b"), ("b", "a")]))
    assert network.data.edge_index.tolist() == [[0, 1], [1, 0]]
    assert network.report == {"nodes": 2, "edges": 1, "duplicate_edges": 2}
    assert torch.equal(network.data.edge_index, from_networkx(nx.Graph([("a", "b")])).data.edge_index)


def test_a_self_loop_is_no_company() -> None:
    network = from_networkx(nx.Graph([("a", "a"), ("b", "c")]))
    assert network.report == {"nodes": 3, "edges": 2, "self_loops": 1, "isolated": 1}


def test_bad_graphs_are_clear_errors() -> None:
    graph = nx.Graph([(1, 2)])
    graph.nodes[1]["age"] = 3
    with pytest.raises(InputError, match="has no nodes"):
        from_networkx(nx.Graph())
    with pytest.raises(InputError, match="the same as text: '1'"):
        from_networkx(nx.Graph([(1, "1")]))
    with pytest.raises(InputError, match="attribute 'club'; its attributes are: age"):
        from_networkx(graph, label="club")
    with pytest.raises(InputError, match="fitted on lists of feature ids"):
        from_networkx(graph, encoding=fit_ids({"1": [1]}, ["1"]))
    with pytest.raises(InputError, match="the encoding was fitted on"):
        from_networkx(graph, features=["age"], encoding=FeatureEncoding())


def test_vectors_on_nodes_are_columns() -> None:
    """As `to_networkx(data, node_attrs=["x"])` writes them; a later network gets the same columns."""
    graph = nx.path_graph(4)
    nx.set_node_attributes(graph, {0: [1.0, 5.0], 1: (3.0, 5.0), 2: np.array([5.0, 8.0])}, "x")
    nx.set_node_attributes(graph, {0: "a", 1: "b", 2: "a", 3: "b"}, "kind")
    made = from_networkx(graph, features=["x", "kind"])
    assert made.encoding.names == ["x.0", "x.1", "kind=a", "kind=b"]
    dense = made.data.x.to_dense()
    assert dense[:, 0].tolist() == pytest.approx([-1.2247449, 0, 1.2247449, 0])  # the last has none
    assert dense[:, 2].tolist() == [1, 0, 1, 0]
    again = from_networkx(graph, features=["x", "kind"], encoding=made.encoding)
    assert torch.equal(again.data.x.to_dense(), dense)
    assert torch.equal(from_networkx(graph, encoding=made.encoding).data.x.to_dense(), dense)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0, 3.0], "attribute 'x' must hold numbers, text, or vectors of numbers of one length on all nodes"),
        (["a", "b"], "attribute 'x' must hold numbers, text, or vectors of numbers of one length on all nodes"),
        ([[1.0, 2.0]], "attribute 'x' must hold numbers, text, or vectors of numbers of one length on all nodes"),
        (1.0, "attribute 'x' must hold numbers, text, or vectors of numbers of one length on all nodes"),
        ({"a": 1}, "attribute 'x' must hold numbers, text, or vectors of numbers of one length on all nodes"),
    ],
)
def test_vectors_that_do_not_fit(value: object, message: str) -> None:
    graph = nx.path_graph(2)
    nx.set_node_attributes(graph, {0: [1.0, 2.0], 1: value}, "x")
    with pytest.raises(InputError, match=message):
        from_networkx(graph, features=["x"])


def test_what_is_neither_number_nor_text_is_refused() -> None:
    graph = nx.path_graph(2)
    nx.set_node_attributes(graph, {0: {"a": 1}, 1: {"b": 2}}, "x")
    with pytest.raises(InputError, match="attribute 'x' must hold numbers or text, got dict"):
        from_networkx(graph, features=["x"])
    with pytest.raises(InputError, match="attribute 'x' must hold numbers or text, got dict"):
        from_networkx(graph, label="x")


def test_pandas_na_is_missing() -> None:
    graph = nx.path_graph(3)
    nx.set_node_attributes(graph, {0: "a", 1: pd.NA, 2: "b"}, "kind")
    nx.set_node_attributes(graph, {0: "a", 1: pd.NA, 2: "b"}, "same")
    with pytest.raises(InputError, match="'kind' is the label and also among the features"):
        from_networkx(graph, label="kind", features=["kind"])
    made = from_networkx(graph, label="kind", features=["same"])
    assert made.data.y.tolist() == [0, -1, 1]
    assert made.data.x.to_dense().tolist() == [[1, 0], [0, 0], [0, 1]]
