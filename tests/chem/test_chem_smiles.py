"""Reading SMILES: what is accepted, and the reason where it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from graphattn.chem import canonical_smiles, from_smiles, parse_smiles, scaffold
from graphattn.chem.smiles import MOST_ATOMS, names_after
from graphattn.errors import InputError

BAD = [
    ("", "SMILES is empty"),
    (" \t\n", "SMILES is empty"),
    (None, "SMILES is empty"),
    (float("nan"), "SMILES is empty"),
    (np.float64("nan"), "SMILES is empty"),
    (pd.NA, "SMILES is empty"),
    (7, "SMILES is not text but int"),
    ("C1CC", "cannot be read"),
    ("C==C", "cannot be read"),
    ("nan", "cannot be read"),
    (".", "cannot be read"),
    ("CO(C)C", "impossible molecule: Explicit valence for atom # 1 O, 3, is greater than permitted"),
    ("c1cccc1", "impossible molecule: Can't kekulize mol. Unkekulized atoms: 0 1 2 3 4"),
    ("C\N{MINUS SIGN}C", r"character '\u2212', which is not ASCII"),
    ("C\ud800", r"character '\ud800', which is not ASCII"),
    ("CCO\N{EN DASH}", r"character '\u2013', which is not ASCII"),
    ("CCO\N{EN DASH} ethanol", r"character '\u2013', which is not ASCII"),
    ("[#119]", "RDKit cannot describe this molecule: Atomic number not found"),
    ("[#200]", "RDKit cannot describe this molecule"),
    ("C[#255]C", "RDKit cannot describe this molecule"),
    ("[C-200]", "SMILES has the atom [C-200], whose charge is out of range"),
    ("C" * 20_000, "SMILES has 20,000 atoms; molecules of up to 5,000 are read"),
    ("C" * 131_000, "SMILES has 131,000 characters; molecules of up to 5,000 atoms are read"),
]


@pytest.mark.parametrize(("smiles", "reason"), BAD, ids=[ascii(smiles)[:30] for smiles, _ in BAD])
def test_bad_smiles_has_a_reason_and_a_silent_log(smiles: object, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_smiles(smiles)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert canonical_smiles(smiles) is None
    assert capfd.readouterr() == ("", "")


def test_syntax_errors_are_located() -> None:
    rd_base = pytest.importorskip("rdkit.rdBase")
    if not hasattr(rd_base, "CaptureErrorLog"):
        pytest.skip("this RDKit cannot capture its log")
    with pytest.raises(InputError, match=r"^SMILES cannot be read: unclosed ring; given 'C1CC'$"):
        parse_smiles("C1CC")
    with pytest.raises(InputError, match=r"^SMILES cannot be read: syntax error near character 3; given 'C==C'$"):
        parse_smiles("C==C")


def test_a_long_smiles_is_cut_in_the_message() -> None:
    with pytest.raises(InputError) as error:
        parse_smiles("C" * 1000 + "1")
    assert len(str(error.value)) < 150


def test_good_smiles() -> None:
    assert parse_smiles("OCC").GetNumAtoms() == 3
    assert parse_smiles(np.str_(" CCO ")).GetNumAtoms() == 3
    assert parse_smiles("CCO ethanol").GetNumAtoms() == 3
    assert parse_smiles("[H]C([H])([H])[H]").GetNumAtoms() == 1
    assert canonical_smiles("OCC") == canonical_smiles("C(O)C") == "CCO"


def test_the_largest_molecule_that_is_read() -> None:
    chain = "C" * MOST_ATOMS
    assert from_smiles(chain).num_nodes == MOST_ATOMS
    assert canonical_smiles(chain) == chain


def test_names_after_a_smiles() -> None:
    """A CXSMILES extension is no name, nor is white space around the SMILES."""
    rows = ["CC O", "CCO", "CCO |$a;b;c$|", " CCO ", None, "CC\tethane", float("nan"), 7]
    assert names_after(rows) == [0, 5]
    assert canonical_smiles("CC O") == "CC"


def test_scaffolds_of_large_molecules() -> None:
    """Benzyls on both ends of a chain, with more atoms than RDKit cuts in reasonable time; side chains go, their =O stay."""
    middle = "C(CCCC)" * 60
    assert scaffold(f"c1ccccc1{middle}c1ccccc1") == f"c1ccc({'C' * 60}c2ccccc2)cc1"
    assert scaffold(f"Cn1cccc1{middle}C(=O)c1ccncc1") == f"O=C({'C' * 60}c1ccc[nH]1)c1ccncc1"
    assert scaffold("C" * 200) == ""
    assert scaffold(f"C[C@H]1CCCN1{middle}C") == "C1CCNC1"
