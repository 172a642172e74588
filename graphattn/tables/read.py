"""Delimited text files as tables of text: nothing is guessed, dropped or rewritten.

Every cell is the text in the file, so that "007" stays an id and a predictions file can repeat its input. Cells become
numbers or labels only where a caller asks for them, with `numbers` and `labels`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.tables.open import MOST_IN_LINE, name_of, open_binary, text_of
from graphattn.tables.workbooks import workbook_reader

if TYPE_CHECKING:
    from _csv import Reader

_DELIMITERS = (",", ";", "\t")
_SEP = re.compile(r'"?sep=(.|\\t)"?', re.IGNORECASE)
# A header of one column that looks like a comment: "#smiles", but not "# of molecules".
_HEADER = re.compile(r"#\S+$")
_MOST_COMMENTS = 100_000
# What pandas' reader takes for more than text: quotes, the end of a string, and a byte order mark within the file.
_NOT_PLAIN = ('"', "\0", "\ufeff")
_ROWS = 1 << 16
# In a chunk: lines may be long.
_MOST_CHARACTERS = 1 << 26


def read_table(
    path: str | Path, *, header: bool = True, whitespace: bool = False, notes: list[str] | None = None
) -> pd.DataFrame:
    """Reads a whole table; see `iter_table` for the format, the result and the errors."""
    chunks = list(iter_table(path, _ROWS, header=header, whitespace=whitespace, notes=notes))
    return pd.concat(chunks) if len(chunks) > 1 else chunks[0]


def iter_table(
    path: str | Path, rows: int, *, header: bool = True, whitespace: bool = False, notes: list[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Reads a table in chunks, holding one chunk in memory at a time.

    The delimiter is whichever of `,` `;` and tab stands most often in the first line outside quotes (`,` on a tie), unless a
    line `sep=;` comes before it, as Excel writes and reads. Cells may be quoted with `"` and then hold delimiters, line ends
    and doubled quotes. Empty lines are skipped, but in a table of one column an empty line with rows after it is a row whose
    cell is empty. Lines that begin with `#` and have another number of cells than the rows are comments.

    Args:
        path: The file, see `open_text`; also Parquet and Excel (.xlsx), where what reads them is installed.
        rows: The greatest number of rows in a chunk, at least 1.
        header: Whether the first line names the columns; without it they are `column_1`, `column_2`, ….
        whitespace: Whether white space separates cells where there is no delimiter, and `%` begins a comment as well.
        notes: Gets sentences on what was found: another encoding than UTF-8, comments, the sheet of several.

    Yields:
        Frames whose cells are all text, exactly as in the file, and whose index is the row number over the whole file,
        from 0. There is at least one frame; it has no rows where the table has none. The dtype is pandas' own for text
        (`str` in pandas 3, stored compactly by pyarrow where that is installed; `object` in pandas 2). Names of columns
        are as in the file, also where they are empty or there twice.

    Raises:
        InputError: as `open_text`, and if a row has more or fewer cells than the first line, a quote is not closed,
            or a line has more than 16 MiB.
    """
    if rows < 1:
        raise InputError(f"rows is {rows}; expected at least 1")
    with open_binary(path) as binary:
        reader = workbook_reader(binary, path)
        if reader is not None:
            yield from reader(rows, header, notes)
            return
        yield from _Delimited(binary, path, header, whitespace, notes).chunks(rows)


def line_of_row(path: str | Path, row: int) -> int | None:
    """The line of a file on which a row of its table ends, from 1; None where that cannot be told."""
    if str(path) == "-":
        return None
    with open_binary(path) as binary:
        if workbook_reader(binary, path) is not None:
            return None
        table = _Delimited(binary, path, True, False, None)
        return next((line for number, (line, _) in enumerate(table.records()) if number == row), None)


