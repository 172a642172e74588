"""The molecules of a table, as runs work on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphattn.chem import featurise
from graphattn.chem.smiles import names_after
from graphattn.chem.split import split_by_scaffold
from graphattn.errors import InputError
from graphattn.estimators.predictor import Predictor, Said
from graphattn.estimators.sources import MoleculeInputs, MoleculeSource
from graphattn.estimators.trust import KNOWN_COLUMNS, NOISE_COLUMNS, say
from graphattn.runs.files import fingerprint, marks_trained_on
from graphattn.runs.folder import RunOptions
from graphattn.runs.molecule_table import MoleculeTable
from graphattn.runs.predictions import Predictions
from graphattn.runs.rows import Rows
from graphattn.splits import JUDGED, Split
from graphattn.tables import find_column, first_not_number
from graphattn.train import EpochReport, Regression, Task
from graphattn.train.tasks.task import shown

_DIGIT = re.compile(r"\d")


def about_names(count: int, example: str) -> str:
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
        self._molecules = featurise(self._smiles, n_jobs=n_jobs, describe=True, dtype=torch.uint8)
        assert self._molecules.records is not None
        self._records = self._molecules.records
        self.notes: list[str] = []
        if named := names_after(self._smiles):
            self.notes.append(about_names(len(named), self._smiles[named[0]]))
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

    def split(self, options: RunOptions, task: Task) -> Split:
        split = super().split(options, task)
        if options.params.get("init") is not None:
            self._say_seen(Path(options.params["init"]), split, options)
        return split

    def _say_seen(self, init: Path, split: Split, options: RunOptions) -> None:
        """Says how many molecules of the judged parts the run that this one starts from was trained on."""
        before = marks_trained_on(init)
        if before is None:
            options.left_out(f"note: {init} does not say what it was trained on; molecules of the test part may be among it")
            return
        for part in JUDGED:
            seen = [int(row) for row, mark in zip(split[part], self.marks(split[part]), strict=True) if mark in before]
            if seen:
                counts = f"{len(seen):,} of {len(split[part]):,} molecules of the {part} part"
                example = self._table.smiles[seen[0]][:60]
                options.left_out(f"warning: {init} was trained on {counts}, such as {example!r}; the scores there are too good")

    def column(self, name: str) -> list[str]:
        cells: list[str] = self._table.frame[find_column(self._table.frame, name, self._table.name, self.notes)].tolist()
        return cells

    def content(self) -> tuple[object, ...]:
        column = self._table.weight_column
        weights = () if column is None else (self._table.frame[column].tolist(),)
        return self._smiles, self._table.targets.tolist(), *weights

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
        weight = self._table.weights_of(split["train"])
        estimator.fit_inputs(source, parts["train"], valid, weight=weight, data=data, checkpoint=checkpoint, report=report)
        predictor: Predictor[Any] = estimator.predictor_
        return predictor

    def say(self, predictor: Predictor[Any], rows: np.ndarray, *, columns: bool = True) -> Said:
        said = say(predictor, self._prepare(predictor.source).take(rows), columns=columns)
        if said.errors:  # of usable rows, so that it is the model's
            first, reason = next(iter(said.errors.items()))
            raise InputError(
                f"{reason} for {len(said.errors):,} of {len(rows):,} molecules of {self._table.name}, "
                f"such as {self._table.smiles[rows[first]][:60]!r}"
            )
        return said

    def _prepare(self, source: MoleculeSource) -> MoleculeInputs:
        if self._inputs is None:
            chosen = set(self.usable.tolist())
            graphs = [graph if row in chosen else None for row, graph in enumerate(self._molecules.graphs)]
            self._inputs = source.prepare(graphs, self._molecules)
        return self._inputs

    def baselines(self, task: Task, split: Split) -> dict[str, dict[str, np.ndarray]]:
        logp = np.array(self._records.logp)
        values = np.array(self.values[split["train"]].tolist())
        said = {part: task.from_number(logp[split["train"]], values, logp[split[part]]) for part in JUDGED}
        found = {part: outputs for part, outputs in said.items() if outputs is not None}
        return {"crippen": found} if found else {}

    def predictions(self, rows: np.ndarray, said: Said) -> Predictions:
        return Predictions(self.name, self._table.frame.iloc[rows], said.outputs, {}, said.columns)

    def more_columns(self, task: Task) -> list[str]:
        return [*(NOISE_COLUMNS if isinstance(task, Regression) else ()), *KNOWN_COLUMNS]

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"smiles_column": self._table.smiles_column, "target_column": self._table.target_column}
        return config | ({"na_values": list(self._table.na_values)} if self._table.na_values else {})
