"""Tables in Parquet and Excel files, by pyarrow and openpyxl, which need not be installed."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from graphattn.errors import InputError
from graphattn.tables.frames import cell_text, frame_of
from graphattn.tables.open import MOST_BYTES, name_of

_Reader = Callable[[int, bool, list[str] | None], Iterator[pd.DataFrame]]


def workbook_reader(binary: io.BufferedReader, path: str | Path) -> _Reader | None:
    """What reads an open file of one of these formats, which its first bytes say; None for other files.

    Raises:
        InputError: where it is one, and what reads it is not installed.
    """
    start = binary.peek(4)[:4]
    if start == b"PAR1":
        _require("pyarrow", "a Parquet file", path)
        return lambda rows, header, notes: _parquet(_seekable(binary), path, rows, header)
    if start == b"PK\x03\x04" and (str(path) == "-" or _is_excel(binary)):
        stream = _seekable(binary)
        if not _is_excel(stream):
            if stream is binary:
                return None
            raise InputError(f"{name_of(path)} is a zip archive; give its name, or unpack it")
        _require("openpyxl", "an Excel file", path)
        return lambda rows, header, notes: _excel(stream, path, rows, header, notes)
    return None


def _seekable(binary: Any) -> Any:
    return binary if binary.seekable() else io.BytesIO(binary.read(MOST_BYTES))


def _is_excel(stream: Any) -> bool:
    if not stream.seekable():
        return False
    try:
        return "xl/workbook.xml" in zipfile.ZipFile(stream).namelist()
    except zipfile.BadZipFile:
        return False
    finally:
        stream.seek(0)


def _require(package: str, what: str, path: str | Path) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{name_of(path)} is {what}, which {package} reads: pip install 'graphattn[files]', or save it as .csv"
        )


def _parquet(stream: Any, path: str | Path, rows: int, header: bool) -> Iterator[pd.DataFrame]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(stream)
        names = file.schema_arrow.names if header else [f"column_{i + 1}" for i in range(len(file.schema_arrow.names))]
        start = 0
        for batch in file.iter_batches(batch_size=rows):
            # Not by pandas, which makes floats of whole numbers where one is missing.
            yield frame_of([column.to_pylist() for column in batch.columns], names, start)
            start += batch.num_rows
        if start == 0:
            yield frame_of([[] for _ in names], names, 0)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name_of(path)} is a damaged Parquet file: {error}") from None


def _excel(stream: Any, path: str | Path, rows: int, header: bool, notes: list[str] | None) -> Iterator[pd.DataFrame]:
    import warnings

    import openpyxl

    try:
        with warnings.catch_warnings():
            # It says which styles and extensions of the workbook it does not keep.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            sheet, sheets = book.worksheets[0], len(book.worksheets)
            lines = [[cell_text(value) for value in line] for line in sheet.iter_rows(values_only=True)]
    except Exception as error:  # openpyxl raises whatever the archive or its XML make of it
        raise InputError(f"{name_of(path)} cannot be read as an Excel file: {error}") from None
    if sheets > 1 and notes is not None:
        notes.append(f"{name_of(path)} has {sheets} sheets; the first, {sheet.title!r}, is read")
    lines = [line for line in lines if any(line)]
    if not lines:
        raise InputError(
            f"{name_of(path)} is empty" + (f": its first sheet, {sheet.title!r}, has no cell" if sheets > 1 else "")
        )
    # Cells that once had content count for a sheet's width; columns without a name or cell are none.
    width = max(place + 1 for line in lines for place, cell in enumerate(line) if cell)
    lines = [[*line, *[""] * width][:width] for line in lines]
    names, body = (lines[0], lines[1:]) if header else ([f"column_{i + 1}" for i in range(width)], lines)
    for start in range(0, len(body), rows) or [0]:
        chunk = body[start : start + rows]
        yield frame_of(list(zip(*chunk, strict=True)) or [[] for _ in names], names, start)
