"""Tables of text: what is in the file is what comes out, or a clear error."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graphattn.errors import InputError
from graphattn.tables import iter_table, numbers, open_text, read_table, require_columns


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(table: pd.DataFrame) -> list[list[str]]:
    return [list(table.columns), *table.to_numpy().tolist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_dialect_reads_the_same(tmp_path: Path, delimiter: str, newline: str, bom: str, zipped: bool) -> None:
    lines = [["id", "the name"], ["007", " Ä b "], ["NA", ""], ["1e3", "nan"]]
    content = (bom + "".join(delimiter.join(line) + newline for line in lines)).encode()
    path = write(tmp_path / "table.csv", gzip.compress(content, mtime=0) if zipped else content)
    table = read_table(path)
    assert rows(table) == lines
    assert list(table.index) == [0, 1, 2]
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b\n"x,y",1\n', [["a", "b"], ["x,y", "1"]]),
        ('a,b\n"x\ny","say ""hi"""\n', [["a", "b"], ["x\ny", 'say "hi"']]),
        ('"a;b;c",d\n1,2\n', [["a;b;c", "d"], ["1", "2"]]),
        ('"a\n;;b";c\n1;2\n', [["a\n;;b", "c"], ["1", "2"]]),
        ("a;b\n1,5;2,5\n", [["a", "b"], ["1,5", "2,5"]]),
        ('a,b\n5" pipe,1\n', [["a", "b"], ['5" pipe', "1"]]),
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("a,b\n", [["a", "b"]]),
        ("\n\na,b\n\n1,2\n  \n\n", [["a", "b"], ["1", "2"]]),
        ("a,b\n1,2\n\u00a0\n3,4\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ("a\tb\n\t\n1\t2\n", [["a", "b"], ["", ""], ["1", "2"]]),
        ("a,b\r1,2\r\n3,4\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ("a,b\n,\n ,NA\n,nan\n", [["a", "b"], ["", ""], [" ", "NA"], ["", "nan"]]),
        ("a,b\n1\0x,\0\n2,3\n", [["a", "b"], ["1\0x", "\0"], ["2", "3"]]),
        ("a,b\n\ufeff1,2\n", [["a", "b"], ["\ufeff1", "2"]]),
        ("a,b\n1\u20282,\x0b\x1a\n", [["a", "b"], ["1\u20282", "\x0b\x1a"]]),
        (",a\n1,2\n", [["", "a"], ["1", "2"]]),
        ("a,b\n# 1,2\n'3,4'\n", [["a", "b"], ["# 1", "2"], ["'3", "4'"]]),
        ('a\n1\n""\n', [["a"], ["1"], [""]]),
    ],
)
def test_quotes_line_ends_and_blank_lines(tmp_path: Path, text: str, expected: list[list[str]]) -> None:
    path = write(tmp_path / "t.csv", text)
    assert rows(read_table(path)) == expected
    # Chunks of one row end between any two lines.
    one_by_one = pd.concat(list(iter_table(path, 1)))
    pd.testing.assert_frame_equal(one_by_one, read_table(path), check_index_type="exact")


def test_one_column_keeps_empty_lines_between_rows_and_drops_those_around(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "\nsmiles\nC\n\n  \nCC\n\n\n"))
    assert rows(table) == [["smiles"], ["C"], [""], ["  "], ["CC"]]


