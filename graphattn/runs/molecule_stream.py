"""A table of molecules of any length, read in chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphattn.chem.files import iter_molecules
from graphattn.chem.smiles import names_after
from graphattn.runs.molecule_rows import about_names
from graphattn.runs.molecule_table import MoleculeTable, smiles_column_of, smiles_of
from graphattn.runs.predictions import refuse_taken_columns
from graphattn.tables import find_column, name_of

if TYPE_CHECKING:
    import pandas as pd

# Rows held at a time: enough for worker processes to pay.
_CHUNK = 10_000


class MoleculeStream:
    """The rows of a table of any length, in chunks.

    Args:
        data: the entry of this name in the run's config.
        table, smiles_column, na_values: as in `predict_molecules`.
        added: the names of the columns that are added besides error.
        prediction_column: as in `predict_molecules`.

    Attributes:
        name: what messages call the table.

    Raises:
        InputError: where the table cannot be read, or has a column that would be added.
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
        self._errors: Counter[str] = Counter()

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

    def count(self, errors: dict[int, str]) -> None:
        """Counts the rows of a chunk for which there is nothing, by reason, of which details are left out."""
        self._errors.update(reason.partition(":")[0] for reason in errors.values())

    def result(self) -> dict[str, Any]:
        """What `predict_molecules` returns, when all chunks are done."""
        notes = self._notes + ([about_names(self._named, self._example)] if self._named else [])
        done = self._rows - self._errors.total()
        return {"rows": self._rows, "predicted": done, "errors": dict(self._errors), "notes": notes}