class _Delimited:
    """A delimited table of an open file, up to its first row."""

    def __init__(
        self, binary: io.BufferedReader, path: str | Path, header: bool, whitespace: bool, notes: list[str] | None
    ) -> None:
        self._name, self._notes, self._comments = name_of(path), notes, 0
        self._marks = ("#", "%") if whitespace else ("#",)
        file = text_of(binary, path, notes, most_in_line=MOST_IN_LINE)
        skipped, first, delimiter = self._start(file, whitespace)
        self._delimiter = delimiter or "\t"
        lines: Iterator[str] = chain(first, file)
        # One tab for the white space between cells.
        self._lines = lines if delimiter else ("\t".join(line.split()) + "\n" for line in lines)
        seen: list[str] = []

        def first_lines() -> Iterator[str]:
            for line in self._lines:
                seen.append(line)
                yield line

        cells = next((cells for _, cells in self._records(first_lines(), 0, skipped)), None)
        if cells is None:
            raise InputError(f"{self._name} is empty")
        self.columns = cells if header else [f"column_{i + 1}" for i in range(len(cells))]
        self._before, self._width = (skipped + len(seen), len(cells)) if header else (skipped, 0)
        self._rest = self._lines if header else chain(seen, self._lines)

    def _start(self, file: TextIO, whitespace: bool) -> tuple[int, list[str], str]:
        """Reads to the first row: the lines before it, it (and, where they may be rows, those that look like comments), and
        the delimiter; "" for white space."""
        first = _first_record(file)
        before, given = 0, _SEP.fullmatch("".join(first).strip())
        if given is not None:
            before, first = len(first), _first_record(file)
        comments: list[str] = []
        while first and first[-1].lstrip().startswith(self._marks):
            # A quote in a comment quotes nothing.
            comments += first
            first = [next(file, "")] if len(comments) < _MOST_COMMENTS else [""]
            while first[-1] and not first[-1].strip():
                first.append(next(file, ""))
            if not first[-1]:
                first.pop()
            elif first[-1].count('"') % 2:
                first += _first_record(file, '"')
        # Where nothing else comes, they are the table.
        lines = first if any(map(str.strip, first)) else comments
        text = next((line for line in lines if line.strip()), "") if lines is comments else "".join(lines)
        delimiter = given[1].replace("\\t", "\t") if given is not None else _delimiter(text)
        if whitespace and given is None and delimiter not in text and len(text.split()) > 1:
            delimiter = ""
        if lines is comments:
            return before, comments + first, delimiter

        def width(line: str) -> int:
            if not delimiter:
                return len(line.split())
            return next(_reader(iter([line.rstrip("\r\n").replace('"', "")]), delimiter), [""]).__len__()

        kept = [line for line in comments if width(line) == width(text) and (width(text) > 1 or _HEADER.match(line))]
        self._comments = sum(bool(line.strip()) for line in comments) - len(kept)
        return before + len(comments) - len(kept), kept + first, delimiter

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        start = 0
        # pandas' reader is several times faster, but fills up short rows, drops what follows a null character and accepts
        # text after a closing quote: it gets plain rows alone, and from the first other one on the csv module reads.
        while (frame := _plain_frame(block := _some(self._rest, rows), self._delimiter, self.columns, start)) is not None:
            yield frame
            start, self._before, self._width = start + len(block), self._before + len(block), len(self.columns)
        self._rest = chain(block, self._rest)
        records = (cells for _, cells in self.records())
        while (chunk := list(islice(records, rows))) or start == 0:
            yield _frame(chunk, self.columns, start)
            if len(chunk) < rows:
                break
            start += len(chunk)
        if self._comments and self._notes is not None:
            self._notes.append(f"{self._comments:,} lines of {self._name} that begin with # are comments, and were skipped")

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are left, each with the line on which it ends."""
        return self._records(self._rest, self._width, self._before)

    def _records(self, lines: Iterator[str], width: int, before: int) -> Iterator[tuple[int, list[str]]]:
        """Yields rows of `width` cells, or as long as the first where it is 0; `before` lines of the file come before them."""
        reader, blank = _reader(lines, self._delimiter), 0
        try:
            for record in reader:
                if not record or (width != 1 and len(record) == 1 and not record[0].strip()):
                    blank += 1
                    continue
                if not width:
                    width, blank = len(record), 0
                line = before + reader.line_num
                if len(record) != width:
                    if record[0].lstrip().startswith(self._marks):
                        self._comments += 1
                        continue
                    raise InputError(f"{self._name}, line {line}: the row has {len(record)} cells; expected {width}")
                if width == 1:
                    yield from ((line, [""]) for _ in range(blank))
                blank = 0
                yield line, record
        except csv.Error as error:
            raise InputError(f"{self._name}, line {before + reader.line_num}: the row cannot be read: {error}") from None


def _some(lines: Iterator[str], rows: int) -> list[str]:
    """The next lines: so many, or fewer where they are long."""
    taken: list[str] = []
    length = 0
    for line in islice(lines, rows):
        taken.append(line)
        length += len(line)
        if length > _MOST_CHARACTERS:
            break
    return taken


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
        names=range(width),
        index_col=False,
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,
        low_memory=False,
    )
    frame.columns = pd.Index(columns, dtype=str)
    frame.index = pd.RangeIndex(start, start + len(lines))
    return frame


def _frame(records: list[list[str]], columns: list[str], start: int) -> pd.DataFrame:
    cells = np.array(records, dtype=object).reshape(len(records), len(columns))
    return pd.DataFrame(
        cells, columns=pd.Index(columns, dtype=str), index=pd.RangeIndex(start, start + len(records)), dtype=str
    )


def _reader(lines: Iterator[str], delimiter: str) -> Reader:
    # Strict: an unclosed quote must be an error, or it would swallow the rows after it into one cell.
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _first_record(file: TextIO, begun: str = "") -> list[str]:
    """Reads lines up to the end of the first row that is not blank; a quoted cell may run over several lines."""
    lines: list[str] = []
    quotes, length = len(begun), 0
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
