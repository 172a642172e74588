"""Networks from files: small ones worked out by hand, every dialect, and every bad input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from graphattn.errors import InputError
from graphattn.networks import load_network


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """Five people with gaps in their ids; one is unlabelled and has no friends."""
    return write(tmp_path / "nodes.csv", "id,age,kind\n10,20,b\n7,40,a\n300,,b\nx y,30,\n-1,30,b\n")


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    """One pair twice, in both directions, and a self-loop."""
    return write(tmp_path / "edges.csv", "from,to\n10,7\n7,10\n7,300\n300,300\n-1,10\n")


def test_a_small_network(edges: Path, nodes: Path, tmp_path: Path) -> None:
    features = write(tmp_path / "f.json", json.dumps({"10": [5, 1], "300": [5], "8": [1]}))
    network = load_network(edges, nodes, features, label_column="kind")
    data = network.data
    assert network.ids == ["10", "7", "300", "x y", "-1"]
    assert data.edge_index.tolist() == [[0, 0, 1, 1, 2, 2, 4], [1, 4, 0, 2, 1, 2, 0]]
    assert data.edge_index.dtype == torch.int64
    assert data.y.tolist() == [1, 0, 1, -1, 1]
    assert data.y.dtype == torch.int64
    assert data.class_names == ["a", "b"]
    assert data.x.layout == torch.sparse_csr
    assert data.x.to_dense().tolist() == [[1, 1], [0, 0], [0, 1], [0, 0], [0, 0]]
    assert network.encoding.vocabulary == ("1", "5")
    assert network.report == {
        "nodes": 5,
        "edges": 4,
        "self_loops": 1,
        "duplicate_edges": 1,
        "isolated": 1,
        "unlabelled": 1,
        "nodes_without_features": 3,
        "features_of_unknown_nodes": 1,
    }


def test_torch_geometric_takes_the_graph(edges: Path, nodes: Path, tmp_path: Path) -> None:
    features = write(tmp_path / "f.json", '{"10": [5, 1]}')
    data = load_network(edges, nodes, features).data
    assert data.validate(raise_on_error=True)
    assert (data.num_nodes, data.num_node_features) == (5, 2)
    assert "y" not in data
    assert "class_names" not in data
    moved = data.clone().to("cpu")
    assert moved.x.layout == torch.sparse_csr
    assert torch.equal(moved.edge_index, data.edge_index)


def test_directed_keeps_the_direction(edges: Path, nodes: Path) -> None:
    network = load_network(edges, nodes, directed=True)
    assert network.data.edge_index.tolist() == [[0, 1, 1, 2, 4], [1, 0, 2, 2, 0]]
    assert network.report == {"nodes": 5, "edges": 5, "self_loops": 1, "isolated": 1}
    assert "x" not in network.data
    assert network.encoding.kind == "none"


def test_columns_of_the_node_table_as_features(edges: Path, nodes: Path, tmp_path: Path) -> None:
    network = load_network(edges, nodes, feature_columns=["age", "kind"])
    root = 0.5**0.5
    expected = [[-1 / root, 0, 1], [1 / root, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(network.data.x.to_dense(), torch.tensor(expected))
    assert network.report["missing_features"] == 2

    other = write(tmp_path / "other.csv", "name,kind,age\np,a,30\nq,c,20\n")
    again = load_network(write(tmp_path / "e.csv", "p,q\n"), other, encoding=network.encoding)
    torch.testing.assert_close(again.data.x.to_dense(), torch.tensor([[0, 1, 0], [-1 / root, 0, 0]]))
    assert again.report == {"nodes": 2, "edges": 1, "unknown_features": 1}


def test_another_network_gets_the_same_columns_and_classes(edges: Path, nodes: Path, tmp_path: Path) -> None:
    encoding = load_network(edges, nodes, write(tmp_path / "f.json", '{"10": [5, 1]}')).encoding
    other = write(tmp_path / "other.csv", "id,kind\np,b\nq,new\nr,\n")
    features = write(tmp_path / "g.json", '{"p": [9, 5], "q": ["1"]}')
    pairs = write(tmp_path / "e.csv", "p,q\nq,r\n")
    network = load_network(pairs, other, features, label_column="kind", encoding=encoding, class_names=["b", "a", "0"])
    assert network.data.x.to_dense().tolist() == [[0, 1], [1, 0], [0, 0]]
    assert network.data.y.tolist() == [0, -1, -1]
    assert network.data.class_names == ["b", "a", "0"]
    assert network.report["unknown_labels"] == 1
    assert network.report["unlabelled"] == 1
    assert network.report["unknown_features"] == 1


def test_numeric_classes_sort_by_value(tmp_path: Path) -> None:
    table = write(tmp_path / "n.csv", "id,c\na,10\nb,9\nc,-1\n")
    data = load_network(write(tmp_path / "e.csv", "a,b\n"), table, label_column="c").data
    assert data.class_names == ["-1", "9", "10"]
    assert data.y.tolist() == [2, 1, 0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_dialect_reads_the_same(tmp_path: Path, delimiter: str, bom: str, zipped: bool) -> None:
    def put(name: str, text: str) -> Path:
        content = (bom + text).replace(",", delimiter).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
        return tmp_path / name

    (tmp_path / "f.json").write_bytes((bom + '{"a": [1]}').encode())
    network = load_network(
        put("e.csv", "s,t,when\na, b ,9\n"), put("n.csv", "id,c\na,u\nb,v\n"), tmp_path / "f.json", label_column="c"
    )
    assert network.ids == ["a", "b"]
    assert network.data.edge_index.tolist() == [[0, 1], [1, 0]]
    assert network.data.y.tolist() == [0, 1]
    assert network.data.x.to_dense().tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("text", "ids", "pairs"),
    [
        ("id_1,id_2\n5,3\n3,9\n", ["5", "3", "9"], [[0, 1], [1, 2]]),
        ("5,3\n3,9\n", ["5", "3", "9"], [[0, 1], [1, 2]]),
        ("5,3\n8,9\n", ["5", "3", "8", "9"], [[0, 1], [2, 3]]),
        ("5,3\n", ["5", "3"], [[0, 1]]),
        ("from,to\nann,bob\nbob,cy\n", ["ann", "bob", "cy"], [[0, 1], [1, 2]]),
        ("ann,bob\nbob,cy\n", ["ann", "bob", "cy"], [[0, 1], [1, 2]]),
        ("0,1\nann,bob\n", ["ann", "bob"], [[0, 1]]),
        ("a,a\nann,bob\n", ["ann", "bob"], [[0, 1]]),
        ("ann,ann\nann,bob\n", ["ann", "bob"], [[0, 0], [0, 1]]),
    ],
)
def test_a_header_is_told_from_an_edge(tmp_path: Path, text: str, ids: list[str], pairs: list[list[int]]) -> None:
    network = load_network(write(tmp_path / "e.csv", text), directed=True)
    assert network.ids == ids
    assert network.data.edge_index.t().tolist() == pairs


@pytest.mark.parametrize(("text", "edges"), [("p,q\n1,2\n", 1), ("1,2\n2,3\n", 2), ("p,q\n", 0), ("0,3\n1,2\n", None)])
def test_with_a_node_table_a_header_holds_no_id(tmp_path: Path, text: str, edges: int | None) -> None:
    table = write(tmp_path / "n.csv", "id\n1\n2\n3\n")
    path = write(tmp_path / "e.csv", text)
    if edges is None:
        with pytest.raises(InputError, match=r"1 edges with an id that is not in .*: '0';"):
            load_network(path, table)
    else:
        assert load_network(path, table).report["edges"] == edges


def test_named_columns_mean_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", ",0,1\n0,5,6\n1,6,7\n")
    network = load_network(path, source_column="1", target_column="0", directed=True)
    assert network.ids == ["6", "5", "7"]
    assert network.data.edge_index.tolist() == [[0, 2], [1, 0]]
    with pytest.raises(InputError, match="without a name; give source_column and target_column"):
        load_network(write(tmp_path / "saved.csv", ",p,q\n0,5,6\n"))


def test_only_unlabelled_nodes(edges: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "n.csv", "id,c\n10,\n7, \n300,\n-1,\n")
    network = load_network(edges, table, label_column="c")
    assert network.data.y.tolist() == [-1, -1, -1, -1]
    assert network.data.class_names == []


def test_unknown_edges_are_an_error_or_counted(nodes: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "s,t\n10,7\n10,n1\nn2,n3\nn4,n5\nn6,7\nn1,7\n")
    with pytest.raises(InputError, match=r"has 5 edges with an id .*: 'n1', 'n2', 'n3', 'n4', 'n5'.*--ignore-unknown"):
        load_network(path, nodes)
    network = load_network(path, nodes, ignore_unknown_edges=True)
    assert network.data.edge_index.tolist() == [[0, 1], [1, 0]]
    assert network.report == {"nodes": 5, "edges": 1, "unknown_edges": 5, "isolated": 3}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id\n1\n2\n1\n2\n", r"2 ids more than once in the column 'id': '1', '2'$"),
        ("id\n" + "".join(f"{i}\n{i}\n" for i in range(6)), r"6 ids more than once .*'0', '1', '2', '3', '4', …$"),
        ("id,k\n1,a\n ,b\n,c\n", r"2 empty cells in the id column 'id': rows '2', '3'$"),
        ("id,k\n", "no rows"),
    ],
)
def test_bad_node_tables_are_clear_errors(edges: Path, tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_network(edges, write(tmp_path / "bad.csv", table))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id_column": "who"}, "nodes.csv has no column 'who'; its columns are: 'id', 'age', 'kind'"),
        ({"label_column": "who"}, "nodes.csv has no column 'who'; its columns are: 'id', 'age', 'kind'"),
        ({"feature_columns": ["who"]}, "has no column 'who'; its columns are: 'id', 'age', 'kind'"),
        ({"source_column": "from", "target_column": "who"}, "edges.csv has no column 'who'; its columns are: 'from', 'to'"),
        ({"source_column": "from"}, "go together"),
        ({"source_column": "to", "target_column": "to"}, "are both 'to'"),
    ],
)
def test_bad_columns_are_clear_errors(edges: Path, nodes: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_network(edges, nodes, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "holds list; expected one JSON object"),
        ('{"10": [1', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"10": 5}', "features of node '10' is int"),
        ('{"a": [5]}', "expected ids such as '10'"),
    ],
)
def test_bad_features_are_clear_errors(edges: Path, nodes: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_network(edges, nodes, write(tmp_path / "f.json", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5\n6\n", "has one column; expected two"),
        ("from,to\n", "has no edges"),
        ("a,b\nb,c\n,c\n", "an empty id"),
        ("a,b\na\n", "line 2: the row has 1 cells"),
    ],
)
def test_bad_edge_lists_are_clear_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_network(write(tmp_path / "e.csv", text))


def test_arguments_that_do_not_fit_together(edges: Path, nodes: Path, tmp_path: Path) -> None:
    features = write(tmp_path / "f.json", '{"10": [1]}')
    with pytest.raises(InputError, match="give nodes as well"):
        load_network(edges, label_column="kind")
    with pytest.raises(InputError, match="both given"):
        load_network(edges, nodes, features, feature_columns=["age"])
    encoding = load_network(edges, nodes, feature_columns=["age"]).encoding
    with pytest.raises(InputError, match="the encoding was fitted on"):
        load_network(edges, nodes, feature_columns=["kind"], encoding=encoding)
    with pytest.raises(InputError, match="fitted on columns of a node table"):
        load_network(edges, nodes, features, encoding=encoding)
    with pytest.raises(InputError, match="fitted on columns of a node table"):
        load_network(edges, encoding=encoding)
    with pytest.raises(InputError, match="fitted on lists of feature ids"):
        load_network(edges, nodes, encoding=load_network(edges, nodes, features).encoding)
