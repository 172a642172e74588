"""Delimited text files as tables of text: nothing is guessed, dropped or rewritten.

Every cell is the text in the file, so that "007" stays an id and a predictions file can repeat its input. Cells become
numbers or labels only where a caller asks for them, with `numbers` and `labels`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import pandas as pd

from graphattn.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

_DELIMITERS = (",", ";", "\t")
_GZIP_MAGIC = b"\x1f\x8b"
# What pandas' reader takes for more than text: quotes, the end of a string, and a byte order mark within the file.
_NOT_PLAIN = ('"', "\0", "\ufeff")
_ROWS = 1 << 16


@contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file for reading: `with open_text(path) as file`.

    A byte order mark is skipped and gzip is recognised by its first bytes, whatever the file is called. Line ends are
    left unchanged.

    Args:
        path: The file.

    Raises:
        InputError: if the file is missing, a folder, unreadable or empty; and, while it is read inside the `with`
            block, if it is not UTF-8 or its gzip stream is damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file")
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with raw:
        zipped = raw.peek(2).startswith(_GZIP_MAGIC)
        binary = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            if binary.peek(4) in (b"", codecs.BOM_UTF8):
                raise InputError(f"{path} is empty")
            yield io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8 text; save it with the encoding UTF-8") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path} is a damaged gzip file: {error}") from None


def read_table(path: str | Path, *, header: bool = True) -> pd.DataFrame:
    """Reads a whole table; see `iter_table` for the format, the result and the errors."""
    chunks = list(iter_table(path, _ROWS, header=header))
    return pd.concat(chunks) if len(chunks) > 1 else chunks[0]


def iter_table(path: str | Path, rows: int, *, header: bool = True) -> Iterator[pd.DataFrame]:
    """Reads a table in chunks, holding one chunk in memory at a time.

    The delimiter is whichever of `,` `;` and tab stands most often in the first line outside quotes (`,` on a tie).
    Cells may be quoted with `"` and then hold delimiters, line ends and doubled quotes. Empty lines are skipped, but in
    a table of one column an empty line with rows after it is a row whose cell is empty.

    Args:
        path: The file: UTF-8 with or without a byte order mark, plain or gzip.
        rows: The greatest number of rows in a chunk, at least 1.
        header: Whether the first line names the columns; without it they are `column_1`, `column_2`, ….

    Yields:
        Frames whose cells are all text, exactly as in the file, and whose index is the row number over the whole file,
        from 0. There is at least one frame; it has no rows where the table has none. The dtype is pandas' own for text
        (`str` in pandas 3, stored compactly by pyarrow where that is installed; `object` in pandas 2).

    Raises:
        InputError: as `open_text`, and if a row has more or fewer cells than the first line, a quote is not closed,
            or two columns have the same name.
    """
    if rows < 1:
        raise InputError(f"rows is {rows}; expected at least 1")
    with open_text(path) as file:
        head = _first_record(file)
        delimiter = _delimiter("".join(head))
        lines: Iterator[str] = chain(head, file)
        seen: list[str] = []

        def first_lines() -> Iterator[str]:
            for line in lines:
                seen.append(line)
                yield line

        first = next(_records(_reader(first_lines(), delimiter), path), None)
        if first is None:
            raise InputError(f"{path} is empty")
        columns = first if header else [f"column_{i + 1}" for i in range(len(first))]
        repeated = [name for name, count in Counter(columns).items() if count > 1]
        if repeated:
            raise InputError(f"{path} has more than one column '{repeated[0]}'; column names must differ")

        before, width = (len(seen), len(first)) if header else (0, 0)
        rest = lines if header else chain(seen, lines)
        start = 0
        # pandas' reader is several times faster, but fills up short rows, drops what follows a null character and accepts
        # text after a closing quote: it gets plain rows alone, and from the first other one on the csv module reads.
        while (frame := _plain_frame(block := list(islice(rest, rows)), delimiter, columns, start)) is not None:
            yield frame
            start, before, width = start + len(block), before + len(block), len(first)
        records = _records(_reader(chain(block, rest), delimiter), path, width, before)
        while (chunk := list(islice(records, rows))) or start == 0:
            yield _frame(chunk, columns, start)
            if len(chunk) < rows:
                return
            start += len(chunk)


def _plain_frame(lines: list[str], delimiter: str, columns: list[str], start: int) -> pd.DataFrame | None:
    """The frame of lines each of which is a row without quotes, read by pandas; None where one is not, or there are none."""
    text, width = "".join(lines), len(columns)
    if not lines or any(mark in text for mark in _NOT_PLAIN):
        return None
    if any(line.count(delimiter) != width - 1 for line in lines) or (width == 1 and not all(map(str.strip, lines))):
        return None
    frame = pd.read_csv(
        io.StringIO(text, newline=""),
        sep=delimiter,
        header=None,
        names=columns,
        index_col=False,
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
    )
    frame.index = pd.RangeIndex(start, start + len(lines))
    return frame


def _frame(records: list[list[str]], columns: list[str], start: int) -> pd.DataFrame:
    cells = np.array(records, dtype=object).reshape(len(records), len(columns))
    return pd.DataFrame(cells, columns=columns, index=pd.RangeIndex(start, start + len(records)), dtype=str)


def _reader(lines: Iterator[str], delimiter: str) -> Reader:
    # Strict: an unclosed quote must be an error, or it would swallow the rows after it into one cell.
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _records(reader: Reader, path: str | Path, width: int = 0, before: int = 0) -> Iterator[list[str]]:
    """Yields rows of `width` cells, or as long as the first where it is 0; `before` lines of the file come before them."""
    blank = 0
    try:
        for record in reader:
            if not record or (width != 1 and len(record) == 1 and not record[0].strip()):
                blank += 1
                continue
            if not width:
                width, blank = len(record), 0
            if len(record) != width:
                line = before + reader.line_num
                raise InputError(f"{path}, line {line}: the row has {len(record)} cells; expected {width}")
            if width == 1:
                yield from ([""] for _ in range(blank))
            blank = 0
            yield record
    except csv.Error as error:
        raise InputError(f"{path}, line {before + reader.line_num}: the row cannot be read: {error}") from None


def _first_record(file: TextIO) -> list[str]:
    """Reads lines up to the end of the first row that is not blank; a quoted cell may run over several lines."""
    lines: list[str] = []
    quotes = length = 0
    for line in file:
        lines.append(line)
        quotes += line.count('"')
        length += len(line.strip())
        if (length and quotes % 2 == 0) or length > csv.field_size_limit():
            break
    return lines


def _delimiter(line: str) -> str:
    # Splitting on the quotes leaves what is outside them at the even places.
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def require_columns(table: pd.DataFrame | Collection[str], names: Collection[str], path: str | Path) -> None:
    """Checks that a table has the columns that are about to be used.

    Args:
        table: A frame, or the names of its columns.
        names: The columns that must be there.
        path: The file, for the message.

    Raises:
        InputError: if one is missing; the message lists the columns there are.
    """
    columns = [str(column) for column in (table.columns if isinstance(table, pd.DataFrame) else table)]
    for name in names:
        if name not in columns:
            raise InputError(f"{path} has no column '{name}'; its columns are: {', '.join(columns)}")
