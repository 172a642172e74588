from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from graphattn import InputError, MoleculeClassifier, MoleculeRegressor
from graphattn.chem import BOND_WIDTH
from graphattn.train import TrainOptions

# Ten small molecules and their Wildman-Crippen logP.
SMILES = ["CCO", "CCCC", "c1ccccc1", "CC(=O)O", "CCN", "CCCl", "c1ccncc1", "OCC(O)CO", "CCCCCCCC", "CC(C)=O"]
LOGP = [-0.0014, 1.8064, 1.6866, 0.0909, -0.035, 1.2453, 1.0816, -1.6681, 3.3668, 0.5953]
SMALL = {"channels": 16, "num_layers": 2, "heads": 2, "epochs": 3, "valid_fraction": 0.0, "dropout": 0.0}


@pytest.fixture(scope="module")
def fitted():
    return MoleculeRegressor(**SMALL).fit(SMILES, LOGP)


def test_ten_molecules_are_learnt_to_near_zero_error():
    params = {**SMALL, "channels": 64, "epochs": 150, "batch_size": 10, "learning_rate": 3e-3}
    model = MoleculeRegressor(**params).fit(SMILES, LOGP)
    assert np.abs(model.predict(SMILES) - LOGP).max() < 0.05


def test_ten_molecules_are_classified():
    params = {**SMALL, "epochs": 80, "batch_size": 10, "learning_rate": 3e-3}
    labels = ["greasy" if value > 1 else "watery" for value in LOGP]
    model = MoleculeClassifier(**params).fit(SMILES, labels)
    assert model.predict(SMILES).tolist() == labels
    assert model.score(SMILES, labels) == 1.0
    assert model.classes_.tolist() == ["greasy", "watery"]
    np.testing.assert_allclose(model.predict_proba(SMILES).sum(axis=1), 1.0)


def test_same_seed_same_model_bitwise(fitted):
    again = MoleculeRegressor(**SMALL).fit(SMILES, LOGP)
    other = MoleculeRegressor(**SMALL, seed=1).fit(SMILES, LOGP)
    assert np.array_equal(fitted.predict(SMILES), again.predict(SMILES))
    assert not np.allclose(fitted.predict(SMILES), other.predict(SMILES))


def test_fit_leaves_the_random_numbers_of_the_caller_alone():
    state = torch.get_rng_state()
    MoleculeRegressor(**SMALL).fit(SMILES, LOGP)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_prediction_does_not_depend_on_the_other_rows(fitted):
    together = fitted.predict(SMILES)
    alone = np.concatenate([fitted.predict([text]) for text in SMILES])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", ["C1CC", "", "   ", None, float("nan"), "C(C)(C)(C)(C)C"])
def test_a_bad_smiles_keeps_its_row(fitted, bad):
    fitted = marking(fitted)
    with pytest.warns(UserWarning, match="1 of 3 SMILES cannot be predicted, such as row 1, "):
        prediction = fitted.predict(["CCO", bad, "CCCC"])
    assert np.isnan(prediction).tolist() == [False, True, False]
    np.testing.assert_allclose(prediction[[0, 2]], fitted.predict(["CCO", "CCCC"]), rtol=1e-5)
    assert list(fitted.outputs(["CCO", bad])[1]) == [1]


def marking(model, on_error="nan"):
    """The same fitted model with another `on_error`."""
    return copy.copy(model).set_params(on_error=on_error)


def test_a_bad_smiles_gets_the_mean_by_default(fitted):
    with pytest.warns(
        UserWarning, match=r"1 of 2 SMILES cannot be predicted, such as row 1, 'C1CC': .*they get the mean of the rows"
    ):
        prediction = fitted.predict(["CCO", "C1CC"])
    assert prediction.tolist() == [fitted.predict(["CCO"])[0], pytest.approx(np.mean(LOGP))]
    with pytest.raises(InputError, match="1 of 2 SMILES cannot be predicted, such as row 1, 'C1CC'"):
        marking(fitted, "raise").predict(["CCO", "C1CC"])
    with pytest.raises(InputError, match="on_error must be one of mean, nan, raise, got 'skip'"):
        MoleculeRegressor(on_error="skip").fit(SMILES, LOGP)


