"""Wildman–Crippen logP against the published contributions."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from graphattn.chem import crippen_contributions, crippen_logp, from_smiles
from graphattn.errors import InputError

MOLECULES = ["c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "[Na+].CC(=O)[O-]", "[2H]C([2H])Cl"]


def test_benzene_by_hand() -> None:
    # C18, aromatic CH: 0.1581; H1, hydrogen on carbon: 0.1230.
    assert crippen_logp(["c1ccccc1"]) == pytest.approx([6 * 0.1581 + 6 * 0.1230], abs=1e-9)
    assert crippen_logp(["c1ccccc1"]) == pytest.approx([1.6866], abs=1e-9)
    assert crippen_contributions("c1ccccc1") == pytest.approx([0.2811] * 6, abs=1e-9)


def test_methane_by_hand() -> None:
    # C1, CH4 and CH3R: 0.1441; H1: 0.1230.
    assert crippen_contributions("C") == pytest.approx([0.1441 + 4 * 0.1230], abs=1e-9)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_contributions_sum_to_the_total(smiles: str) -> None:
    contributions = crippen_contributions(smiles)
    assert contributions.shape == (from_smiles(smiles).num_nodes,)
    assert contributions.sum() == pytest.approx(Crippen.MolLogP(Chem.MolFromSmiles(smiles)), abs=1e-9)


def test_bad_rows_are_nan() -> None:
    values = crippen_logp(["C", "xyz", None, "CC"])
    assert values.dtype == np.float64
    assert np.isnan(values).tolist() == [False, True, True, False]
    assert crippen_logp([]).shape == (0,)
    with pytest.raises(InputError, match="one string"):
        crippen_logp("CC")
    with pytest.raises(InputError, match="cannot be read"):
        crippen_contributions("xyz")
