"""SMILES → RDKit molecule, or the reason why there is none, in a chemist's terms. Nothing is ever written to stderr.

As in RDKit, text after the first space of a SMILES is a name or a CXSMILES extension.
"""

from __future__ import annotations

import re
from typing import Any

from rdkit import Chem, rdBase

from graphattn.errors import InputError


def parse_smiles(smiles: object) -> Any:
    """The `rdkit.Chem.Mol` of a SMILES, as `Chem.MolFromSmiles` gives it: sanitised, with implicit hydrogens.

    Raises:
        InputError: the SMILES is empty (None and NaN count as empty), has a syntax error, or describes a molecule that
            cannot be; with the reason and the SMILES.
    """
    mol, reason = read_smiles(smiles)
    if reason:
        raise bad_smiles(smiles, reason)
    return mol


def bad_smiles(smiles: object, reason: str) -> InputError:
    """The error that names a bad SMILES and says why it is bad."""
    text = ascii(smiles)
    return InputError(f"{reason}; given {text if len(text) <= 80 else text[:60] + '…'}")


def canonical_smiles(smiles: object) -> str | None:
    """RDKit's canonical SMILES, the same for every way to write one molecule, or None where the SMILES is bad."""
    mol, _ = read_smiles(smiles)
    return None if mol is None else str(Chem.MolToSmiles(mol))


def read_smiles(smiles: object) -> tuple[Any, str]:
    """(molecule, "") of a good SMILES, (None, reason) of a bad one."""
    if not isinstance(smiles, str):
        missing = str(smiles) in ("None", "nan", "<NA>", "NaT")
        return None, "SMILES is empty" if missing else f"SMILES is not text but {type(smiles).__name__}"
    smiles = smiles.strip()
    if not smiles:
        return None, "SMILES is empty"
    with rdBase.BlockLogs():
        try:
            mol = Chem.MolFromSmiles(smiles)
        except UnicodeEncodeError:  # half of a surrogate pair, as in a damaged file
            mol = None
        if mol is None:
            return None, _reason(smiles)
    if mol.GetNumAtoms() == 0:
        return None, "SMILES has no atoms"
    return mol, ""


def _reason(smiles: str) -> str:
    foreign = re.search(r"[^\x00-\x7f]", smiles)
    if foreign:
        return f"SMILES has the character {foreign[0]!a}, which is not ASCII"
    mol, log = _parse_only(smiles)
    if mol is None:
        what = re.search(r"SMILES Parse Error: (.+?) (?:while parsing|for input):", log)
        where = re.search(r"around position (\d+)", log)
        return "SMILES cannot be read" + (f": {what[1]}" if what else "") + (f" near character {where[1]}" if where else "")
    try:
        Chem.SanitizeMol(mol)
    except Chem.MolSanitizeException as problem:
        return f"SMILES describes an impossible molecule: {' '.join(str(problem).split())}"
    return "SMILES cannot be read"


def _parse_only(smiles: str) -> tuple[Any, str]:
    """Syntax without chemistry, and what RDKit logged: it names a syntax error nowhere else."""
    if not hasattr(rdBase, "CaptureErrorLog"):  # older RDKit
        return Chem.MolFromSmiles(smiles, sanitize=False), ""
    with rdBase.CaptureErrorLog() as log:
        mol = Chem.MolFromSmiles(smiles, sanitize=False)
    return mol, log.messages
