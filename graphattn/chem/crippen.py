"""Wildman–Crippen logP: a computed hydrophobicity that is a sum over the atoms.

Every atom gets one of 68 types by its neighbourhood, and each type has one contribution to the octanol/water logP:
Wildman & Crippen, "Prediction of Physicochemical Parameters by Atomic Contributions", J. Chem. Inf. Comput. Sci. 39
(1999) 868.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from graphattn.chem.smiles import parse_smiles, read_smiles
from graphattn.errors import InputError


def crippen_logp(smiles: Iterable[object]) -> npt.NDArray[np.float64]:
    """Wildman–Crippen logP of each molecule, [rows] float64, in log10 units; NaN where the SMILES is bad.

    Raises:
        InputError: `smiles` is one string.
    """
    if isinstance(smiles, str):
        raise InputError(f"smiles is one string, {smiles[:60]!r}, but must be a list of them")
    molecules = (read_smiles(text)[0] for text in smiles)
    return np.array([np.nan if mol is None else contributions_of(mol).sum() for mol in molecules], dtype=np.float64)


def crippen_contributions(smiles: str) -> npt.NDArray[np.float64]:
    """What each atom adds to the logP, [atoms] float64 in `from_smiles`' order; implicit hydrogens count with theirs.

    Raises:
        InputError: the SMILES is bad.
    """
    return contributions_of(parse_smiles(smiles))


def contributions_of(mol: Any) -> npt.NDArray[np.float64]:
    """`crippen_contributions` of an RDKit molecule."""
    return types_and_contributions(mol)[1]


def crippen_types(mol: Any) -> list[str]:
    """The type of each atom in the table of Wildman and Crippen, such as "C1"; "" where it has none."""
    types = [""] * mol.GetNumAtoms()
    rdMolDescriptors._CalcCrippenContribs(mol, True, [0] * len(types), types)
    return types


def types_and_contributions(mol: Any) -> tuple[list[str], npt.NDArray[np.float64]]:
    """`crippen_types` and `crippen_contributions` at once."""
    explicit = Chem.AddHs(mol)  # appends the hydrogens after the atoms there are
    types = [""] * explicit.GetNumAtoms()
    numbers = rdMolDescriptors._CalcCrippenContribs(explicit, True, [0] * len(types), types)
    contributions = np.array([logp for logp, _ in numbers], dtype=np.float64)
    atoms = mol.GetNumAtoms()
    owners = [atom.GetNeighbors()[0].GetIdx() for atom in list(explicit.GetAtoms())[atoms:]]
    np.add.at(contributions, owners, contributions[atoms:])
    return types[:atoms], contributions[:atoms]
