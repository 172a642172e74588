"""The columns of atoms and bonds, held against molecules worked out by hand."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from graphattn.chem.features import (
    ATOM_FEATURES,
    ATOM_WIDTH,
    BOND_FEATURES,
    BOND_WIDTH,
    atom_feature_names,
    bond_feature_names,
    concatenate,
    featurise_chunk,
    one_hot,
)


def atoms(smiles: str) -> list[set[str]]:
    """The names of the columns that are 1, atom by atom."""
    arrays = featurise_chunk([smiles])
    assert not arrays.errors
    names = np.array(atom_feature_names())
    return [set(names[row == 1].tolist()) for row in one_hot(arrays.atoms, ATOM_FEATURES)]


def bonds(smiles: str) -> dict[tuple[int, int], set[str]]:
    """(source, target) → the names of the columns that are 1."""
    arrays = featurise_chunk([smiles])
    names = np.array(bond_feature_names())
    rows = one_hot(arrays.bonds, BOND_FEATURES)
    return {
        (int(source), int(target)): set(names[row == 1].tolist())
        for source, target, row in zip(*arrays.edge_index, rows, strict=True)
    }


def test_names_and_widths() -> None:
    assert ATOM_WIDTH == len(atom_feature_names()) == len(set(atom_feature_names()))
    assert BOND_WIDTH == len(bond_feature_names()) == 5 + 1 + 1 + 4
    assert atom_feature_names()[0] == "element=H"
    first = atom_feature_names().index("chirality=none")
    assert atom_feature_names()[first : first + 6] == [f"chirality={label}" for label in ("none", "R", "S", "r", "s", "other")]
    assert bond_feature_names()[:2] == ["type=single", "type=double"]
    assert ATOM_FEATURES["element"][-1] == "other"


def test_ethanol_by_hand() -> None:
    arrays = featurise_chunk(["CCO"])
    carbon, oxygen = ATOM_FEATURES["element"].index("C"), ATOM_FEATURES["element"].index("O")
    # element, degree, charge (0 is third), hydrogens, hybridisation (SP3 is fourth), aromatic, ring, chirality
    expected = [[carbon, 1, 2, 3, 3, 0, 0, 0], [carbon, 2, 2, 2, 3, 0, 0, 0], [oxygen, 1, 2, 1, 3, 0, 0, 0]]
    assert arrays.atoms[:, :8].tolist() == expected  # the others: tests/chem/test_chem_surroundings.py
    assert arrays.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert arrays.bonds.tolist() == [[0, 0, 0, 0]] * 4
    assert arrays.atom_ptr.tolist() == [0, 3]
    assert arrays.edge_ptr.tolist() == [0, 4]
    assert [array.dtype for array in arrays[:5]] == [np.uint8, np.int64, np.int32, np.uint8, np.int64]


def test_one_hot_is_one_column_per_value_and_flags_are_one_column() -> None:
    codes = np.array([[0, 1, 0, 3], [4, 0, 1, 0]], dtype=np.uint8)
    assert one_hot(codes, BOND_FEATURES).tolist() == [
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0],
    ]
    assert one_hot(codes, BOND_FEATURES).dtype == np.uint8


def test_aromatic_and_charged_atoms() -> None:
    pyridinium = atoms("c1cc[nH+]cc1")
    assert pyridinium[3] >= {
        "element=N", "degree=2", "charge=1", "hydrogens=1", "hybridisation=SP2", "aromatic", "ring", "chirality=none",
    }  # fmt: skip
    assert "charge=-1" in atoms("CC(=O)[O-]")[3]
    assert "charge=2" in atoms("[Ca+2]")[0]
    assert "charge=-2" in atoms("[O-2]")[0]
    assert "charge=other" in atoms("[Al+3]")[0]
    assert bonds("c1ccccc1")[0, 1] == {"type=aromatic", "conjugated", "ring", "stereo=none"}


def test_hybridisation_degree_and_hydrogens() -> None:
    assert [next(name for name in atom if name.startswith("hybridisation")) for atom in atoms("C#CC=CC")] == [
        "hybridisation=SP", "hybridisation=SP", "hybridisation=SP2", "hybridisation=SP2", "hybridisation=SP3",
    ]  # fmt: skip
    assert atoms("FS(F)(F)(F)(F)F")[1] >= {"degree=more", "hybridisation=SP3D2"}
    assert atoms("FP(F)(F)(F)F")[1] >= {"degree=5", "hybridisation=SP3D"}
    assert atoms("C")[0] >= {"degree=0", "hydrogens=4"}
    assert "hydrogens=more" in atoms("[SiH6-2]")[0]


def test_chirality_is_the_cip_label() -> None:
    # L-alanine is S and D-alanine is R, however they are written: N first or COOH first.
    for l_alanine in ("C[C@H](N)C(=O)O", "N[C@@H](C)C(=O)O"):
        assert [atom & {"chirality=R", "chirality=S"} for atom in atoms(l_alanine)].count({"chirality=S"}) == 1
    assert "chirality=R" in atoms("C[C@@H](N)C(=O)O")[1]
    assert "chirality=none" in atoms("CC(N)C(=O)O")[1]
    # The two 4-methylcyclohexanols differ in pseudoasymmetric centres alone.
    cis, trans = atoms("C[C@H]1CC[C@@H](O)CC1"), atoms("C[C@H]1CC[C@H](O)CC1")
    assert {"chirality=r", "chirality=s"} & cis[1] != {"chirality=r", "chirality=s"} & trans[1]


def test_bond_stereo_and_type() -> None:
    assert bonds("F/C=C/F")[1, 2] == {"type=double", "stereo=E"}
    assert bonds(r"F/C=C\F")[1, 2] == {"type=double", "stereo=Z"}
    assert bonds("FC=CF")[1, 2] == {"type=double", "stereo=none"}
    assert bonds("C#N")[0, 1] == {"type=triple", "stereo=none"}
    assert bonds("C=CC=C")[1, 2] == {"type=single", "conjugated", "stereo=none"}
    assert "type=other" in bonds("C$C")[0, 1]  # a quadruple bond


@pytest.mark.parametrize("smiles", ["[U]", "*", "[He]"])
def test_an_element_outside_the_list_is_other(smiles: str) -> None:
    assert "element=other" in atoms(smiles)[0]


def test_unusual_shapes() -> None:
    single = featurise_chunk(["C"])
    assert (len(single.atoms), single.edge_index.shape, single.bonds.shape) == (1, (2, 0), (0, 4))
    salt = featurise_chunk(["[Na+].CC"])
    assert salt.edge_index.tolist() == [[2, 1], [1, 2]]
    chain = featurise_chunk(["C" * 500])
    assert (len(chain.atoms), chain.edge_index.shape) == (500, (2, 998))
    assert single.errors == salt.errors == chain.errors == {}


def test_edges_are_sorted_and_both_ways() -> None:
    source, target = featurise_chunk(["c1ccc2ccccc2c1"]).edge_index
    assert len(source) == 22  # naphthalene has 11 bonds
    pairs = list(zip(target.tolist(), source.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert {(j, i) for i, j in pairs} == set(pairs)


def test_bad_rows_keep_their_place() -> None:
    arrays = featurise_chunk(["C", "xyz", None, "CC"])
    assert arrays.atom_ptr.tolist() == [0, 1, 1, 1, 3]
    assert arrays.edge_ptr.tolist() == [0, 0, 0, 0, 2]
    assert sorted(arrays.errors) == [1, 2]
    assert arrays.errors[2] == "SMILES is empty"


def test_chunks_together_are_the_whole() -> None:
    smiles = ["CCO", "bad", "c1ccccc1", "", "C", "C.C"]
    whole = featurise_chunk(smiles)
    for cut in range(len(smiles) + 1):
        joined = concatenate([featurise_chunk(smiles[:cut]), featurise_chunk(smiles[cut:])])
        for one, other in zip(joined[:5], whole[:5], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        assert joined.errors == whole.errors
    assert concatenate([]).atom_ptr.tolist() == [0]


def test_the_way_a_molecule_is_written_does_not_matter(real_data: Path) -> None:
    """Features and neighbourhoods are the same for a SMILES written in a random order."""
    table = pd.read_csv(real_data / "lipophilicity" / "Lipophilicity.csv")
    stereo = table["smiles"][table["smiles"].str.contains(r"[@/\\]")]
    rng = random.Random(0)
    for text in rng.sample(stereo.tolist(), 150):
        other = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(text), 1, randomSeed=rng.randrange(1000))[0]
        assert neighbourhoods(text) == neighbourhoods(other)


def neighbourhoods(smiles: str) -> Counter[tuple[object, ...]]:
    arrays = featurise_chunk([smiles])
    codes = [tuple(row) for row in arrays.atoms.tolist()]
    around: list[list[object]] = [[] for _ in codes]
    for source, target, bond in zip(*arrays.edge_index.tolist(), arrays.bonds.tolist(), strict=True):
        around[target].append((codes[source], tuple(bond)))
    return Counter((code, *sorted(neighbours)) for code, neighbours in zip(codes, around, strict=True))


def test_the_featuriser_does_not_import_torch() -> None:
    code = "import sys, graphattn.chem, graphattn.chem.features; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
