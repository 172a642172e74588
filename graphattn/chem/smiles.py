"""SMILES → RDKit molecule, or the reason why there is none, in a chemist's terms. Nothing is ever written to stderr.

As in RDKit, text after the first space of a SMILES is a name or a CXSMILES extension; `names_after` finds the rows with names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rdkit import Chem, rdBase

from graphattn.errors import InputError

# Larger molecules are refused: RDKit's canonical SMILES recurses from atom to atom, and ends the process near 20,000.
MOST_ATOMS = 5_000
# A SMILES has fewer characters than this for each of its atoms.
_CHARACTERS_OF_AN_ATOM = 8


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
    foreign = re.search(r"[^\x00-\x7f]", smiles.split(maxsplit=1)[0])
    if foreign:  # RDKit stops reading there, and says nothing
        return None, f"SMILES has the character {foreign[0]!a}, which is not ASCII"
    charge = re.search(r"\[[^\]]*[+-](\d{3,})[^\]]*\]", smiles)
    if charge:  # RDKit keeps a charge in eight bits: -200 is read as +56
        return None, f"SMILES has the atom {charge[0]}, whose charge is out of range"
    if len(smiles) > MOST_ATOMS * _CHARACTERS_OF_AN_ATOM:
        return None, f"SMILES has {len(smiles):,} characters; molecules of up to {MOST_ATOMS:,} atoms are read"
    with rdBase.BlockLogs():
        try:
            mol = Chem.MolFromSmiles(smiles)
            if mol is None:
                return None, _reason(smiles)
        except Exception as problem:  # RDKit has errors of many kinds, and each is this molecule's alone
            return None, reason_of(problem)
    if mol.GetNumAtoms() == 0:
        return None, "SMILES has no atoms"
    if mol.GetNumAtoms() > MOST_ATOMS:
        return None, f"SMILES has {mol.GetNumAtoms():,} atoms; molecules of up to {MOST_ATOMS:,} are read"
    return mol, ""


def as_seen(mol: Any) -> Any:
    """The molecule without isotopes and atom maps, which no model sees; itself where it has none."""
    if not any(atom.GetIsotope() or atom.GetAtomMapNum() for atom in mol.GetAtoms()):
        return mol
    mol = Chem.Mol(mol)
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    return mol


def reason_of(problem: Exception) -> str:
    """What RDKit had against a molecule, in one sentence."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    # RDKit's own checks begin with a title: what was violated stands in the second line.
    said = lines[1] if len(lines) > 1 and lines[0].endswith("Violation") else " ".join(lines[:1])
    return f"RDKit cannot describe this molecule: {said or type(problem).__name__}"


def names_after(smiles: Iterable[object]) -> list[int]:
    """The rows whose SMILES is followed by a space and a name: "CC O" is ethane named O. A CXSMILES extension is no name."""
    parts = ((row, text.split(maxsplit=1)) for row, text in enumerate(smiles) if isinstance(text, str))
    return [row for row, part in parts if len(part) == 2 and not part[1].startswith("|")]


def _reason(smiles: str) -> str:
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
