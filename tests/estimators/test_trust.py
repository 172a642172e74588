"""What molecule estimators say of how far a prediction can be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphattn import InputError, MoleculeClassifier, MoleculeRegressor
from graphattn.chem import featurise
from graphattn.chem.fingerprints import nearest
from graphattn.estimators.manifest import write_manifest
from graphattn.uncertainty import Noise

SMILES = ["CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCC", "OCCO", "CNC", "CC#N", "C1CCCCC1", "c1ccncc1", "CCCO"]
HELD_OUT = ["C" * length + "O" for length in range(1, 21)]
SMALL = {"channels": 8, "heads": 2, "num_layers": 1, "epochs": 2, "n_jobs": 1}


def lengths(smiles: list[str]) -> list[float]:
    return [float(len(one)) for one in smiles]


@pytest.fixture(scope="module", params=[1, 2])
def fitted(request) -> MoleculeRegressor:
    return MoleculeRegressor(**SMALL, ensemble=request.param).fit(SMILES, lengths(SMILES), valid=(HELD_OUT, lengths(HELD_OUT)))


def test_intervals_hold_their_share_of_the_rows_that_they_come_from(fitted) -> None:
    table = fitted.predict_table(HELD_OUT)
    assert list(table) == ["prediction", "uncertainty", "lower", "upper", "nearest_training", "never_seen", "error"]
    truth = np.array(lengths(HELD_OUT))
    assert ((table.lower <= truth) & (truth <= table.upper)).sum() == 19  # ⌈21 · 0.9⌉ of 20
    np.testing.assert_array_equal(table.prediction, fitted.predict(HELD_OUT))
    np.testing.assert_allclose(table.upper - table.prediction, table.prediction - table.lower)


def test_wider_intervals_for_a_higher_probability(fitted) -> None:
    before = fitted.predict_table(HELD_OUT)
    fitted.predictor_.params["interval"] = 0.5
    half = fitted.predict_table(HELD_OUT)
    fitted.predictor_.params["interval"] = 0.9
    assert (half.upper - half.lower < before.upper - before.lower).all()


def test_what_is_known_of_training(fitted) -> None:
    table = fitted.predict_table([*SMILES[:2], "CCCl", "C1CCC1", "xyz"])
    assert table.nearest_training[:2].tolist() == [1, 1]
    packed = featurise([*SMILES, "CCCl"], cache=None).fingerprints
    assert table.nearest_training[2] == pytest.approx(nearest(packed[-1:], packed[:-1])[0, 0], abs=5e-5)
    assert table.never_seen[:2].tolist() == ["", ""]
    assert table.never_seen[2] == "element=Cl; crippen=Cl"
    assert "ring_size=4" in table.never_seen[3].split("; ")
    bad = table.iloc[4]
    assert bad[["prediction", "uncertainty", "lower", "upper", "nearest_training"]].isna().all()
    assert bad.never_seen == ""
    assert "cannot be read" in bad.error


def test_saved_and_read_again(fitted, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path)
    again = MoleculeRegressor.from_pretrained(tmp_path)
    table, expected = again.predict_table(HELD_OUT), fitted.predict_table(HELD_OUT)
    assert table.equals(expected)


def test_an_ensemble_knows_its_spread() -> None:
    fitted = MoleculeRegressor(**SMALL, ensemble=2).fit(SMILES, lengths(SMILES), valid=(HELD_OUT * 2, lengths(HELD_OUT * 2)))
    noise = fitted.predictor_.noise
    assert noise is not None
    assert len(noise.centre) == 3  # two of likeness, and the spread


def test_without_validation_rows_there_is_no_uncertainty() -> None:
    fitted = MoleculeRegressor(**SMALL, valid_fraction=0.0).fit(SMILES, lengths(SMILES))
    assert list(fitted.predict_table(["CCO"])) == ["prediction", "nearest_training", "never_seen", "error"]


def test_classes_are_calibrated(tmp_path: Path) -> None:
    classes = ["ring" if "1" in smiles else "chain" for smiles in SMILES]
    fitted = MoleculeClassifier(**SMALL).fit(SMILES, classes, valid=(SMILES, classes))
    temperature = fitted.predictor_.temperature
    assert temperature is not None
    raw = fitted._say(SMILES).of_models[0]
    np.testing.assert_array_equal(fitted.predict_proba(SMILES), temperature.apply(raw))
    fitted.save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        MoleculeClassifier.from_pretrained(tmp_path).predict_proba(SMILES), fitted.predict_proba(SMILES)
    )


@pytest.mark.parametrize("change", [{"noise": {**Noise(1.0, [0.0], [], [], []).config(), "rmse": "1"}}, {"temperature": 0}])
def test_damaged_files_are_refused(fitted, tmp_path: Path, change: dict) -> None:
    fitted.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    write_manifest(tmp_path)
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        MoleculeRegressor.from_pretrained(tmp_path)


@pytest.mark.parametrize("interval", [0, 1, -0.1])
def test_an_interval_is_a_probability(interval: float) -> None:
    with pytest.raises(InputError, match="interval must lie between 0 and 1"):
        MoleculeRegressor(interval=interval).check_params()
