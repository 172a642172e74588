"""Ensembles: members differ by their seed alone, and are the same however they are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphattn import InputError, MoleculeClassifier, MoleculeRegressor

SMILES = ["CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCl", "CCCC", "OCCO", "CNC", "CC#N", "C1CCCCC1", "c1ccncc1"]
VALUES = [float(len(smiles)) for smiles in SMILES]
SMALL = {"channels": 8, "heads": 2, "num_layers": 1, "epochs": 2, "batch_size": 4}
VALID = (SMILES[:4], VALUES[:4])


def regressor(**options) -> MoleculeRegressor:
    return MoleculeRegressor(**{**SMALL, "n_jobs": 1, "seed": 3, **options})


@pytest.fixture(scope="module")
def ensemble() -> MoleculeRegressor:
    return regressor(ensemble=2).fit(SMILES, VALUES, valid=VALID)


def test_predictions_are_the_mean_of_models_of_consecutive_seeds(ensemble) -> None:
    single = [regressor(seed=seed).fit(SMILES, VALUES, valid=VALID) for seed in (3, 4)]
    outputs = np.stack([model.predict(SMILES) for model in single])
    assert not np.array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(ensemble.predict(SMILES), outputs.mean(axis=0))
    assert len(ensemble.models_) == 2
    assert [row["member"] for row in ensemble.history_] == [0, 0, 1, 1]


def test_probabilities_are_averaged_and_calibrated() -> None:
    classes = ["long" if value > 4 else "short" for value in VALUES]
    fitted = [
        MoleculeClassifier(**SMALL, n_jobs=1, seed=seed, ensemble=count).fit(SMILES, classes, valid=(SMILES, classes))
        for seed, count in ((0, 2), (0, 1), (1, 1))
    ]
    both, *single = [model._say(SMILES).of_models for model in fitted]
    np.testing.assert_array_equal(both, np.concatenate(single))
    calibrated = fitted[0].predictor_.temperature.apply(both.mean(axis=0))
    np.testing.assert_array_equal(fitted[0].predict_proba(SMILES), calibrated)


def test_trained_beside_each_other_they_are_the_same(ensemble) -> None:
    reports = []
    beside = regressor(ensemble=2, n_jobs=2).fit(SMILES, VALUES, valid=VALID, report=reports.append)
    np.testing.assert_array_equal(beside.predict(SMILES), ensemble.predict(SMILES))
    assert beside.history_ == ensemble.history_
    assert {(report.member, report.members) for report in reports} == {(0, 2), (1, 2)}
    assert max(report.epoch for report in reports) == 2


def test_an_error_of_a_process_is_the_error() -> None:
    with pytest.raises(InputError, match="the training loss is"):
        regressor(ensemble=2, n_jobs=2, learning_rate=1e30, epochs=5).fit(SMILES, VALUES, valid=VALID)


def test_saved_and_read_again(ensemble, tmp_path: Path) -> None:
    ensemble.save_pretrained(tmp_path)
    again = MoleculeRegressor.from_pretrained(tmp_path)
    assert again.ensemble == 2
    np.testing.assert_array_equal(again.predict(SMILES), ensemble.predict(SMILES))


def test_a_resumed_ensemble_is_the_uninterrupted_one(ensemble, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def stop_in_the_second(report) -> None:
        if (report.member, report.epoch) == (1, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        regressor(ensemble=2).fit(SMILES, VALUES, valid=VALID, checkpoint=checkpoint, report=stop_in_the_second)
    reports = []
    resumed = regressor(ensemble=2).fit(SMILES, VALUES, valid=VALID, checkpoint=checkpoint, report=reports.append)
    assert [(report.member, report.epoch) for report in reports] == [(1, 1), (1, 2)]  # the first was done
    np.testing.assert_array_equal(resumed.predict(SMILES), ensemble.predict(SMILES))


def test_vectors_of_its_models_side_by_side(ensemble) -> None:
    vectors = ensemble.embed(["CCO", "xyz"])
    single = regressor().fit(SMILES, VALUES, valid=VALID)
    assert vectors.shape == (2, 2 * 4 * 8)  # two models, four pools, eight channels
    np.testing.assert_array_equal(vectors[:, :32], single.embed(["CCO", "xyz"]))
    assert np.isnan(vectors[1]).all()


@pytest.mark.parametrize("count", [0, 1.5, 101])
def test_numbers_of_models(count: float) -> None:
    with pytest.raises(InputError, match="ensemble must be"):
        regressor(ensemble=count).check_params()
