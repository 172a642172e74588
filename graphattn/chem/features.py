"""SMILES → numbers: which columns an atom and a bond have, and the arrays of many molecules.

Needs numpy and RDKit only. Worker processes import this file, and importing torch there would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler

from graphattn.chem.crippen import crippen_types, types_and_contributions
from graphattn.chem.fingerprints import BITS, fingerprint_of
from graphattn.chem.records import BAD_RECORD, MoleculeRecords, Record, join_records, record_of
from graphattn.chem.smiles import read_smiles, reason_of
from graphattn.chem.surroundings import SURROUNDINGS, surroundings

FEATURE_VERSION = 2
"""Raised whenever the same SMILES would give other numbers; part of the cache's key and of every saved model."""

_ELEMENTS = (
    "H Li B C N O F Na Mg Al Si P S Cl K Ca Ti V Cr Mn Fe Co Ni Cu Zn Ge As Se Br Sr Zr Mo Pd Ag Cd Sn Sb Te I Ba W Pt"
    " Au Hg Pb Bi"
)

ATOM_FEATURES: dict[str, tuple[str, ...]] = {
    "element": (*_ELEMENTS.split(), "other"),
    "degree": ("0", "1", "2", "3", "4", "5", "more"),
    "charge": ("-2", "-1", "0", "1", "2", "other"),
    "hydrogens": ("0", "1", "2", "3", "4", "more"),
    "hybridisation": ("S", "SP", "SP2", "SP3", "SP3D", "SP3D2", "other"),
    "aromatic": ("yes",),
    "ring": ("yes",),
    "chirality": ("none", "R", "S", "r", "s", "other"),
    **SURROUNDINGS,
}
"""Feature → its values, in column order: each value is one column, and exactly one of them is 1. A feature with one
value is a flag: its column is 0 or 1. Degree counts neighbours in the graph, hydrogens those that are not in it."""

BOND_FEATURES: dict[str, tuple[str, ...]] = {
    "type": ("single", "double", "triple", "aromatic", "other"),
    "conjugated": ("yes",),
    "ring": ("yes",),
    "stereo": ("none", "E", "Z", "other"),
}
"""The same for bonds."""

ATOM_WIDTH = sum(map(len, ATOM_FEATURES.values()))
BOND_WIDTH = sum(map(len, BOND_FEATURES.values()))

# Symmetric cages could keep the ranking busy for ever; RDKit's guide is 1,250,000 comparisons a second.
_MAX_CIP_COMPARISONS = 1_000_000


def atom_feature_names() -> list[str]:
    """The name of each column of an atom's features, such as `element=C` or, for a flag, `aromatic`."""
    return _column_names(ATOM_FEATURES)


def bond_feature_names() -> list[str]:
    """The name of each column of a bond's features, such as `type=single` or, for a flag, `conjugated`."""
    return _column_names(BOND_FEATURES)


def _column_names(features: dict[str, tuple[str, ...]]) -> list[str]:
    return [f"{name}={value}" if len(values) > 1 else name for name, values in features.items() for value in values]


class MoleculeArrays(NamedTuple):
    """Many molecules side by side, as codes: the number of a value in its vocabulary (for a flag, 0 or 1).

    Molecule m owns atoms `atom_ptr[m]:atom_ptr[m + 1]` and edges `edge_ptr[m]:edge_ptr[m + 1]`. A SMILES that cannot be
    used owns none, and `errors` says why.

    Attributes:
        atoms: [atoms, len(ATOM_FEATURES)] uint8.
        atom_ptr: [molecules + 1] int64.
        edge_index: [2, edges] int32, source above target, numbered within each molecule; both directions of each bond,
            sorted by target and then source.
        bonds: [edges, len(BOND_FEATURES)] uint8.
        edge_ptr: [molecules + 1] int64.
        fingerprints: [molecules, BITS / 8] uint8, see `graphattn.chem.fingerprints`; 0 of a SMILES that cannot be used.
        errors: position of a molecule → reason.
        records: what else is known of each molecule, where that was asked for.
    """

    atoms: npt.NDArray[np.uint8]
    atom_ptr: npt.NDArray[np.int64]
    edge_index: npt.NDArray[np.int32]
    bonds: npt.NDArray[np.uint8]
    edge_ptr: npt.NDArray[np.int64]
    fingerprints: npt.NDArray[np.uint8]
    errors: dict[int, str]
    records: MoleculeRecords | None = None


