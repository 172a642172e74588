"""A table of predictions: the columns of the input, and what a task adds to them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TextIO

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.train import Task


class Predictions(NamedTuple):
    """What a model says of the rows of a table, or of a chunk of it.

    Args:
        name: what messages call the table.
        frame: the first columns.
        outputs: [rows, out_channels].
        errors: number of a row → why there is no prediction; None for a table without a column of errors, as every row has a
            prediction.
    """

    name: str
    frame: pd.DataFrame
    outputs: np.ndarray
    errors: dict[int, str] | None

    def added(self, task: Task) -> dict[str, Any]:
        """The columns that come after those of `frame`."""
        added = task.columns(self.outputs)
        if self.errors is not None:
            added["error"] = [self.errors.get(row, "") for row in range(len(self.frame))]
        return added


def write_predictions(
    task: Task,
    chunks: Iterable[Predictions],
    file: TextIO,
    *,
    line_end: str,
    report: Callable[[int], None] | None = None,
) -> None:
    """Writes a table as CSV, a chunk at a time.

    Args:
        task: what was predicted.
        chunks: the rows; the first decides the columns.
        file: where to write, opened with `newline=""`.
        line_end: how lines end. Cells that hold any line end are quoted, whatever this is.
        report: called with the number of rows done since the last call.

    Raises:
        InputError: where a column would be there twice.
    """
    writer = csv.writer(_Lines(file, line_end), lineterminator=_Lines.end)
    for number, chunk in enumerate(chunks):
        added = chunk.added(task)
        refuse_taken_columns(chunk.frame, list(added), chunk.name)
        # By place: a table may have two columns of one name.
        columns = [*(chunk.frame.iloc[:, place] for place in range(chunk.frame.shape[1])), *added.values()]
        if number == 0:
            writer.writerow([*chunk.frame.columns, *added])
        writer.writerows(zip(*(map(_cell, list(column)) for column in columns), strict=True))
        if report is not None:
            report(len(chunk.frame))


class _Lines:
    """Gives lines another end. The writer quotes the characters of its own line end alone, so that has both there are."""

    end = "\r\n"

    def __init__(self, file: TextIO, line_end: str) -> None:
        self._file, self._line_end = file, line_end

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix(self.end) + self._line_end)


def _cell(value: Any) -> Any:
    """A value as the table shows it: nothing for NaN and None."""
    return "" if value is None or value != value else value


def refuse_taken_columns(frame: pd.DataFrame, added: Sequence[str], name: str) -> None:
    """Checks that a table lacks the columns that predictions add.

    Raises:
        InputError: naming the first that it has.
    """
    for column in added:
        if column in frame.columns:
            raise InputError(f"{name} has a column '{column}' already, which predictions would repeat; rename it first")
