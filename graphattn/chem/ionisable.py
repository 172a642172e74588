"""Groups that gain or lose a proton in water, as SMARTS.

A measured logD is a logP less what is ionised at that pH, and a neutral drawing of a molecule does not show it. The first atom
of a pattern is the one that takes or gives the proton; an atom has the first group whose pattern fits it. The groups follow the
usual tables of pKa, e.g. Perrin, Dempsey & Serjeant, "pKa prediction for organic acids and bases" (1981).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rdkit import Chem

# Typical pKa in water behind each; a group of several patterns has a line for each.
_ACIDS_AND_AROMATIC_BASES = (
    ("sulfonic_acid", "[OX2H1,OX1-]S(=O)(=O)"),  # below 1
    ("phosphorus_acid", "[OX2H1,OX1-]P(=O)"),  # 2 and 7
    ("carboxylic_acid", "[OX2H1,OX1-][CX3]=O"),  # 4
    ("acyl_sulfonamide", "[NX3H1,NX2-](C=O)S(=O)=O"),  # 4
    ("tetrazole", "[nH]1nnnc1"),  # 5
    ("tetrazole", "[nH]1nncn1"),
    ("vinylogous_acid", "[OX2H1]C=CC=O"),  # 5, as in 4-hydroxycoumarin
    ("vinylogous_acid", "[OX2H1]ccc=O"),
    ("acidic_phenol", "[OX2H1]c1c([$([N+](=O)[O-]),F,Cl,Br,$(C#N),$(C=O)])cccc1"),  # 5 to 8
    ("aryl_sulfonamide", "[NX3H1](a)S(=O)=O"),  # 8
    ("imide", "[NX3H1](C=[O,S])C=[O,S]"),  # 8 to 9
    ("imide", "[nH](c=[O,S])c=[O,S]"),
    ("hydroxamic_acid", "[OX2H1]NC=O"),  # 9
    ("thiol", "[SX2H1]"),  # 7 to 10
    ("phenol", "[OX2H1]a"),  # 10
    ("sulfonamide", "[NX3;H1,H2]S(=O)=O"),  # 10
    ("quaternary", "[NX4+;H0]"),  # a charge at any pH
    ("aromatic_cation", "[nX3+;!$([n+][O-])]"),
    ("guanidine", "[NX2,NX3+]=C([NX3])[NX3]"),  # 13, less with an acyl or aryl group
    ("amidine", "[NX2,NX3+]=C[NX3]"),  # 11
    ("amino_pyridine", "[nX2]1aaa([NX3;!$(N-C=O);!$(N-S=O)])aa1"),  # 9
    ("amino_pyridine", "[nX2]1a([NX3;!$(N-C=O);!$(N-S=O)])aaaa1"),  # 7
    ("imidazole", "[nX2]1c[nX3]cc1"),  # 7
    ("aniline", "[NX3;!$(N-C=[O,S,N]);!$(N-[S,P]=O);!$(N-[N,O]);!$(N(-a)-a)]-c"),  # 4 to 5
    ("pyridine", "[nX2;r6]"),  # 5, less with more nitrogen
    ("azole", "[nX2;r5]"),  # 0 to 3
    ("imine", "[NX2;!$(N=[N,O]);!$(N(=C)[O,N])]=C"),
)
# Nitrogen whose lone pair no carbonyl, sulfonyl, nitrile, hetero atom, double bond or aromatic ring takes …
_AMINE = "[$([NX3]),$([NX4+;!H0]);!$(N-C=[O,S,N,C]);!$(N-[S,P]=O);!$(N-C#N);!$(N-a);!$(N-[N,O])]"
# … and what changes its pKa.
_AMINES = (
    ("weakened_amine", "N[$([#6](=O)),$(C#N),$(CC#N),$(CC=O),$(C(F)F),$(CC(F)F),$(CC[N+]),$(CCS(=O)=O)]"),  # 5 to 8
    ("benzylic_amine", "N[CX4]a"),  # 8 to 9
    ("piperazine", "N1CC[#7]CC1"),  # 8 to 9; the second nitrogen much less
    ("morpholine", "N1CC[O,S]CC1"),  # 7 to 8
    ("primary_amine", "[NX3H2,NX4H3+]"),  # 10
    ("secondary_amine", "[NX3H1,NX4H2+]"),  # 10 to 11
    ("tertiary_amine", "[NX3H0,NX4H1+]"),  # 9 to 10
)

IONISABLE = tuple(dict.fromkeys(name for name, _ in (*_ACIDS_AND_AROMATIC_BASES, *_AMINES)))
"""The names of the groups."""


def ionisable_groups(mol: Any) -> dict[int, int]:
    """Number of an atom → position of its group in `IONISABLE`, for the atoms that have one."""
    groups: dict[int, int] = {}
    for code, query in _queries(_ACIDS_AND_AROMATIC_BASES):
        for (atom,) in mol.GetSubstructMatches(query):
            groups.setdefault(atom, code)
    amines = {atom for (atom,) in mol.GetSubstructMatches(_amine())}
    if amines:
        for code, query in _queries(_AMINES):
            for (atom,) in mol.GetSubstructMatches(query):
                if atom in amines:
                    groups.setdefault(atom, code)
    return groups


@cache
def _queries(patterns: tuple[tuple[str, str], ...]) -> tuple[tuple[int, Any], ...]:
    # "$" asks for atoms: of the matches on the same set of atoms RDKit gives one, which would be one nitrogen of a piperazine.
    return tuple((IONISABLE.index(name), Chem.MolFromSmarts(f"[$({smarts})]")) for name, smarts in patterns)


@cache
def _amine() -> Any:
    return Chem.MolFromSmarts(_AMINE)
