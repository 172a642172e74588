"""Molecules, targets and weights as people pass them, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphattn.errors import InputError


def check_rows(smiles: Iterable[str], y: Iterable[Any]) -> tuple[list[str], np.ndarray]:
    """SMILES as a list and values as an array, one for each; `y` may be a table of one column."""
    y = np.asarray(y) if getattr(y, "ndim", 1) > 1 else y
    rows, values = as_list(smiles), y if isinstance(y, np.ndarray) else np.array(list(y), dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (len(rows),):
        raise InputError(f"y must have one entry for each of the {len(rows)} SMILES, got shape {list(values.shape)}")
    return rows, values


def check_weights(weights: np.ndarray, rows: int, name: str) -> np.ndarray:
    """Weights of rows as numbers, [rows].

    Raises:
        InputError: where there are not as many, one is negative or no finite number, or all are 0.
    """
    try:
        numbers = weights.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers, got values such as {str(weights[0])[:60]!r}") from None
    if numbers.shape != (rows,):
        raise InputError(f"{name} must have one entry for each of the {rows} rows, got shape {list(numbers.shape)}")
    bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise InputError(f"{name} must be finite and not negative, got {len(bad):,} that are not, such as {numbers[bad[0]]:g}")
    if not numbers.any():
        raise InputError(f"{name} must not be 0 for all rows")
    return numbers


def as_list(smiles: Iterable[str]) -> list[str]:
    """SMILES as a list; RDKit molecules become SMILES, and bytes text.

    Raises:
        InputError: where they are one string or no column.
    """
    if isinstance(smiles, str):
        raise InputError(f"smiles must be a list of SMILES, got the one string {smiles!r}")
    if isinstance(smiles, Mapping) or getattr(smiles, "ndim", 1) != 1:
        raise InputError(f"smiles must be a list of SMILES or one column of a table, got a {type(smiles).__name__}")
    return [_as_text(one) for one in smiles]


def _as_text(smiles: Any) -> Any:
    """The SMILES of an RDKit molecule, and the text of bytes; everything else is left to `read_smiles`."""
    if isinstance(smiles, bytes):
        return smiles.decode("ascii", errors="replace")
    if type(smiles).__module__.startswith("rdkit."):
        from rdkit import Chem

        from graphattn.chem.smiles import MOST_ATOMS

        if isinstance(smiles, Chem.Mol) and smiles.GetNumAtoms() <= MOST_ATOMS:
            return Chem.MolToSmiles(smiles)
    return smiles
