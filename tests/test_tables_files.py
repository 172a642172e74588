"""Files as people have them: encodings, compression, comments and names of columns."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from graphattn.chem.files import read_molecules
from graphattn.errors import InputError
from graphattn.networks import load_network
from graphattn.tables import find_column, read_table

TEXT = "id,name\n1,Müller\n"


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, TEXT)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("latin-1"),
        bz2.compress(TEXT.encode()),
        lzma.compress(TEXT.encode()),
        archive("t.csv", "__MACOSX/._t.csv"),
        ("sep=,\n" + TEXT).encode(),
        ("# made by, a, tool\n" + TEXT).encode(),
    ],
)
def test_files_read_the_same(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert read_table(tmp_path / "t.csv").to_numpy().tolist() == [["1", "Müller"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive("a.csv", "b.csv"), "zip archive of 2 files, expected one: 'a.csv', 'b.csv'"),
        (b"\xff\x00\x01,\xfe\n", "no text"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"%PDF-1.4", "a PDF document"),
        (gzip.compress(b"x" * (1 << 25)), "a line of more than 16,777,216 bytes"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.csv")


def test_names_of_columns() -> None:
    notes: list[str] = []
    assert find_column(["smiles", " logS"], "logs", "t.csv", notes) == " logS"
    assert notes == ["column ' logS' of t.csv is taken for 'logs'"]
    with pytest.raises(InputError, match="2 columns 'a'"):
        find_column(["a", "a", "b"], "a", "t.csv")
    assert find_column(["a", "a", "b", ""], "b", "t.csv") == "b"


def test_smiles_and_sdf_files(tmp_path: Path) -> None:
    (tmp_path / "m.smi").write_text("CCO ethyl alcohol\nCC\n")
    assert read_molecules(tmp_path / "m.smi").to_numpy().tolist() == [["CCO", "ethyl alcohol"], ["CC", ""]]
    counts, atom = "  1  0  0  0  0  0            999 V2000\n", "    0.0000    0.0000    0.0000 C   0  0\n"
    (tmp_path / "m.sdf").write_text(f"methane\n\n\n{counts}{atom}M  END\n> <logP>\n1.5\n\n$$$$\n")
    frame = read_molecules(tmp_path / "m.sdf")
    assert [list(frame.columns), *frame.to_numpy().tolist()] == [["smiles", "name", "logP"], ["C", "methane", "1.5"]]
    (tmp_path / "bad.sdf").write_text("hello\n")
    with pytest.raises(InputError, match="is no SDF file"):
        read_molecules(tmp_path / "bad.sdf")


def test_edges_in_other_forms(tmp_path: Path) -> None:
    (tmp_path / "snap.txt").write_text("# Nodes: 3\n# From To\n0 1\n1   2\n")
    (tmp_path / "matrix.csv").write_text("0,1,0\n1,0,1\n0,1,0\n")
    nodes = " ".join(f"node [ id {node} ]" for node in range(3))
    (tmp_path / "g.gml").write_text(f"graph [ {nodes} edge [ source 0 target 1 ] edge [ source 1 target 2 ] ]")
    expected = [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert load_network(tmp_path / "snap.txt").data.edge_index.tolist() == expected
    assert load_network(tmp_path / "g.gml").data.edge_index.tolist() == expected
    assert load_network(tmp_path / "matrix.csv", adjacency_matrix=True).data.edge_index.tolist() == expected
    with pytest.raises(InputError, match="looks like an adjacency matrix of 3 nodes"):
        load_network(tmp_path / "matrix.csv")


def test_a_label_among_the_features_and_edges_of_others(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,k\n1,a\n2,b\n")
    (tmp_path / "e.csv").write_text("1,2\n")
    with pytest.raises(InputError, match="is the label and also among the features"):
        load_network(tmp_path / "e.csv", tmp_path / "n.csv", label_column="k", feature_columns=["k"])
    (tmp_path / "e.csv").write_text("8,9\n9,7\n")
    with pytest.raises(InputError, match="no edge has both ends"):
        load_network(tmp_path / "e.csv", tmp_path / "n.csv", ignore_unknown_edges=True)


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"smiles": ["CCO", "CC", "C"], "n": [1, None, 3], "value": [1.5, 2.0, None], "text": ["007", None, "NA"]}
    )


def test_parquet_and_excel_read_as_text(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "t.parquet")
    frame().to_excel(tmp_path / "t.xlsx", index=False)
    expected = {"smiles": ["CCO", "CC", "C"], "n": ["1", "", "3"], "value": ["1.5", "2", ""], "text": ["007", "", "NA"]}
    for name in ("t.parquet", "t.xlsx"):
        assert read_table(tmp_path / name).to_dict("list") == expected
        assert read_molecules(tmp_path / name).to_dict("list") == expected


def test_the_first_sheet_of_several_is_read_and_said(tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame().to_excel(book, sheet_name="assay", index=False)
        frame().head(1).to_excel(book, sheet_name="notes", index=False)
    notes: list[str] = []
    assert len(read_table(tmp_path / "t.xlsx", notes=notes)) == 3
    assert notes == [f"{tmp_path / 't.xlsx'} has 2 sheets; the first, 'assay', is read"]


@pytest.mark.parametrize(("name", "message"), [("t.parquet", "is a damaged Parquet file"), ("t.xlsx", "is a damaged zip file")])
def test_damaged_workbooks(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    frame().to_parquet(path) if name == "t.parquet" else frame().to_excel(path, index=False)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_a_line_without_end_is_refused_in_a_stream(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(b"C" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match="has a line of more than 16,777,216 bytes"):
        read_table(tmp_path / "t.csv.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
