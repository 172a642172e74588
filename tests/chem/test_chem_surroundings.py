"""What an atom is by its surroundings, on molecules worked out by hand."""

from __future__ import annotations

import pytest
from rdkit import Chem

from graphattn.chem.crippen import crippen_types, types_and_contributions
from graphattn.chem.ionisable import IONISABLE, ionisable_groups
from graphattn.chem.surroundings import SURROUNDINGS, surroundings

# A group → molecules and the numbers of the atoms that have it.
EXAMPLES = {
    "sulfonic_acid": [("CS(=O)(=O)O", {4})],
    "phosphorus_acid": [("CP(=O)(O)O", {3, 4}), ("COP(=O)([O-])OC", {4})],
    "carboxylic_acid": [("CC(=O)O", {3}), ("CC(=O)[O-]", {3})],
    "acyl_sulfonamide": [("CC(=O)NS(C)(=O)=O", {3})],
    "tetrazole": [("Cc1nnn[nH]1", {5}), ("Cc1nn[nH]n1", {4})],
    "vinylogous_acid": [("CC(=O)C=C(C)O", {6}), ("O=c1cc(O)c2ccccc2o1", {4})],
    "acidic_phenol": [("Oc1ccccc1Cl", {0})],
    "aryl_sulfonamide": [("CS(=O)(=O)Nc1ccccc1", {4})],
    "imide": [("CC(=O)NC(C)=O", {3}), ("Cc1c[nH]c(=O)[nH]c1=O", {6})],
    "hydroxamic_acid": [("CC(=O)NO", {4})],
    "thiol": [("CCS", {2})],
    "phenol": [("Oc1ccccc1", {0})],
    "sulfonamide": [("CS(N)(=O)=O", {2}), ("CNS(C)(=O)=O", {1})],
    "quaternary": [("C[N+](C)(C)C", {1})],
    "aromatic_cation": [("C[n+]1ccccc1", {1})],
    "guanidine": [("CNC(N)=N", {4})],
    "amidine": [("CC(N)=N", {3})],
    "amino_pyridine": [("Nc1ccncc1", {4}), ("Nc1ccccn1", {6})],
    "weakened_amine": [("NCC(F)(F)F", {0}), ("CNCC#N", {1})],
    "benzylic_amine": [("NCc1ccccc1", {0})],
    "piperazine": [("CN1CCN(C)CC1", {1, 4})],
    "morpholine": [("CN1CCOCC1", {1})],
    "primary_amine": [("CCN", {2}), ("CC[NH3+]", {2})],
    "secondary_amine": [("CCNC", {2})],
    "tertiary_amine": [("CN(C)C", {1}), ("C[NH+](C)C", {1})],
    "imidazole": [("c1cnc[nH]1", {2})],
    "aniline": [("Nc1ccccc1", {0})],
    "pyridine": [("c1ccncc1", {3})],
    "azole": [("c1cnoc1", {2})],
    "imine": [("CC(C)=NC", {3})],
}
NEUTRAL = ["CCO", "CC(=O)NC", "CC#N", "C[N+](=O)[O-]", "COC", "CS(C)(=O)=O", "c1ccc[nH]1", "CN=NC"]


def codes(smiles: str) -> list[dict[str, str]]:
    """The value of each feature, atom by atom."""
    mol = Chem.MolFromSmiles(smiles)
    rows = surroundings(mol, crippen_types(mol))
    named = [dict(zip(SURROUNDINGS, row, strict=True)) for row in rows]
    return [
        {name: (SURROUNDINGS[name] if len(SURROUNDINGS[name]) > 1 else ("", "yes"))[row[name]] for name in row} for row in named
    ]


def test_every_group_has_an_example() -> None:
    assert set(EXAMPLES) == set(IONISABLE)


@pytest.mark.parametrize(("group", "smiles", "atoms"), [(name, *each) for name, pairs in EXAMPLES.items() for each in pairs])
def test_ionisable_groups(group: str, smiles: str, atoms: set[int]) -> None:
    found = ionisable_groups(Chem.MolFromSmiles(smiles))
    assert {atom for atom, code in found.items() if IONISABLE[code] == group} == atoms


@pytest.mark.parametrize("smiles", NEUTRAL)
def test_neutral_molecules_have_none(smiles: str) -> None:
    assert ionisable_groups(Chem.MolFromSmiles(smiles)) == {}


def test_flags_of_pharmacophores() -> None:
    flags = [{name for name in ("donor", "acceptor", "hydrophobic") if atom[name]} for atom in codes("NCCC(=O)NCCCl")]
    amine, beside, between, carbonyl, oxygen, amide, next_to, last, chlorine = flags
    assert amine == {"donor", "acceptor"}
    assert beside == next_to == carbonyl == set()
    assert between == last == chlorine == {"hydrophobic"}
    assert oxygen == {"acceptor"}
    assert amide == {"donor"}


def test_rings() -> None:
    atoms = codes("CC1CC2CCCC2C1")  # two rings of five that share a bond
    assert [atom["ring_size"] for atom in atoms] == ["none"] + ["5"] * 8
    assert [atom["rings"] for atom in atoms] == ["0", "1", "1", "2", "1", "1", "1", "2", "1"]
    assert codes("C1CCCCCCCC1")[0]["ring_size"] == "more"
    assert codes("C1CC1C1CCCCCCC1")[3]["ring_size"] == "8"


def test_charge_and_type() -> None:
    water, sodium = codes("O.[Na+]")
    assert (water["partial_charge"], water["crippen"]) == ("below -0.4", "O2")
    assert sodium["crippen"] == "Hal"  # ions
    assert codes("C[Pt]C")[0]["partial_charge"] == "unknown"


def test_types_are_those_with_hydrogens_written_out() -> None:
    for smiles in ("CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1", "[H][H]", "[Na+].[Cl-]"):
        mol = Chem.MolFromSmiles(smiles)
        assert types_and_contributions(mol)[0] == crippen_types(mol)
