"""Reading SMILES: what is accepted, and the reason where it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from graphattn.chem import canonical_smiles, parse_smiles
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
]


@pytest.mark.parametrize(("smiles", "reason"), BAD, ids=[ascii(smiles) for smiles, _ in BAD])
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