def test_plain_rows_are_read_by_pandas_and_others_by_the_csv_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give the same frame; after the first row that is not plain the csv module goes on to the end."""
    plain = "".join(f"{i},x{i}\n" for i in range(9))
    path = write(tmp_path / "t.csv", "a,b\n" + plain)
    calls: list[int] = []
    read_csv = pd.read_csv

    def counted(*args: object, **kwargs: object) -> pd.DataFrame:
        frame = read_csv(*args, **kwargs)
        calls.append(len(frame))
        return frame

    monkeypatch.setattr(pd, "read_csv", counted)
    table = read_table(path)
    assert calls == [9]
    assert [len(chunk) for chunk in iter_table(path, 4)] == [4, 4, 1]
    assert calls == [9, 4, 4, 1]
    calls.clear()
    quoted = read_table(write(tmp_path / "quoted.csv", "a,b\n" + plain.replace("0,x0", '"0",x0')))
    pd.testing.assert_frame_equal(quoted, table, check_index_type="exact", check_column_type="exact")
    assert calls == []
    chunks = list(iter_table(write(tmp_path / "late.csv", "a,b\n" + plain.replace("5,x5", '5,"x5"')), 4))
    assert calls == [4]
    pd.testing.assert_frame_equal(pd.concat(chunks), table, check_index_type="exact", check_column_type="exact")


def test_lines_are_numbered_over_all_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '\n"a\nb",c\n' + "1,2\n" * 5 + '"3\n",4\n5\n')
    chunks = iter_table(path, 2)
    assert [len(next(chunks)) for _ in range(3)] == [2, 2, 2]
    with pytest.raises(InputError, match="line 11: the row has 1 cells; expected 2"):
        next(chunks)


def test_chunks_are_bounded_and_number_their_rows_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n" + "".join(f"{i},x\n" for i in range(5)))
    chunks = list(iter_table(path, 2))
    assert [list(chunk.index) for chunk in chunks] == [[0, 1], [2, 3], [4]]
    assert [list(chunk["a"]) for chunk in chunks] == [["0", "1"], ["2", "3"], ["4"]]
    exact = write(tmp_path / "exact.csv", "a\n0\n1\n2\n3\n")
    assert [len(chunk) for chunk in iter_table(exact, 2)] == [2, 2]


def test_a_table_longer_than_one_chunk_is_one_table(tmp_path: Path) -> None:
    count = 70_000
    table = read_table(write(tmp_path / "t.csv", "a,b\n" + "".join(f"{i},x\n" for i in range(count))))
    assert list(table["a"]) == [str(i) for i in range(count)]
    assert list(table.index) == list(range(count))


def test_without_header_the_first_line_is_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "1,1\n2,3\n")
    assert rows(read_table(path, header=False)) == [["column_1", "column_2"], ["1", "1"], ["2", "3"]]
    assert [len(chunk) for chunk in iter_table(path, 2, header=False)] == [2]
    one = write(tmp_path / "one.csv", "\n  \n1\n\n2\n\n")
    assert rows(read_table(one, header=False)) == [["column_1"], ["1"], [""], ["2"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(b"a,b\n1,2\n" * 9, mtime=0)[:-9], "damaged gzip"),
        (b"\x1f\x8bnothing of the kind", "damaged gzip"),
        (b"a,b\n1,2\n\n1,2,3\n", "line 4: the row has 3 cells; expected 2"),
        (b"a,b\n1\n", "line 2: the row has 1 cells; expected 2"),
        (b"a,b\n1,\n2\n", "line 3: the row has 1 cells; expected 2"),
        (b"a\n1\n2,3\n", "line 3: the row has 2 cells; expected 1"),
        (b'a,b\n"1"2,3\n', "line 2: the row cannot be read: ',' expected after '\"'"),
        (b'a,b\n1,"x\n2,y\n', "line 3: the row cannot be read"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "bad.csv", content)
    with pytest.raises(InputError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_missing_files_and_folders_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv does not exist"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(InputError, match="is a folder"), open_text(tmp_path):
        pass


def test_open_text_gives_the_text_without_its_mark(tmp_path: Path) -> None:
    with open_text(write(tmp_path / "t.json", '\ufeff{"a": 1}\r\n')) as file:
        assert file.read() == '{"a": 1}\r\n'


def test_a_chunk_has_at_least_one_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows is 0"):
        next(iter_table(tmp_path / "t.csv", 0))


def test_a_missing_column_is_named_with_those_there_are() -> None:
    require_columns(["a", "b"], ["b"], "t.csv")
    with pytest.raises(InputError, match=r"^t.csv has no column 'x'; its columns are: 'a', 'b'$"):
        require_columns(pd.DataFrame(columns=["a", "b"]), ["a", "x"], "t.csv")


def test_numbers_and_why_cells_are_none() -> None:
    cells = ["1", " -2.5e1 ", "", "  ", "1,5", "abc", "1_000", "nan", "inf", "1e999"]
    values, reasons = numbers(pd.Series(cells))
    np.testing.assert_array_equal(values, [1.0, -25.0, *[np.nan] * 8])
    assert values.dtype == np.float64
    assert reasons == {"empty": 2, "not a number": 3, "not finite": 3}
    assert numbers(pd.Series(["1"]))[1] == {}


def test_chunks_hold_bounded_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n" + f"{'x' * 60},{'y' * 60}\n" * 50_000)
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in iter_table(path, 1_000)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()
