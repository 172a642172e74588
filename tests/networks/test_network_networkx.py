"""NetworkX graphs of every kind."""

from __future__ import annotations

import networkx as nx
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