@pytest.mark.filterwarnings("ignore:.*SMILES.*:UserWarning")
def test_scikit_learns_scores_are_finite_where_a_smiles_is_bad():
    smiles, values = [*SMILES, "C1CC", "nonsense"], [*LOGP, 0.5, 1.0]
    scoring = ["neg_root_mean_squared_error", "r2"]
    search = GridSearchCV(MoleculeRegressor(**SMALL), {"epochs": [1, 3]}, scoring=scoring, refit=scoring[0], cv=2)
    search.fit(smiles, values)
    assert all(np.isfinite(search.cv_results_[f"mean_test_{name}"]).all() for name in scoring)
    labels = ["greasy" if value > 0.7 else "watery" for value in values]
    model = MoleculeClassifier(**SMALL)
    for name in ("accuracy", "roc_auc", "neg_log_loss"):
        assert np.isfinite(cross_val_score(model, smiles, labels, scoring=name, cv=StratifiedKFold(2))).all()


@pytest.mark.parametrize("smiles", ["C", "[Na+].[Cl-]", "C.C", "[Og]", "C" * 500])
def test_odd_molecules_are_predicted(fitted, smiles):
    assert np.isfinite(fitted.predict([smiles])).all()


def test_rdkit_molecules_and_bytes_are_smiles(fitted):
    from rdkit import Chem

    expected = fitted.predict(SMILES)
    assert np.array_equal(fitted.predict([text.encode() for text in SMILES]), expected)
    np.testing.assert_allclose(fitted.predict([Chem.MolFromSmiles(text) for text in SMILES]), expected, rtol=1e-5, atol=1e-6)
    assert marking(fitted).outputs([Chem.Mol()])[1] == {0: "SMILES is empty"}


def test_a_table_of_one_column_is_a_target(fitted):
    frame = pd.DataFrame({"logp": LOGP, "other": LOGP})
    assert np.array_equal(MoleculeRegressor(**SMALL).fit(SMILES, frame[["logp"]]).predict(SMILES), fitted.predict(SMILES))
    with pytest.raises(InputError, match=r"one entry for each of the 10 SMILES, got shape \[10, 2\]"):
        MoleculeRegressor(**SMALL).fit(SMILES, frame)


def test_bad_validation_rows_are_said():
    with pytest.warns(UserWarning, match="1 of 2 SMILES of valid cannot be read and are left out, such as row 0, 'Q'"):
        MoleculeRegressor(**SMALL).fit(SMILES, LOGP, valid=(["Q", "CCC"], [1.0, 1.0]))
    with pytest.raises(InputError, match="none of the 1 rows of valid can be used"):
        MoleculeRegressor(**SMALL).fit(SMILES, LOGP, valid=(["Q"], [1.0]))
    with pytest.raises(InputError, match="1 of 11 SMILES of smiles cannot be read, such as row 10, 'Q'"):
        MoleculeRegressor(**SMALL, on_error="raise").fit([*SMILES, "Q"], [*LOGP, 1.0])


def test_bad_rows_are_left_out_of_training(fitted):
    with pytest.warns(
        UserWarning, match="1 of 11 SMILES of smiles cannot be read and are left out, such as row 10, 'nonsense'"
    ):
        model = MoleculeRegressor(**SMALL).fit([*SMILES, "nonsense"], [*LOGP, 1.0])
    assert list(model.excluded_) == [10]
    assert np.array_equal(model.predict(SMILES), fitted.predict(SMILES))


def test_no_rows(fitted):
    assert fitted.predict([]).shape == (0,)


def test_classifier_marks_bad_rows():
    model = MoleculeClassifier(**SMALL).fit(SMILES, [0, 1] * 4 + [1, 1])
    with pytest.warns(UserWarning, match="they get the majority of the rows trained on"):
        assert model.predict_proba(["CCO", "bad"])[1].tolist() == [0.4, 0.6]
    model.on_error = "nan"
    with pytest.warns(UserWarning, match="1 of 2 SMILES cannot be predicted"):
        labels = model.predict(["CCO", "bad"])
    assert labels.dtype == object
    assert labels[0] in (0, 1)
    assert np.isnan(labels[1])
    assert np.isnan(model.outputs(["CCO", "bad"])[0][1]).all()
    assert model.predict(["CCO"]).dtype == model.classes_.dtype
    assert model.score([*SMILES, "bad"], [0, 1] * 5 + [1]) == model.score(SMILES, [0, 1] * 5)


