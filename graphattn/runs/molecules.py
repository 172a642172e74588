"""Runs on molecules: train into a folder, predict a table, evaluate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graphattn.chem import featurise
from graphattn.chem.files import iter_molecules
from graphattn.chem.smiles import names_after
from graphattn.chem.split import split_by_scaffold
from graphattn.errors import InputError
from graphattn.estimators.kinds import estimator_name
from graphattn.estimators.predictor import Predictor
from graphattn.estimators.sources import MoleculeInputs, MoleculeSource
from graphattn.runs.describe import about_values
from graphattn.runs.files import fingerprint
from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_table import MoleculeTable, smiles_column_of, smiles_of
from graphattn.runs.predictions import Predictions, refuse_taken_columns
from graphattn.runs.rows import Rows
from graphattn.runs.template import RunKind, evaluate_run, predict_run, train_run
from graphattn.splits import JUDGED, Split
from graphattn.tables import find_column, first_not_number, name_of
from graphattn.train import EpochReport, Task
from graphattn.train.tasks.task import shown

_DIGIT = re.compile(r"\d")
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
                refuse_taken_columns(
                    chunk, predictor.task.column_names(), name, errors=True, prediction_column=prediction_column
                )
            smiles = smiles_of(chunk, column, na_values)
            output, reasons = source.outputs(predictor.model, predictor.task, source.inputs(smiles))
            if with_names := names_after(smiles):
                named, example = named + len(with_names), example or smiles[with_names[0]]
            rows += len(chunk)
            errors.update(reason.partition(":")[0] for reason in reasons.values())
            yield Predictions(name, chunk, output, reasons)

    predict_run(
        predictor,
        predictions(),
        out,
        overwrite=overwrite,
        line_end=MoleculeRows.line_end,
        prediction_column=prediction_column,
        report=report,
    )
    notes += [_about_names(named, example)] if named else []
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


def _about_names(count: int, example: str) -> str:
    return (
        f"{count:,} SMILES are followed by a space and text, which is taken for a name and not read, such as {example[:60]!r}"
    )


class MoleculeRows(Rows):
    """The molecules of a table, each SMILES parsed once.

    Args:
        table: the table.
        task: what its target column is read for.
        n_jobs: processes that parse.

    Raises:
        InputError: where no cell of the target column can be used.
    """

    line_end = "\n"
    without_training_rows = "the split leaves no usable row of {name} to train on"

    def __init__(self, table: MoleculeTable, task: Task, n_jobs: int | None = None) -> None:
        self._table = table
        self._smiles = table.smiles
        self._molecules = featurise(self._smiles, n_jobs=n_jobs, describe=True)
        assert self._molecules.records is not None
        self._records = self._molecules.records
        self.notes: list[str] = []
        if named := names_after(self._smiles):
            self.notes.append(_about_names(len(named), self._smiles[named[0]]))
        values, self.excluded = self._usable(task)
        self.name, self.standard_split, self.target_name = table.name, table.split, table.target_column
        self.values = np.empty(len(values), dtype=object)
        self.values[:] = values
        self.usable = np.array([row for row, value in enumerate(values) if value is not None], dtype=np.int64)
        self.notes += self._conflicts()
        self._inputs: MoleculeInputs | None = None

    def _usable(self, task: Task) -> tuple[list[Any], dict[str, int]]:
        """The value of each row, None where the row cannot be used; and how many rows that is, by reason."""
        table, cells = self._table, self._table.targets
        where = f"column {table.target_column!r} of {table.name}"
        values, reasons, notes = task.read_cells(cells)
        self.notes += notes
        excluded = Counter({f"{table.target_column}: {reason}": count for reason, count in reasons.items()})
        odd = first_not_number(cells) if "not a number" in reasons else None
        if odd is not None:
            example = f"{odd[1][:60]!r} in {table.place_of(odd[0])}"
            good, bad = sum(value is not None for value in values), reasons["not a number"]
            if good and bad > good:
                raise InputError(
                    f"{bad:,} of {good + bad:,} filled cells of {where} are no plain numbers, such as {example}; leave units, "
                    "signs such as > and ranges out"
                )
            self.notes.append(f"{bad:,} cells of {where} are no numbers; the first is {example}")
        if all(value is None for value in values):
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
            counts += f"; the first is {example}" if odd is not None else ""
            # Cells with digits are measurements, and no classes.
            hint = "; leave units, signs such as > and ranges out" if odd is not None and _DIGIT.search(odd[1]) else task.hint
            raise InputError(f"no cell of {where} can be used ({counts or 'no rows'}){hint if values else ''}")
        for row in self._molecules.errors:
            if values[row] is not None:
                values[row] = None
                excluded[f"{table.smiles_column}: cannot be read"] += 1
        return values, {reason: count for reason, count in excluded.items() if count}

    def _conflicts(self) -> list[str]:
        """A sentence where rows of one molecule have different values."""
        values: dict[str, dict[Any, int]] = {}
        for row in self.usable.tolist():
            values.setdefault(self._records.canonical[row], {}).setdefault(self.values[row], row)
        conflicts = [rows for rows in values.values() if len(rows) > 1]
        if not conflicts:
            return []
        (first, row), (second, other) = list(conflicts[0].items())[:2]
        smiles = " and ".join(dict.fromkeys(str(self._table.smiles[place]).strip()[:60] for place in (row, other)))
        return [
            f"{len(conflicts):,} molecules have several rows with different values, such as {smiles} with {shown(first)} and "
            f"{shown(second)}; isotopes and atom maps are not told apart, and no row is left out"
        ]

    def scaffolds(self, seed: int) -> Split:
        parts = split_by_scaffold([self._records.scaffolds[row] for row in self.usable], seed=seed)
        return {part: self.usable[rows] for part, rows in parts.items()}

    def content(self) -> tuple[object, ...]:
        return self._smiles, self._table.targets.tolist()

    def marks(self, rows: np.ndarray) -> list[str]:
        return [fingerprint(self._records.canonical[row]) for row in rows]

    def duplicates(self, split: Split) -> int:
        canonical = self._records.canonical
        molecules = {part: {canonical[row] for row in rows} for part, rows in split.items()}
        elsewhere = {"valid": molecules["train"], "test": molecules["train"] | molecules["valid"]}
        return sum(canonical[row] in elsewhere[part] for part in elsewhere for row in split[part])

    def fit(
        self, estimator: Any, split: Split, checkpoint: Path, report: Callable[[EpochReport], None] | None
    ) -> Predictor[Any]:
        source: MoleculeSource = estimator.make_source()
        inputs = self._prepare(source)
        parts = {part: (inputs.take(split[part]), self.values[split[part]]) for part in ("train", "valid")}
        valid = parts["valid"] if len(split["valid"]) else None
        data = (self.content(), *(split[part].tolist() for part in parts))
        estimator.fit_inputs(source, parts["train"], valid, data=data, checkpoint=checkpoint, report=report)
        predictor: Predictor[Any] = estimator.predictor_
        return predictor

    def outputs(self, predictor: Predictor[Any], rows: np.ndarray) -> np.ndarray:
        source: MoleculeSource = predictor.source
        outputs, errors = source.outputs(predictor.model, predictor.task, self._prepare(source).take(rows))
        if errors:  # of usable rows, so that it is the model's
            first, reason = next(iter(errors.items()))
            raise InputError(
                f"{reason} for {len(errors):,} of {len(rows):,} molecules of {self._table.name}, "
                f"such as {self._table.smiles[rows[first]][:60]!r}"
            )
        return outputs

    def _prepare(self, source: MoleculeSource) -> MoleculeInputs:
        if self._inputs is None:
            chosen = set(self.usable.tolist())
            graphs = [graph if row in chosen else None for row, graph in enumerate(self._molecules.graphs)]
            self._inputs = source.prepare(graphs, self._molecules.errors)
        return self._inputs

    def baselines(self, task: Task, split: Split) -> dict[str, dict[str, np.ndarray]]:
        logp = np.array(self._records.logp)
        values = np.array(self.values[split["train"]].tolist())
        said = {part: task.from_number(logp[split["train"]], values, logp[split[part]]) for part in JUDGED}
        found = {part: outputs for part, outputs in said.items() if outputs is not None}
        return {"crippen": found} if found else {}

    def predictions(self, rows: np.ndarray, outputs: np.ndarray) -> Predictions:
        return Predictions(self.name, self._table.frame.iloc[rows], outputs, {})

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"smiles_column": self._table.smiles_column, "target_column": self._table.target_column}
        return config | ({"na_values": list(self._table.na_values)} if self._table.na_values else {})