def featurise_chunk(smiles: Sequence[object], describe: bool = False) -> MoleculeArrays:
    """Read and encode the molecules of a list, in its order. Bad SMILES keep their place; nothing is raised.

    Args:
        smiles: SMILES, each parsed once.
        describe: whether to make their records as well.
    """
    records = MoleculeRecords() if describe else None
    atoms, bonds, fingerprints = bytearray(), bytearray(), bytearray()
    ends: list[tuple[int, int]] = []
    atom_ptr, bond_ptr = [0], [0]
    errors = {}
    with rdBase.BlockLogs():
        for position, text in enumerate(smiles):
            mol, reason = read_smiles(text)
            try:
                record, codes = (BAD_RECORD, _NO_CODES) if mol is None else _encode(mol, str(text), describe)
            except Exception as problem:  # RDKit has errors of many kinds, and each is this molecule's alone
                reason, record, codes = reason_of(problem), BAD_RECORD, _NO_CODES
            if reason:
                errors[position] = reason
            if records is not None:
                records.add(record)
            first = atom_ptr[-1]
            atoms.extend(codes[0])
            bonds.extend(codes[1])
            fingerprints.extend(codes[3])
            ends.extend((first + begin, first + end) for begin, end in codes[2])
            atom_ptr.append(len(atoms) // len(ATOM_FEATURES))
            bond_ptr.append(len(ends))

    begin, end = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    source, target = np.concatenate([begin, end]), np.concatenate([end, begin])
    # Atoms are numbered through all molecules until here, so that one sort serves them all.
    order = np.lexsort((source, target))
    edge_ptr = 2 * np.array(bond_ptr, dtype=np.int64)
    first_atom = np.repeat(np.array(atom_ptr[:-1], dtype=np.int64), np.diff(edge_ptr))
    bond_codes = np.array(bonds, dtype=np.uint8).reshape(-1, len(BOND_FEATURES))
    return MoleculeArrays(
        atoms=np.array(atoms, dtype=np.uint8).reshape(-1, len(ATOM_FEATURES)),
        atom_ptr=np.array(atom_ptr, dtype=np.int64),
        edge_index=(np.stack([source, target])[:, order] - first_atom).astype(np.int32),
        bonds=np.concatenate([bond_codes, bond_codes])[order],
        edge_ptr=edge_ptr,
        fingerprints=np.array(fingerprints, dtype=np.uint8).reshape(-1, BITS // 8),
        errors=errors,
        records=records,
    )


def concatenate(chunks: Sequence[MoleculeArrays]) -> MoleculeArrays:
    """Put chunks one after the other, as if their SMILES had been one list."""
    if not chunks:
        return featurise_chunk([])
    records = [chunk.records for chunk in chunks if chunk.records is not None]
    starts = np.cumsum([0] + [len(chunk.atom_ptr) - 1 for chunk in chunks]).tolist()
    return MoleculeArrays(
        atoms=np.concatenate([chunk.atoms for chunk in chunks]),
        atom_ptr=_joined_ptr([chunk.atom_ptr for chunk in chunks]),
        edge_index=np.concatenate([chunk.edge_index for chunk in chunks], axis=1),
        bonds=np.concatenate([chunk.bonds for chunk in chunks]),
        edge_ptr=_joined_ptr([chunk.edge_ptr for chunk in chunks]),
        fingerprints=np.concatenate([chunk.fingerprints for chunk in chunks]),
        errors={
            start + position: reason
            for start, chunk in zip(starts, chunks, strict=False)
            for position, reason in chunk.errors.items()
        },
        records=join_records(records) if records else None,
    )


def one_hot(codes: npt.NDArray[np.uint8], features: dict[str, tuple[str, ...]]) -> npt.NDArray[np.uint8]:
    """Codes [rows, features] → [rows, width] of 0 and 1, columns as in `atom_feature_names`."""
    return np.concatenate([_table(len(values))[codes[:, k]] for k, values in enumerate(features.values())], axis=1)


def _table(values: int) -> npt.NDArray[np.uint8]:
    return np.eye(values, dtype=np.uint8) if values > 1 else np.array([[0], [1]], dtype=np.uint8)


def _joined_ptr(ptrs: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    sizes = np.concatenate([np.diff(ptr) for ptr in ptrs])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


# RDKit's values → codes; whatever is not among them gets the last code of its feature.
_ELEMENT = {Chem.GetPeriodicTable().GetAtomicNumber(symbol): code for code, symbol in enumerate(ATOM_FEATURES["element"][:-1])}
_CHARGE = {int(value): code for code, value in enumerate(ATOM_FEATURES["charge"][:-1])}
_HYBRIDISATION = {Chem.HybridizationType.names[value]: code for code, value in enumerate(ATOM_FEATURES["hybridisation"][:-1])}
_CHIRALITY = {value: code for code, value in enumerate(ATOM_FEATURES["chirality"][:-1])}
_BOND_TYPE = {Chem.BondType.names[value.upper()]: code for code, value in enumerate(BOND_FEATURES["type"][:-1])}
_STEREO = {Chem.BondStereo.names[f"STEREO{value.upper()}"]: code for code, value in enumerate(BOND_FEATURES["stereo"][:-1])}
_NO_ELEMENT, _MORE_DEGREE, _NO_CHARGE, _MORE_HYDROGENS, _NO_HYBRIDISATION, _, _, _NO_CHIRALITY = (
    len(ATOM_FEATURES[name]) - 1 for name in ATOM_FEATURES if name not in SURROUNDINGS
)
_NO_BOND_TYPE, _, _, _NO_STEREO = (len(values) - 1 for values in BOND_FEATURES.values())
_ACHIRAL = Chem.ChiralType.CHI_UNSPECIFIED


Codes = tuple[list[int], list[int], list[tuple[int, int]], bytes]
_NO_CODES: Codes = ([], [], [], bytes(BITS // 8))


def _encode(mol: Any, smiles: str, describe: bool) -> tuple[Record, Codes]:
    """The record of a molecule, if it is asked for, and its codes: atoms, bonds, the two atoms of each bond, fingerprint."""
    record = BAD_RECORD
    if describe:
        types, contributions = types_and_contributions(mol)
        record = record_of(mol, float(contributions.sum()))
    else:
        types = crippen_types(mol)
    if "@" in smiles:  # is how SMILES writes a stereocentre
        _label_chirality(mol)
    around = surroundings(mol, types)
    atoms = [code for atom, more in zip(mol.GetAtoms(), around, strict=True) for code in (*_atom_codes(atom), *more)]
    bonds = [code for bond in mol.GetBonds() for code in _bond_codes(bond)]
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return record, (atoms, bonds, ends, fingerprint_of(mol))


def _atom_codes(atom: Any) -> tuple[int, ...]:
    return (
        _ELEMENT.get(atom.GetAtomicNum(), _NO_ELEMENT),
        min(atom.GetDegree(), _MORE_DEGREE),
        _CHARGE.get(atom.GetFormalCharge(), _NO_CHARGE),
        min(atom.GetTotalNumHs(), _MORE_HYDROGENS),
        _HYBRIDISATION.get(atom.GetHybridization(), _NO_HYBRIDISATION),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
        0 if atom.GetChiralTag() == _ACHIRAL else _chirality(atom),
    )


def _bond_codes(bond: Any) -> tuple[int, ...]:
    return (
        _BOND_TYPE.get(bond.GetBondType(), _NO_BOND_TYPE),
        int(bond.GetIsConjugated()),
        int(bond.IsInRing()),
        _STEREO.get(bond.GetStereo(), _NO_STEREO),
    )


def _label_chirality(mol: Any) -> None:
    """Label stereocentres by the Cahn–Ingold–Prelog rules.

    RDKit's clockwise and counter-clockwise tags depend on the order in which the neighbours are written, so that two
    SMILES of one molecule would give two graphs. CIP labels do not.
    """
    try:
        rdCIPLabeler.AssignCIPLabels(mol, maxRecursiveIterations=_MAX_CIP_COMPARISONS)
    except RuntimeError:  # too symmetric to rank: its centres count as "other"
        for atom in mol.GetAtoms():
            atom.ClearProp("_CIPCode")


def _chirality(atom: Any) -> int:
    label = atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else ""
    return _CHIRALITY.get(label, _NO_CHIRALITY)
