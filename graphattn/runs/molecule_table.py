"""A table of molecules, from a file or the catalogue of data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from graphattn.splits import Split
from graphattn.tables import read_table, require_columns


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
