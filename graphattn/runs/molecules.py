"""Runs on molecules: train into a folder, predict a table, evaluate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphattn.chem.files import iter_molecules
from graphattn.chem.smiles import names_after
from graphattn.errors import InputError
from graphattn.estimators.kinds import estimator_name
from graphattn.estimators.sources import MoleculeSource
from graphattn.estimators.trust import column_names, say
from graphattn.runs.describe import about_values
from graphattn.runs.files import new_file
from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_rows import MoleculeRows, about_names
from graphattn.runs.molecule_table import MoleculeTable, smiles_column_of, smiles_of
from graphattn.runs.predictions import Predictions, refuse_taken_columns, write_table
from graphattn.runs.template import RunKind, evaluate_run, predict_run, train_run
from graphattn.tables import find_column, name_of
from graphattn.train import Task

if TYPE_CHECKING:
    import pandas as pd

# Rows that streaming prediction holds at a time: enough for worker processes to pay.
_CHUNK = 10_000

_KIND = RunKind(
    "molecules",
    "predict molecules",
    frozenset({"smiles_column", "target_column"}),
    "is damaged: its 'data' does not name the columns of the table",
    {"smiles_column": "smiles", "target_column": None},
)


def train_molecules(table: MoleculeTable, options: RunOptions, *, task: str | None = None) -> dict[str, Any]:
    """Trains on a table and writes the run to `options.out`.

    Args:
        table: the molecules and their targets.
        options: where and how.
        task: "regression" or "classification"; default: the table's, or else regression.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the table, the split or the folder cannot be used.
    """
    from graphattn import estimators

    kind = getattr(estimators, estimator_name("molecules", task or table.task or "regression"))
    estimator = kind(seed=options.seed, valid_fraction=0.0, **options.params)

    def load(task: Task) -> MoleculeRows:
        options.notify(f"reading {len(table.frame):,} molecules")
        for note in table.notes:
            options.notify(f"note: {note}")
        rows = MoleculeRows(table, task, estimator.n_jobs)
        for note in rows.notes:
            options.notify(f"note: {note}")
        if len(rows.usable) == 0:
            raise InputError(f"no SMILES in column {table.smiles_column!r} of {table.name} can be read")
        options.notify(about_values(table.target_column, rows.values[rows.usable]))
        return rows

    return train_run(estimator, load, options, kinds_of_split=("scaffold", "random", "stratified"))


def predict_molecules(
    run: Path,
    table: Path | MoleculeTable,
    out: Path,
    *,
    smiles_column: str | None = None,
    prediction_column: str | None = None,
    na_values: Sequence[str] = (),
    overwrite: bool = False,
    device: str = "auto",
    report: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Predicts every row of a table, chunk by chunk, in memory that does not grow with the table.

    Args:
        run: folder of the trained run.
        table: a file of molecules, see `graphattn.chem.files.iter_molecules`, or a loaded table.
        out: the CSV file to write: the input's columns, then prediction, the probability of each class of a classifier, and
            error, which says why a row has no prediction; `-` is standard output.
        smiles_column: default: the column that the run was trained with; of SMILES and SDF files smiles.
        prediction_column: the name of the first column that is added, with which those of the others then begin; default: that
            of the training, or else prediction.
        na_values: what counts as missing beyond the usual markers and those of the training.
        overwrite: whether `out` may be replaced.
        device: where to compute.
        report: called with the number of rows done since the last call.

    Returns:
        "rows", "predicted", "errors": reason → rows, and "notes": sentences on what was read in one of two ways.

    Raises:
        InputError: where the run or the table cannot be used, or `out` exists.
    """
    predictor, data = _KIND.open(run, device)
    prediction_column = prediction_column or data.get("prediction_column")
    names = [*predictor.task.column_names(), *column_names(predictor)]
    stream = _Stream(data, table, smiles_column, na_values, names, prediction_column)

    def predictions() -> Iterator[Predictions]:
        for frame, smiles in stream:
            said = say(predictor, predictor.source.inputs(smiles))
            stream.errors.update(_kinds_of(said.errors))
            yield Predictions(stream.name, frame, said.outputs, said.errors, said.columns)

    predict_run(
        predictor,
        predictions(),
        out,
        overwrite=overwrite,
        line_end=MoleculeRows.line_end,
        prediction_column=prediction_column,
        report=report,
    )
    return stream.result()


