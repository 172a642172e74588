"""The Bemis–Murcko scaffold of a molecule: its rings and what links them."""

from __future__ import annotations

from typing import Any

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from graphattn.chem.smiles import read_smiles


def scaffold(smiles: object) -> str | None:
    """The Bemis–Murcko scaffold as SMILES without stereo: rings and what links them. None where the SMILES is bad.

    Bemis & Murcko, "The Properties of Known Drugs. 1. Molecular Frameworks", J. Med. Chem. 39 (1996) 2887. Molecules
    without a ring all have the empty scaffold "", as is usual.
    """
    mol, _ = read_smiles(smiles)
    return None if mol is None else scaffold_of(mol)


def scaffold_of(mol: Any) -> str:
    """The scaffold of an RDKit molecule."""
    return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol), isomericSmiles=False))
