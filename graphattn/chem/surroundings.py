"""What an atom is by its surroundings in the molecule: the part of its features that its own entry in a SMILES does not show.

Each is one-hot, as the others. They are computed once for a whole molecule, from RDKit.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdPartialCharges

from graphattn.chem.ionisable import IONISABLE, ionisable_groups

_CRIPPEN = (
    "C1 C2 C3 C4 C5 C6 C7 C8 C9 C10 C11 C12 C13 C14 C15 C16 C17 C18 C19 C20 C21 C22 C23 C24 C25 C26 C27 CS H1 H2 H3 H4 HS N1"
    " N2 N3 N4 N5 N6 N7 N8 N9 N10 N11 N12 N13 N14 NS O1 O2 O3 O4 O5 O6 O7 O8 O9 O10 O11 O12 OS F Cl Br I Hal P S1 S2 S3 Me1 Me2"
)
# Upper ends of the bins of Gasteiger's partial charges, in units of the elementary charge.
_CHARGES = (-0.5, -0.4, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3)

SURROUNDINGS: dict[str, tuple[str, ...]] = {
    "donor": ("yes",),
    "acceptor": ("yes",),
    "hydrophobic": ("yes",),
    "ionisable": ("none", *IONISABLE),
    "ring_size": ("none", "3", "4", "5", "6", "7", "8", "more"),
    "rings": ("0", "1", "2", "more"),
    "partial_charge": (*(f"below {end:g}" for end in _CHARGES), f"from {_CHARGES[-1]:g}", "unknown"),
    "crippen": (*_CRIPPEN.split(), "other"),
}
"""Feature → its values, as in `graphattn.chem.features.ATOM_FEATURES`.

Donors, acceptors and hydrophobic atoms are those of hydrogen bonds and of pharmacophores (a carbon or halogen without a polar
neighbour). ring_size is the smallest ring of an atom, rings the number of rings of RDKit's smallest set. crippen is the type of
the atom in Wildman & Crippen's table (1999), which holds its neighbourhood."""

_DONOR = "[$([N;!H0;v3,v4&+1]),$([O,S;H1;+0]),n&H1&+0]"
_ACCEPTOR = (
    "[$([O;H1;v2]),$([O;H0;v2;!$(O=N-*)]),$([O,S;-;!$(*-N=O)]),$([N;v3;!$(N-*=[O,N,P,S]);!$(N-a);!$(N-[S,P]=O)]),"
    "$([nH0,o,s;+0;!$([n,o,s]:n:n)]),$([NX2;v3]),$([NX1]),$([O,S;X1]=*)]"
)
_HYDROPHOBIC = "[$([C,c,S&X2,s;+0;!$(*~[#7,#8,F])]),Cl,Br,I]"
_CODE = {name: code for code, name in enumerate(SURROUNDINGS["crippen"][:-1])}
_MORE_SIZE, _MORE_RINGS, _NO_CHARGE, _NO_TYPE = (
    len(SURROUNDINGS[name]) - 1 for name in ("ring_size", "rings", "partial_charge", "crippen")
)


def surroundings(mol: Any, types: Sequence[str]) -> list[tuple[int, ...]]:
    """The codes of `SURROUNDINGS`, a tuple an atom.

    Args:
        mol: an RDKit molecule.
        types: Crippen's type of each atom, see `graphattn.chem.crippen.crippen_types`.
    """
    atoms = mol.GetNumAtoms()
    flags = [{atom for (atom,) in mol.GetSubstructMatches(query)} for query in _flags()]
    groups = ionisable_groups(mol)
    sizes, counts = [0] * atoms, [0] * atoms
    for ring in mol.GetRingInfo().AtomRings():
        for atom in ring:
            sizes[atom] = min(sizes[atom] or len(ring), len(ring))
            counts[atom] += 1
    rdPartialCharges.ComputeGasteigerCharges(mol)
    charges = [atom.GetDoubleProp("_GasteigerCharge") for atom in mol.GetAtoms()]
    return [
        (
            *(int(atom in flag) for flag in flags),
            groups.get(atom, -1) + 1,
            min(max(sizes[atom] - 2, 0), _MORE_SIZE),
            min(counts[atom], _MORE_RINGS),
            bisect_right(_CHARGES, charge) if math.isfinite(charge) else _NO_CHARGE,
            _CODE.get(types[atom], _NO_TYPE),
        )
        for atom, charge in enumerate(charges)
    ]


@cache
def _flags() -> tuple[Any, ...]:
    return tuple(Chem.MolFromSmarts(smarts) for smarts in (_DONOR, _ACCEPTOR, _HYDROPHOBIC))
