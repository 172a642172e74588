"""A table of predictions: the columns of the input, and what a task adds to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    out: Path,
    *,
    line_end: str,
    report: Callable[[int], None] | None = None,
) -> None:
    """Writes a CSV file, a chunk at a time.

    Raises:
        InputError: where a column would be there twice.
    """
    for number, chunk in enumerate(chunks):
        added = chunk.added(task)
        refuse_taken_columns(chunk.frame, list(added), chunk.name)
        with open(out, "w" if number == 0 else "a", newline="", encoding="utf-8") as file:
            chunk.frame.assign(**added).to_csv(file, header=number == 0, index=False, lineterminator=line_end)
        if report is not None:
            report(len(chunk.frame))


def refuse_taken_columns(frame: pd.DataFrame, added: Sequence[str], name: str) -> None:
    """Checks that a table lacks the columns that predictions add.

    Raises:
        InputError: naming the first that it has.
    """
    for column in added:
        if column in frame.columns:
            raise InputError(f"{name} has a column '{column}' already, which predictions would repeat; rename it first")
