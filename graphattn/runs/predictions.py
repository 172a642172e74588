"""A table of predictions: the columns of the input, and what a task adds to them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.train import Task

_PREDICTION, _ERROR = "prediction", "error"


class Predictions(NamedTuple):
    """What a model says of the rows of a table, or of a chunk of it.

    Args:
        name: what messages call the table.
        frame: the first columns.
        outputs: [rows, out_channels].
        errors: number of a row → why there is no prediction; None for a table without a column of errors, as every row has a
            prediction.
        columns: what else is known of each row, name → cells.
    """

    name: str
    frame: pd.DataFrame
    outputs: np.ndarray
    errors: dict[int, str] | None
    columns: Mapping[str, Any] = MappingProxyType({})

    def table(self, task: Task, prediction_column: str | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
        """`frame`, and the columns that come after its own.

        Args:
            task: what was predicted.
            prediction_column: what the first column that is added is called, with which the names of the others then begin.
        """
        added = {**task.columns(self.outputs), **self.columns}
        if self.errors is not None:
            added[_ERROR] = [self.errors.get(row, "") for row in range(len(self.frame))]
        return self.frame, dict(zip(_named(list(added), prediction_column), added.values(), strict=True))


def _named(columns: Sequence[str], prediction_column: str | None) -> list[str]:
    """The names of added columns where the prediction has a name of its own: theirs then begin with it."""
    if prediction_column is None:
        return list(columns)
    return [prediction_column if column == _PREDICTION else f"{prediction_column}_{column}" for column in columns]


def write_table(
    chunks: Iterable[tuple[pd.DataFrame, Mapping[str, Any]]],
    file: TextIO,
    *,
    line_end: str,
    report: Callable[[int], None] | None = None,
) -> None:
    """Writes a table as CSV, a chunk at a time.

    Args:
        chunks: rows of a table, and the columns to add to them; the first decides the names.
        file: where to write, opened with `newline=""`.
        line_end: how lines end. Cells that hold any line end are quoted, whatever this is.
        report: called with the number of rows done since the last call.
    """
    writer = csv.writer(_Lines(file, line_end), lineterminator=_Lines.end)
    for number, (frame, added) in enumerate(chunks):
        # By place, as names may be there twice.
        columns = [*(frame.iloc[:, place] for place in range(frame.shape[1])), *added.values()]
        if number == 0:
            writer.writerow([*frame.columns, *added])
        writer.writerows(zip(*(map(_cell, list(column)) for column in columns), strict=True))
        if report is not None:
            report(len(frame))


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


def refuse_taken_columns(
    frame: pd.DataFrame, columns: Sequence[str], name: str, *, errors: bool, prediction_column: str | None = None
) -> None:
    """Checks that a table lacks the columns that predictions add: before they are made, as that may take long.

    Args:
        frame: the table.
        columns: the names that a task gives.
        name: what messages call the table.
        errors: whether a column of errors is added.
        prediction_column: as in `Predictions.table`.

    Raises:
        InputError: naming the first that it has.
    """
    if prediction_column is not None and not prediction_column.strip():
        raise InputError("--prediction-column is empty; expected the name of a column")
    for column in _named([*columns, *([_ERROR] if errors else [])], prediction_column):
        if column in frame.columns:
            raise InputError(
                f"{name} has a column {column!r} already, which predictions would repeat; name theirs otherwise with "
                "--prediction-column"
            )
