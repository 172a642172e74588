"""Files that a run writes: whole or not there, theirs alone, and read back as they were."""

from __future__ import annotations

import csv
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graphattn.errors import InputError
from graphattn.runs.files import new_file
from graphattn.runs.predictions import Predictions, write_table


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write(path: Path, text: str, overwrite: bool = False) -> None:
    with new_file(path, overwrite) as file:
        file.write(text)


def test_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.csv"
    with pytest.raises(ZeroDivisionError), new_file(out, False) as file:
        file.write(str(1 / int(out.exists())))
    assert files(out.parent) == set()
    write(out, "all\r\n")
    assert out.read_bytes() == b"all\r\n"
    assert files(out.parent) == {"out.csv"}
    with pytest.raises(InputError, match=r"out\.csv exists; choose another --out"):
        write(out, "other")
    out.chmod(0o640)
    write(out, "other", overwrite=True)
    assert out.read_text() == "other"
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    with pytest.raises(InputError, match="is a folder; --out must name a file"):
        write(tmp_path, "x")


def test_a_file_of_the_user_beside_it_stays(tmp_path: Path) -> None:
    (tmp_path / "out.csv.part").write_text("mine")
    write(tmp_path / "out.csv", "ours")
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "other.csv", False):
        raise ZeroDivisionError
    assert (tmp_path / "out.csv.part").read_text() == "mine"
    assert files(tmp_path) == {"out.csv", "out.csv.part"}


def test_two_at_once_are_whole_and_the_second_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def begin_and_be_overtaken() -> None:
        with new_file(out, False) as first:
            first.write("first, begun earlier")
            write(out, "second")

    with pytest.raises(InputError, match="was written by another process meanwhile"):
        begin_and_be_overtaken()
    assert out.read_text() == "second"
    with new_file(out, True) as third:
        third.write("third")
        write(out, "fourth", overwrite=True)
    assert out.read_text() == "third"
    assert files(tmp_path) == {"out.csv"}


def test_a_link_and_what_is_no_file_are_written_into(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write(tmp_path / "link", "one")
    write(tmp_path / "link", "two", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "two"
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join()
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    read_end, write_end = os.pipe()
    write(Path(f"/dev/fd/{write_end}"), "as /dev/stdout is")
    os.close(write_end)
    assert os.read(read_end, 100) == b"as /dev/stdout is"
    os.close(read_end)
    write(Path(os.devnull), "away")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


class Echo:
    """A task whose column is its first output."""

    @staticmethod
    def columns(outputs: np.ndarray) -> dict[str, Any]:
        return {"prediction": outputs[:, 0]}


ODD = [
    "a\rb",
    "a\nb",
    "a\r\nb",
    "\r",
    "\n",
    'a"b',
    '"',
    "a,b",
    ",",
    "",
    " a ",
    "é",
    "NaN",
    "\ufeffa",
    "\x00",
    "a\u2028b",
    "=1+1",
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_odd_cell_is_read_back(line_end: str) -> None:
    frame = pd.DataFrame({"odd": ODD, "number": [str(row) for row in range(len(ODD))], 'a "name", here': ODD[::-1]})
    outputs = np.linspace(0.1, 1, len(ODD))[:, None]
    outputs[3] = np.nan
    file = io.StringIO(newline="")
    chunks = [Predictions("t", frame[:5], outputs[:5], {3: "why\rnot"}), Predictions("t", frame[5:], outputs[5:], {})]
    write_table((chunk.table(Echo()) for chunk in chunks), file, line_end=line_end)  # type: ignore[arg-type]
    assert file.getvalue().startswith(f'odd,number,"a ""name"", here",prediction,error{line_end}')
    header, *rows = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert header == ["odd", "number", 'a "name", here', "prediction", "error"]
    assert [row[0] for row in rows] == ODD
    assert [row[2] for row in rows] == ODD[::-1]
    assert [row[3] for row in rows] == ["" if np.isnan(value) else repr(float(value)) for value in outputs[:, 0]]
    assert rows[3][4] == "why\rnot"
