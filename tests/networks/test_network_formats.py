"""Networks in the formats of other libraries: the same nodes, edges, labels and features from each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.networks import load_network

# A path a – b – c – d with a side and an age.
NAMES, SIDES, AGES = ["a", "b", "c", "d"], ["left", "left", "right", "right"], [10, 20, 30, 41]


def graph() -> nx.Graph:
    made = nx.path_graph(NAMES)
    for name, side, age in zip(NAMES, SIDES, AGES, strict=True):
        made.nodes[name].update(side=side, age=age)
    return made


@pytest.mark.parametrize(
    ("name", "write"), [("g.graphml", nx.write_graphml), ("g.gml", nx.write_gml), ("g.gexf", nx.write_gexf)]
)
def test_graph_files_have_a_table_of_nodes(tmp_path: Path, name: str, write: Callable) -> None:
    write(graph(), tmp_path / name)
    network = load_network(tmp_path / name, label_column="side", feature_columns=["age"])
    order = [NAMES.index(each) for each in network.ids]
    assert sorted(order) == [0, 1, 2, 3]
    ends = {frozenset(NAMES[order[node]] for node in edge) for edge in network.data.edge_index.t().tolist()}
    assert ends == {frozenset("ab"), frozenset("bc"), frozenset("cd")}
    assert [network.data.class_names[label] for label in network.data.y.tolist()] == [SIDES[row] for row in order]
    # (age − 25.25) / 11.54: standardised, population deviation.
    ages = np.array(AGES)[order]
    expected = (ages - ages.mean()) / ages.std()
    np.testing.assert_allclose(network.data.x.to_dense().flatten(), expected, rtol=1e-5)


def test_pajek(tmp_path: Path) -> None:
    nx.write_pajek(nx.path_graph(NAMES), tmp_path / "g.net")
    network = load_network(tmp_path / "g.net")
    assert network.report == {"nodes": 4, "edges": 3}
    assert network.ids == NAMES


@pytest.mark.parametrize("form", ["data", "dictionary", "npz"])
def test_saved_tensors_and_arrays(tmp_path: Path, form: str) -> None:
    data = Data(x=torch.tensor([[1.0], [2.0], [3.0], [6.0]]), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))
    data.y = torch.tensor([0, -1, 1, 1])
    path = tmp_path / ("g.npz" if form == "npz" else "g.pt")
    if form == "npz":
        np.savez(path, x=data.x.numpy(), edge_index=data.edge_index.numpy(), y=data.y.numpy())
    else:
        torch.save(data if form == "data" else data.to_dict(), path)
    known = set(map(repr, torch.serialization.get_safe_globals()))
    network = load_network(path, label_column="y", feature_columns=["x"])
    assert set(map(repr, torch.serialization.get_safe_globals())) == known  # what other code may load stays as it was
    assert network.report == {"nodes": 4, "edges": 3, "unlabelled": 1}
    assert (network.ids, network.data.y.tolist()) == (["0", "1", "2", "3"], [0, -1, 1, 1])
    np.testing.assert_allclose(network.data.x.to_dense().flatten(), np.array([-2, -1, 0, 3]) / 3.5**0.5, rtol=1e-5)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a user\\'s file was unpickled')",))


def test_nothing_in_a_saved_file_is_run(tmp_path: Path) -> None:
    torch.save({"edge_index": Bomb()}, tmp_path / "g.pt")
    np.savez(tmp_path / "g.npz", edge_index=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match=r"g\.pt cannot be read safely"):
        load_network(tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"g\.npz cannot be read as an \.npz file of numbers"):
        load_network(tmp_path / "g.npz")


@pytest.mark.parametrize("name", ["g.graphml", "g.gml", "g.gexf", "g.net", "g.pt", "g.npz"])
def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
        load_network(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_frames_are_read_as_files(tmp_path: Path) -> None:
    edges = pd.DataFrame({"from": ["a", "b", "c"], "to": ["b", "c", "d"]})
    people = pd.DataFrame({"id": NAMES, "side": ["left", None, "right", "right"], "age": [10.0, 20.0, np.nan, 41.0]})
    network = load_network(edges, people, label_column="side", feature_columns=["age"])
    edges.to_csv(tmp_path / "edges.csv", index=False)
    people.to_csv(tmp_path / "people.csv", index=False)
    same = load_network(tmp_path / "edges.csv", tmp_path / "people.csv", label_column="side", feature_columns=["age"])
    assert network.report == same.report
    assert torch.equal(network.data.x.to_dense(), same.data.x.to_dense())
    assert torch.equal(network.data.edge_index, same.data.edge_index)
    assert network.data.y.tolist() == same.data.y.tolist() == [0, -1, 1, 1]


def test_markers_of_missing_values(tmp_path: Path) -> None:
    edges = pd.DataFrame({"from": ["a", "b", "c"], "to": ["b", "c", "d"]})
    people = pd.DataFrame({"id": NAMES, "side": ["left", "left", "right", "unknown"]})
    assert load_network(edges, people, label_column="side").data.class_names == ["left", "right", "unknown"]
    network = load_network(edges, people, label_column="side", na_values=["unknown"])
    assert (network.data.class_names, network.data.y.tolist()) == (["left", "right"], [0, 0, 1, -1])