def test_score_is_r2_of_the_rows_that_can_be_predicted(fitted):
    assert fitted.score([*SMILES, "bad"], [*LOGP, 0.0]) == pytest.approx(fitted.score(SMILES, LOGP))
    errors = fitted.predict(SMILES) - LOGP
    expected = 1 - (errors**2).sum() / ((np.array(LOGP) - np.mean(LOGP)) ** 2).sum()
    assert fitted.score(SMILES, LOGP) == pytest.approx(expected)


def test_it_is_a_scikit_learn_estimator():
    model = MoleculeRegressor(**SMALL, seed=3)
    assert clone(model).get_params() == model.get_params()
    scores = cross_val_score(MoleculeRegressor(**SMALL), SMILES, LOGP, cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
    assert copy.deepcopy(model).set_params(epochs=1).epochs == 1


@pytest.mark.parametrize("wrap", [list, tuple, np.array, pd.Series])
def test_any_list_of_smiles_will_do(fitted, wrap):
    assert np.array_equal(fitted.predict(wrap(SMILES)), fitted.predict(SMILES))
    assert np.array_equal(MoleculeRegressor(**SMALL).fit(wrap(SMILES), wrap(LOGP)).predict(SMILES), fitted.predict(SMILES))


def test_predict_before_fit():
    with pytest.raises(NotFittedError, match="call fit or from_pretrained first"):
        MoleculeRegressor().predict(["C"])
    with pytest.raises(NotFittedError):
        MoleculeRegressor().save_pretrained("nowhere")


@pytest.mark.parametrize(
    ("smiles", "y", "message"),
    [
        ("CCO", [1.0], "must be a list of SMILES"),
        (["CCO", "C"], [1.0], "one entry for each of the 2 SMILES"),
        (["CCO", "C"], [1.0, float("nan")], "1 that are NaN or infinite"),
        (["CCO", "C"], ["high", "low"], "a classifier takes labels"),
        (["x", ""], [1.0, 2.0], "none of the 2 rows of smiles can be used"),
        ([], [], "there are no rows"),
    ],
)
def test_bad_training_rows(smiles, y, message):
    with pytest.raises(InputError, match=message):
        MoleculeRegressor(**SMALL).fit(smiles, y)


def test_bad_classes():
    with pytest.raises(InputError, match="at least two classes to train on, got only 'a'"):
        MoleculeClassifier(**SMALL).fit(["C", "CC"], ["a", "a"])
    with pytest.raises(InputError, match="1 missing labels"):
        MoleculeClassifier(**SMALL).fit(["C", "CC"], ["a", None])
    with pytest.raises(InputError, match="1 missing labels"):
        MoleculeClassifier(**SMALL).fit(["C", "CC", "CCC"], ["a", "b", float("nan")])


def test_a_class_that_only_a_validation_row_has():
    model = MoleculeClassifier(**SMALL).fit(["C", "CC"], ["a", "b"], valid=(["CCC"], ["c"]))
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.predict_proba(["C"]).shape == (1, 3)


def test_numbers_among_text_are_text():
    model = MoleculeClassifier(**SMALL).fit(SMILES, ["a", 1] * 5, valid=(["C", "CC"], [1, 1]))
    assert model.classes_.tolist() == ["1", "a"]
    assert model.score(["C"], [1]) in (0.0, 1.0)


@pytest.mark.parametrize("labels", [[0, 1], [True, False]])
def test_labels_in_an_array_of_objects(labels):
    values = np.array(labels * 5, dtype=object)
    model = MoleculeClassifier(**SMALL).fit(SMILES, values)
    assert sorted(model.classes_.tolist()) == sorted(labels)
    assert model.score(SMILES, values) == model.score(SMILES, labels * 5)


@pytest.mark.parametrize("table", [pd.DataFrame({"smiles": SMILES}), np.array(SMILES)[:, None], {"CCO": 1}])
def test_a_table_is_not_a_list_of_smiles(fitted, table):
    with pytest.raises(InputError, match="one column of a table, got a"):
        fitted.predict(table)


def test_a_value_that_is_not_finite_is_an_error_of_its_row(fitted):
    broken = copy.deepcopy(fitted)
    with torch.no_grad():
        broken.model_.head.mlp[-1].bias.fill_(float("inf"))
    prediction, errors = broken.outputs(["CCO"])
    assert np.isnan(prediction).all()
    assert errors == {0: "the model gives no finite value"}


def test_one_string_is_not_a_list_of_smiles(fitted):
    with pytest.raises(InputError, match="the one string 'CCO'"):
        fitted.predict("CCO")


def test_numpy_parameters_are_saved(tmp_path):
    model = MoleculeRegressor(**{**SMALL, "epochs": np.int64(2), "dropout": np.float64(0.0)}).fit(SMILES, LOGP)
    model.save_pretrained(tmp_path)
    assert MoleculeRegressor.from_pretrained(tmp_path).get_params()["epochs"] == 2


@pytest.mark.parametrize("seed", [-1, 0.5, 2**63])
def test_bad_seed(seed):
    with pytest.raises(InputError, match="seed must be a whole number from 0 up"):
        MoleculeRegressor(**SMALL, seed=seed).fit(SMILES, LOGP)


def test_a_checkpoint_of_other_data_is_refused(tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(
        MoleculeRegressor, "_train_options", lambda self: TrainOptions(epochs=3, learning_rate=1e-3, checkpoint_seconds=0.0)
    )
    MoleculeRegressor(**SMALL).fit(SMILES, LOGP, checkpoint=checkpoint)
    for seed, y in ((1, LOGP), (0, [2 * value for value in LOGP])):
        with pytest.raises(InputError, match="other options or data"):
            MoleculeRegressor(**SMALL, seed=seed).fit(SMILES, y, checkpoint=checkpoint)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0:0", "cpu:2", "mps:1"])
def test_bad_device(device):
    with pytest.raises(InputError, match="device must be"):
        MoleculeRegressor(**SMALL, device=device).fit(SMILES, LOGP)


@pytest.mark.parametrize("attention", ["full", ["masked", "full"]])
@pytest.mark.parametrize("encodings", [{}, {"random_walk": 4, "degree": 1, "laplacian": 2}])
def test_options_reach_the_model_and_the_disk(tmp_path, attention, encodings):
    smiles = [*SMILES, "C", "C.C"]
    model = MoleculeRegressor(**SMALL, attention=attention, encodings=encodings, readout="attention")
    model.fit(smiles, [*LOGP, 0.6, 1.2])
    model.save_pretrained(tmp_path / "model")
    again = MoleculeRegressor.from_pretrained(tmp_path / "model")
    assert np.array_equal(again.predict(smiles), model.predict(smiles))
    assert again.get_params() == {**model.get_params(), "encodings": encodings}


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "masked+full", "biases": {"distance": 3, "edge": BOND_WIDTH}},
        {"attention": "pair", "biases": {"relative_walk": 4, "resistance": 2}, "encodings": {}},
        {"extra_edges": {"k_hop": 2, "expander": 3, "virtual": 1}, "readout": "virtual"},
        {"attention": ["sgformer", "masked+performer"], "encodings": {"sign_invariant": 3, "laplacian": 3, "cycles": 4}},
    ],
    ids=["biases", "pair", "edges", "linear"],
)
def test_what_is_known_of_structure_reaches_the_disk(tmp_path, options):
    smiles = [*SMILES, "C", "C.C"]
    model = MoleculeRegressor(**{**SMALL, "num_layers": 2, **options}).fit(smiles, [*LOGP, 0.6, 1.2])
    model.save_pretrained(tmp_path / "model")
    again = MoleculeRegressor.from_pretrained(tmp_path / "model")
    assert np.array_equal(again.predict(smiles), model.predict(smiles))
    assert again.get_params() == model.get_params()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"biases": ["distance"]}, r"biases must be a mapping, name → number, got \['distance'\]"),
        ({"biases": {"distance": 0}}, "biases 'distance' must be a whole number of at least 1, got 0"),
        ({"biases": {"angle": 3}}, "biases must be among distance, relative_walk, resistance, edge, got 'angle'"),
        ({"extra_edges": {"expander": 2}}, "extra_edges 'expander' must be a whole number of at least 3, got 2"),
        ({"biases": {"distance": 3}}, "biases are of pairs of nodes"),
        ({"attention": "full", "biases": {"edge": 3}}, "the bias 'edge' must have as many columns as edge_dim, got 3 and "),
    ],
)
def test_structure_that_does_not_fit(params, message):
    with pytest.raises(InputError, match=f"^{message}"):
        MoleculeRegressor(**{**SMALL, **params}).fit(SMILES, LOGP)


