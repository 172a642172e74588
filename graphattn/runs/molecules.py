"""Runs on molecules: train into a folder, predict a table, evaluate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphattn.chem.files import iter_molecules
from graphattn.chem.smiles import names_after
from graphattn.errors import InputError
from graphattn.estimators.kinds import estimator_name
from graphattn.estimators.sources import MoleculeSource
from graphattn.estimators.trust import column_names, say
from graphattn.runs.describe import about_values
from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_rows import MoleculeRows, about_names
from graphattn.runs.molecule_table import MoleculeTable, smiles_column_of, smiles_of
from graphattn.runs.predictions import Predictions, refuse_taken_columns
from graphattn.runs.template import RunKind, evaluate_run, predict_run, train_run
from graphattn.tables import find_column, name_of
from graphattn.train import Task

# Rows that streaming prediction holds at a time: enough for worker processes to pay.
_CHUNK = 10_000

_KIND = RunKind(
    "molecules",
    "predict molecules",
    frozenset({"smiles_column", "target_column"}),
    "is damaged: its 'data' does not name the columns of the table",
    {"smiles_column": "smiles", "target_column": None},
)


def train_molecules(table: MoleculeTable, options: RunOptions, *, task: str = "regression") -> dict[str, Any]:
    """Trains on a table and writes the run to `options.out`.

    Args:
        table: the molecules and their targets.
        options: where and how.
        task: "regression" or "classification".

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the table, the split or the folder cannot be used.
    """
    from graphattn import estimators

    kind = getattr(estimators, estimator_name("molecules", task))
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

    return train_run(estimator, load, options, kinds_of_split=("scaffold", "random"))


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
    notes: list[str] = []
    if isinstance(table, MoleculeTable):
        name, chunks, wanted = table.name, iter([table.frame]), smiles_column or table.smiles_column
        notes += table.notes
    else:
        name, chunks = name_of(table), iter_molecules(table, _CHUNK, notes)
        wanted = smiles_column or smiles_column_of(table, data["smiles_column"])
    prediction_column = prediction_column or data.get("prediction_column")
    na_values = [*na_values, *data.get("na_values", [])]
    rows, errors, named, example, column = 0, Counter[str](), 0, "", None

    def predictions() -> Iterator[Predictions]:
        nonlocal rows, named, example, column
        source: MoleculeSource = predictor.source
        for chunk in chunks:
            if column is None:
                column = find_column(chunk, wanted, name, notes)
                names = [*predictor.task.column_names(), *column_names(predictor)]
                refuse_taken_columns(chunk, names, name, errors=True, prediction_column=prediction_column)
            smiles = smiles_of(chunk, column, na_values)
            said = say(predictor, source.inputs(smiles))
            if with_names := names_after(smiles):
                named, example = named + len(with_names), example or smiles[with_names[0]]
            rows += len(chunk)
            errors.update(reason.partition(":")[0] for reason in said.errors.values())
            yield Predictions(name, chunk, said.outputs, said.errors, said.columns)

    predict_run(
        predictor,
        predictions(),
        out,
        overwrite=overwrite,
        line_end=MoleculeRows.line_end,
        prediction_column=prediction_column,
        report=report,
    )
    notes += [about_names(named, example)] if named else []
    return {"rows": rows, "predicted": rows - errors.total(), "errors": dict(errors), "notes": notes}


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
