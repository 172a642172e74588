"""A table of molecules: which rows can be used, and which part each is in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graphattn.chem import scaffold_split
from graphattn.errors import InputError
from graphattn.estimators.runs.folder import RunOptions
from graphattn.splits import DEFAULT_FRACTIONS, Split, parse_split, random_split, read_split_file
from graphattn.tables import numbers, read_table, require_columns


@dataclass(frozen=True)
class MoleculeTable:
    """A table of molecules.

    Args:
        frame: cells as text, a row a molecule.
        name: what messages call it: the file or the data set.
        smiles_column, target_column: columns of the frame.
        split: the standard split, where there is one.
    """

    frame: pd.DataFrame
    name: str
    smiles_column: str
    target_column: str
    split: Split | None = None

    @classmethod
    def from_file(cls, path: Path, smiles_column: str, target_column: str) -> MoleculeTable:
        """Reads a delimited file.

        Raises:
            InputError: where the file cannot be read or lacks a column.
        """
        frame = read_table(path)
        require_columns(frame, [smiles_column, target_column], path)
        return cls(frame, str(path), smiles_column, target_column)

    @classmethod
    def from_dataset(cls, name: str) -> MoleculeTable:
        """Loads a data set of the catalogue."""
        from graphattn.data import load_molecules

        loaded = load_molecules(name)
        return cls(loaded.frame, name, loaded.smiles_column, loaded.target_column, loaded.split)

    @property
    def smiles(self) -> list[str]:
        return self.frame[self.smiles_column].tolist()


def usable_target(table: MoleculeTable, canonical: list[str | None], task: str) -> tuple[list[Any], dict[str, int]]:
    """The target of each row, None where the row cannot be used; and how many rows that is, by reason."""
    column = table.frame[table.target_column]
    excluded: Counter[str] = Counter()
    if task == "regression":
        values, reasons = numbers(column)
        excluded.update({f"{table.target_column}: {reason}": count for reason, count in reasons.items()})
        target: list[Any] = [None if np.isnan(value) else float(value) for value in values]
    else:
        cells = [cell.strip() for cell in column]
        target = [None if cell.lower() in ("", "nan") else cell for cell in cells]
        excluded[f"{table.target_column}: empty"] = cells.count("")
        excluded[f"{table.target_column}: NaN"] = target.count(None) - cells.count("")
    if all(value is None for value in target):
        counts = ", ".join(f"{count} {reason.rpartition(': ')[2]}" for reason, count in excluded.items() if count)
        hint = "; for text labels use --task classification" if task == "regression" and len(target) else ""
        raise InputError(f"no cell of column '{table.target_column}' of {table.name} can be used ({counts or 'no rows'}){hint}")
    for row, molecule in enumerate(canonical):
        if molecule is None and target[row] is not None:
            target[row] = None
            excluded[f"{table.smiles_column}: cannot be read"] += 1
    return target, {reason: count for reason, count in excluded.items() if count}


def split_rows(table: MoleculeTable, usable: np.ndarray, options: RunOptions) -> Split:
    if options.split is None and table.split is not None:
        split = table.split
    else:
        wanted = parse_split(options.split or "random")
        if isinstance(wanted, Path):
            split = read_split_file(wanted, len(table.frame))
        elif wanted == "scaffold":
            smiles = table.smiles
            parts = scaffold_split([smiles[row] for row in usable], seed=options.seed)
            split = {part: usable[rows] for part, rows in parts.items()}
        else:
            parts = random_split(len(usable), DEFAULT_FRACTIONS if wanted == "random" else wanted, options.seed)
            split = {part: usable[rows] for part, rows in parts.items()}
    split = {part: rows[np.isin(rows, usable)] for part, rows in split.items()}
    if len(split["train"]) == 0:
        raise InputError(f"the split leaves no usable row of {table.name} to train on")
    return split