def test_saved_files(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "manifest.json", "model.safetensors"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["estimator"] == "MoleculeRegressor"
    assert config["format"] == 3
    assert "device" not in config["params"]


@pytest.mark.parametrize("labels", [["a", "b"], [3, 7], [True, False], [0.5, 1.5]])
def test_classes_survive_the_disk(tmp_path, labels):
    model = MoleculeClassifier(**SMALL).fit(SMILES, labels * 5)
    model.save_pretrained(tmp_path)
    again = MoleculeClassifier.from_pretrained(tmp_path)
    assert again.classes_.dtype.kind == model.classes_.dtype.kind
    assert again.predict(SMILES).tolist() == model.predict(SMILES).tolist()


def test_early_stopping_holds_rows_out():
    model = MoleculeRegressor(**{**SMALL, "valid_fraction": 0.3, "epochs": 4}).fit(SMILES, LOGP)
    assert all("valid_rmse" in row for row in model.history_)
    given = MoleculeRegressor(**SMALL).fit(SMILES[:7], LOGP[:7], valid=(SMILES[7:], LOGP[7:]))
    errors = given.predict(SMILES[7:]) - LOGP[7:]
    best = min(row["valid_rmse"] for row in given.history_)
    assert np.sqrt((errors**2).mean()) == pytest.approx(best, rel=1e-4)


def test_mixed_precision_trains(fitted):
    mixed = MoleculeRegressor(**SMALL, precision="bf16-mixed").fit(SMILES, LOGP)
    np.testing.assert_allclose(mixed.predict(SMILES), fitted.predict(SMILES), atol=0.1)
    assert not np.array_equal(mixed.predict(SMILES), fitted.predict(SMILES))
    with pytest.raises(InputError, match="precision must be one of 32-true, bf16-mixed, got '12-bit'"):
        MoleculeRegressor(**SMALL, precision="12-bit").fit(SMILES, LOGP)


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_another_loss_and_metric(metric: str) -> None:
    smiles = ["C" * length for length in range(1, 13)]
    model = MoleculeRegressor(channels=8, heads=2, num_layers=1, epochs=2, loss="huber", metric=metric)
    model.fit(smiles, list(map(float, range(12))), valid=(smiles, list(map(float, range(12)))))
    assert all(f"valid_{metric}" in row for row in model.history_)
    if metric == "r2":
        assert model.history_[0]["valid_r2"] < 1
    with pytest.raises(InputError, match="metric must be one of rmse, mae, r2 for regression, got 'accuracy'"):
        MoleculeRegressor(metric="accuracy").fit(smiles, list(range(12)))


SHORT = {"channels": 8, "heads": 2, "num_layers": 1, "epochs": 3, "batch_size": 4}


def test_a_row_without_weight_teaches_nothing() -> None:
    """A target behind a weight of 0 does not matter; the same weight everywhere is none."""
    smiles = ["C" * length for length in range(1, 13)]
    values = list(map(float, range(12)))
    valid = (smiles, values)

    def fitted(targets: list[float], weight: list[float] | None) -> np.ndarray:
        model = MoleculeClassifier(**SHORT) if isinstance(targets[0], str) else MoleculeRegressor(**SHORT)
        return model.fit(smiles, targets, sample_weight=weight, valid=valid).outputs(smiles)[0]

    some = [0.0, *[1.0] * 11]
    # Swapping two targets of equal mean and deviation: only the rows without weight see it.
    swapped = [values[1], values[0], *values[2:]]
    both = [0.0, 0.0, *[1.0] * 10]
    np.testing.assert_array_equal(fitted(values, both), fitted(swapped, both))
    assert not np.array_equal(fitted(values, some), fitted(values, None))
    np.testing.assert_allclose(fitted(values, [3.0] * 12), fitted(values, None), rtol=1e-4)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], "one entry for each of the 3 rows"),
        ([1.0, -1.0, 1.0], "finite and not negative, got 1 that are not, such as -1"),
        ([1.0, float("nan"), 1.0], "such as nan"),
        (["a", "b", "c"], "must be numbers, got values such as 'a'"),
        ([0.0, 0.0, 0.0], "must not be 0 for all rows"),
    ],
)
def test_bad_weights(weight: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MoleculeRegressor(**SHORT).fit(["C", "CC", "CCC"], [1.0, 2.0, 3.0], sample_weight=weight)