def embed_molecules(
    run: Path,
    table: Path | MoleculeTable,
    out: Path,
    *,
    smiles_column: str | None = None,
    na_values: Sequence[str] = (),
    overwrite: bool = False,
    device: str = "auto",
    report: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Writes the vector from which a run makes each prediction, see `MoleculeRegressor.embed`.

    Args:
        run, table, smiles_column, na_values, overwrite, device, report: as in `predict_molecules`.
        out: a CSV file, with the input's columns, then embedding_0, embedding_1 and so on, and error, chunk by chunk; or an
            .npy file, float32, [rows, width] with NaN in rows that cannot be read, which is held in memory. `-` is CSV on
            standard output.

    Returns:
        As `predict_molecules`.

    Raises:
        InputError: where the run or the table cannot be used, or `out` exists.
    """
    predictor, data = _KIND.open(run, device)
    source: MoleculeSource = predictor.source
    names = [f"embedding_{place}" for place in range(source.embed(predictor.models, source.inputs([])).shape[1])]
    stream = _Stream(data, table, smiles_column, na_values, names, None)

    def vectors() -> Iterator[tuple[pd.DataFrame, np.ndarray, dict[int, str]]]:
        for frame, smiles in stream:
            inputs = source.inputs(smiles)
            stream.errors.update(_kinds_of(inputs.errors))
            yield frame, source.embed(predictor.models, inputs), inputs.errors

    if out.suffix == ".npy":
        with new_file(out, overwrite) as file:
            parts = []
            for frame, part, _ in vectors():
                parts.append(part)
                if report is not None:
                    report(len(frame))
            np.save(file.buffer, np.concatenate(parts) if parts else np.empty((0, len(names)), dtype=np.float32))
    else:
        tables = (
            (frame, {**dict(zip(names, part.T, strict=True)), "error": [errors.get(row, "") for row in range(len(frame))]})
            for frame, part, errors in vectors()
        )
        with new_file(out, overwrite) as file:
            write_table(tables, file, line_end=MoleculeRows.line_end, report=report)
    return stream.result()


class _Stream:
    """The rows of a table of any length, in chunks.

    Args:
        data: the entry of this name in the run's config.
        table, smiles_column, na_values: as in `predict_molecules`.
        added: the names of the columns that are added besides error.
        prediction_column: as in `predict_molecules`.

    Attributes:
        errors: reason → rows, counted by whoever reads the chunks.
    """

    def __init__(
        self,
        data: dict[str, Any],
        table: Path | MoleculeTable,
        smiles_column: str | None,
        na_values: Sequence[str],
        added: Sequence[str],
        prediction_column: str | None,
    ) -> None:
        self._notes: list[str] = []
        if isinstance(table, MoleculeTable):
            self.name, self._chunks = table.name, iter([table.frame])
            self._wanted = smiles_column or table.smiles_column
            self._notes += table.notes
        else:
            self.name, self._chunks = name_of(table), iter_molecules(table, _CHUNK, self._notes)
            self._wanted = smiles_column or smiles_column_of(table, data["smiles_column"])
        self._na_values = [*na_values, *data.get("na_values", [])]
        self._added, self._prediction_column = added, prediction_column
        self._rows, self._named, self._example = 0, 0, ""
        self.errors: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[pd.DataFrame, list[str]]]:
        """Each chunk and its SMILES."""
        column = None
        for chunk in self._chunks:
            if column is None:
                column = find_column(chunk, self._wanted, self.name, self._notes)
                refuse_taken_columns(chunk, self._added, self.name, errors=True, prediction_column=self._prediction_column)
            smiles = smiles_of(chunk, column, self._na_values)
            if with_names := names_after(smiles):
                self._named, self._example = self._named + len(with_names), self._example or smiles[with_names[0]]
            self._rows += len(chunk)
            yield chunk, smiles

    def result(self) -> dict[str, Any]:
        """What `predict_molecules` returns, when all chunks are done."""
        notes = self._notes + ([about_names(self._named, self._example)] if self._named else [])
        done = self._rows - self.errors.total()
        return {"rows": self._rows, "predicted": done, "errors": dict(self.errors), "notes": notes}


def _kinds_of(errors: dict[int, str]) -> list[str]:
    """The reason of each row without its details."""
    return [reason.partition(":")[0] for reason in errors.values()]


def evaluate_molecules(run: Path, table: MoleculeTable, *, device: str = "auto") -> dict[str, Any]:
    """Scores a run on labelled molecules.

    Args:
        run: folder of the trained run.
        table: the molecules and the truth.
        device: where to compute.

    Returns:
        What `evaluate_run` returns.
    """
    predictor, data = _KIND.open(run, device)
    table = replace(table, na_values=[*table.na_values, *data.get("na_values", [])])
    rows = MoleculeRows(table, predictor.task)
    rows.notes = [*table.notes, *rows.notes]
    known = predictor.task.known(rows.values[rows.usable])
    if not known.all():
        rows.excluded["class not in training"] = int((~known).sum())
    rows.usable = rows.usable[known]
    if len(rows.usable) == 0:
        raise InputError(f"{table.name} has no usable row to evaluate: {rows.excluded or 'it is empty'}")
    return evaluate_run(run, predictor, rows)
