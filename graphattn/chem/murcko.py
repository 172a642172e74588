"""The Bemis–Murcko scaffold of a molecule: its rings and what links them."""

from __future__ import annotations

from typing import Any

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from graphattn.chem.smiles import as_seen, read_smiles

# RDKit's own takes time that grows with the third power of the number of atoms: 14 s for 1,700.
_LARGE = 150


def scaffold(smiles: object) -> str | None:
    """The Bemis–Murcko scaffold as SMILES without stereo: rings and what links them. None where the SMILES is bad.

    Bemis & Murcko, "The Properties of Known Drugs. 1. Molecular Frameworks", J. Med. Chem. 39 (1996) 2887. Molecules
    without a ring all have the empty scaffold "", as is usual.
    """
    mol, _ = read_smiles(smiles)
    return None if mol is None else scaffold_of(mol)


def scaffold_of(mol: Any) -> str:
    """The scaffold of an RDKit molecule."""
    mol, large = as_seen(mol), mol.GetNumAtoms() > _LARGE
    return str(Chem.MolToSmiles(_cut(mol) if large else MurckoScaffold.GetScaffoldForMol(mol), isomericSmiles=False))


def _cut(mol: Any) -> Any:
    """The scaffold as RDKit cuts it, in linear time: rings and linkers are what stays when ends are taken away again and again.

    An atom that a double bond joins to them stays as well. On 35,550 molecules of Lipophilicity, AqSolDB, B3DB and PHYSPROP
    it is RDKit's scaffold but for seven, of hypervalent sulfur and metals.
    """
    near = [[other.GetIdx() for other in atom.GetNeighbors()] for atom in mol.GetAtoms()]
    degree = [len(others) for others in near]
    ends = [number for number, count in enumerate(degree) if count <= 1]
    cut = set()
    while ends:
        end = ends.pop()
        if end not in cut:
            cut.add(end)
            for other in near[end]:
                degree[other] -= 1
                if degree[other] <= 1 and other not in cut:
                    ends.append(other)
    core = set(range(len(near))) - cut
    at_the_edge = [bond for bond in mol.GetBonds() if (bond.GetBeginAtomIdx() in core) != (bond.GetEndAtomIdx() in core)]
    edit = Chem.RWMol(mol)
    for bond in at_the_edge:
        inner, outer = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        inner, outer = (inner, outer) if inner in core else (outer, inner)
        atom = edit.GetAtomWithIdx(inner)
        if bond.GetBondType() == Chem.BondType.DOUBLE:
            cut.discard(outer)
        elif atom.GetNoImplicit() or (atom.GetIsAromatic() and atom.GetAtomicNum() != 6):
            atom.SetNumExplicitHs(atom.GetNumExplicitHs() + 1)
    edit.BeginBatchEdit()
    for number in cut:
        edit.RemoveAtom(number)
    edit.CommitBatchEdit()
    return edit.GetMol()
