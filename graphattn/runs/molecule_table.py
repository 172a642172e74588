"""A table of molecules, from a file or the catalogue of data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from graphattn.chem.files import is_table, read_molecules
from graphattn.errors import InputError
from graphattn.splits import PARTS, Split, random_split
from graphattn.tables import find_column, line_of_row, name_of, numbers, text_frame, with_missing

DEFAULT_SMILES = "smiles"


@dataclass(frozen=True)
class MoleculeTable:
    """A table of molecules.

    Args:
        frame: cells as text, a row a molecule.
        name: what messages call it: the file or the data set.
        smiles_column, target_column: columns of the frame.
        weight_column: the column that says how much each row counts in training, where there is one.
        split: the standard split, where there is one.
        task: what the target is for, where that is known: "regression" or "classification".
        path: the file, to name lines of it.
        na_values: what counts as missing beyond the usual markers.
        notes: sentences on how the file was read.
        joined: the tables that this one was joined from, in the order of its rows.
    """

    frame: pd.DataFrame
    name: str
    smiles_column: str
    target_column: str
    weight_column: str | None = None
    split: Split | None = None
    task: str | None = None
    path: Path | None = None
    na_values: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    joined: Sequence[MoleculeTable] = ()

    @classmethod
    def from_file(
        cls,
        path: Path,
        smiles_column: str | None,
        target_column: str,
        *,
        weight_column: str | None = None,
        na_values: Sequence[str] = (),
    ) -> MoleculeTable:
        """Reads a file, see `graphattn.chem.files.iter_molecules`.

        Args:
            path: the file.
            smiles_column: default: smiles.
            target_column: the column with what to learn.
            weight_column: the column with the weights of rows, if any.
            na_values: what counts as missing beyond the usual markers.

        Raises:
            InputError: where the file cannot be read or lacks a column.
        """
        notes: list[str] = []
        name = name_of(path)
        frame = read_molecules(path, notes)
        smiles = find_column(frame, smiles_column or DEFAULT_SMILES, name, notes)
        target = find_column(frame, target_column, name, notes)
        if smiles == target:
            raise InputError(f"the SMILES and the target are both column {target!r} of {name}; expected two columns")
        weight = None if weight_column is None else find_column(frame, weight_column, name, notes)
        return cls(frame, name, smiles, target, weight, path=path, na_values=na_values, notes=notes)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        smiles_column: str,
        target_column: str,
        *,
        name: str = "the table",
        na_values: Sequence[str] = (),
    ) -> MoleculeTable:
        """Takes any pandas frame, whose cells become text.

        Raises:
            InputError: where it lacks a column.
        """
        notes: list[str] = []
        frame = text_frame(frame)
        found = [find_column(frame, column, name, notes) for column in (smiles_column, target_column)]
        return cls(frame, name, found[0], found[1], na_values=na_values, notes=notes)

    @classmethod
    def from_dataset(cls, name: str) -> MoleculeTable:
        """Loads a data set of the catalogue."""
        from graphattn.data import load_molecules

        loaded = load_molecules(name)
        columns = loaded.smiles_column, loaded.target_column
        return cls(loaded.frame, name, *columns, split=loaded.split, task=loaded.card.task)

    def with_parts(self, valid: MoleculeTable | None, test: MoleculeTable | None, seed: int = 0) -> MoleculeTable:
        """This table to train on and others to validate and test on, as one whose standard split they are.

        Args:
            valid: default: a random tenth of this table.
            test: default: no test part.
            seed: of the random tenth.

        Raises:
            InputError: where a table has no rows.
        """
        tables = [table for table in (self, valid, test) if table is not None]
        empty = [table.name for table in tables if not len(table.frame)]
        if empty:
            raise InputError(f"{empty[0]} has no rows")
        notes = [note for table in tables for note in table.notes]
        frames = []
        for table in tables:
            frame = table.frame.rename(
                columns={table.smiles_column: self.smiles_column, table.target_column: self.target_column}
            )
            missing = [str(name) for name in self.frame.columns if name not in frame.columns]
            if missing:
                notes.append(f"{table.name} has no column {', '.join(missing)}; its cells there are empty")
            frames.append(frame.reindex(columns=self.frame.columns, fill_value=""))
        parts = [part for part, table in zip(PARTS, (self, valid, test), strict=True) if table is not None]
        ends = np.cumsum([len(frame) for frame in frames])
        rows = dict(zip(parts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        if valid is None:
            own = random_split(len(self.frame), (0.9, 0.1, 0.0), seed)
            rows |= {part: rows["train"][own[part]] for part in ("train", "valid")}
        split = {part: np.sort(rows.get(part, np.empty(0))).astype(np.int64) for part in PARTS}
        frame = pd.concat(frames, ignore_index=True)
        name = ", ".join(table.name for table in tables)
        return replace(self, frame=frame, name=name, split=split, path=None, notes=notes, joined=tables)

    @property
    def smiles(self) -> list[str]:
        return smiles_of(self.frame, self.smiles_column, self.na_values)

    @property
    def targets(self) -> pd.Series:
        """The cells of the target column, NA where they are missing by `na_values`."""
        return with_missing(self.frame[self.target_column], self.na_values)

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """The weights of some rows, [some]; None without a column of them.

        Raises:
            InputError: where a cell is no number that is finite and not negative.
        """
        if self.weight_column is None:
            return None
        found, _ = numbers(with_missing(self.frame[self.weight_column], self.na_values).iloc[rows])
        bad = [int(row) for row, weight in zip(rows, found, strict=True) if not 0 <= weight < math.inf]
        if bad:
            cell = self.frame[self.weight_column].iloc[bad[0]]
            raise InputError(
                f"column {self.weight_column!r} must hold weights, finite and not negative, but {len(bad):,} of {len(rows):,} "
                f"cells to train on hold none, such as {cell[:60]!r} in {self.place_of(bad[0])}"
            )
        return np.asarray(found, dtype=np.float64)

    def place_of(self, row: int) -> str:
        """Where a row stands, in words."""
        for table in self.joined:
            if row < len(table.frame):
                return f"{table.place_of(row)} of {table.name}"
            row -= len(table.frame)
        line = line_of_row(self.path, row) if self.path is not None and is_table(self.path) else None
        return f"row {row + 1}" if line is None else f"line {line}"


def smiles_of(frame: pd.DataFrame, column: str, na_values: Sequence[str]) -> list[str]:
    """The SMILES of a table, empty where they are missing by `na_values`."""
    cells = frame[column]
    missing = cells.str.strip().isin([value.strip() for value in na_values])
    smiles: list[str] = cells.mask(missing, "").tolist()
    return smiles


def smiles_column_of(path: Path, trained: str) -> str:
    """The column with the SMILES of a file: that of the training, but SMILES and SDF files have their own."""
    return trained if is_table(path) else DEFAULT_SMILES
