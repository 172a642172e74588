"""Runs on molecules: train into a folder, predict a table, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphattn.errors import InputError
from graphattn.estimators.kinds import estimator_name
from graphattn.estimators.sources import MoleculeSource
from graphattn.estimators.trust import column_names, say
from graphattn.runs.describe import about_values
from graphattn.runs.files import new_file
from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_rows import MoleculeRows
from graphattn.runs.molecule_stream import MoleculeStream
from graphattn.runs.molecule_table import MoleculeTable
from graphattn.runs.predictions import Predictions, write_table
from graphattn.runs.template import RunKind, evaluate_run, predict_run, train_run
from graphattn.train import Task

if TYPE_CHECKING:
    import pandas as pd

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
    stream = MoleculeStream(data, table, smiles_column, na_values, names, prediction_column)

    def predictions() -> Iterator[Predictions]:
        for frame, smiles in stream:
            said = say(predictor, predictor.source.inputs(smiles))
            stream.count(said.errors)
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
    stream = MoleculeStream(data, table, smiles_column, na_values, names, None)

    def vectors() -> Iterator[tuple[pd.DataFrame, np.ndarray, dict[int, str]]]:
        for frame, smiles in stream:
            inputs = source.inputs(smiles)
            stream.count(inputs.errors)
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
