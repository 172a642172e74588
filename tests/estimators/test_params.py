"""The parameters: names and defaults are public, and stay."""

from __future__ import annotations

import inspect

import pytest

from graphattn import InputError, MoleculeClassifier, MoleculeRegressor, NodeClassifier, NodeRegressor
from graphattn.estimators.kinds import KINDS, estimator_name

SHARED = {
    "attention": "masked",
    "attention_score": "dot",
    "biases": None,
    "class_weight": None,
    "device": "auto",
    "encodings": None,
    "extra_edges": None,
    "heads": 8,
    "loss": None,
    "metric": None,
    "normaliser": "softmax",
    "precision": "32-true",
    "seed": 0,
    "weight_decay": 0.01,
}
MOLECULES = {
    "batch_size": 32,
    "channels": 128,
    "dropout": 0.1,
    "ema_decay": 0.998,
    "ensemble": 1,
    "init": None,
    "layer_decay": 1.0,
    "epochs": 50,
    "learning_rate": 5e-4,
    "n_jobs": None,
    "num_layers": 4,
    "patience": 30,
    "readout": "mean+max+std+attention",
    "valid_fraction": 0.1,
    "interval": 0.9,
    "on_error": "mean",
}
NODES = {
    "attention_dropout": 0.0,
    "channels": 64,
    "dropout": 0.5,
    "ema_decay": 0.0,
    "epochs": 200,
    "learning_rate": 5e-3,
    "num_layers": 2,
    "patience": 50,
}


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [(MoleculeRegressor, MOLECULES), (MoleculeClassifier, MOLECULES), (NodeClassifier, NODES), (NodeRegressor, NODES)],
)
def test_names_and_defaults(estimator, expected):
    assert estimator().get_params() == {**SHARED, **expected}
    parameters = inspect.signature(estimator).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {**SHARED, **expected}
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert estimator.__name__ in KINDS


def test_representation_names_what_differs():
    assert repr(NodeClassifier(heads=2)) == "NodeClassifier(heads=2)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 0}, "heads must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number of at least 1, got 1.5"),
        ({"channels": 9}, "channels must be a multiple of heads, got 9 and 8"),
        ({"valid_fraction": 1.0}, r"valid_fraction must lie in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1.0"),
        ({"encodings": [1]}, r"encodings must be a mapping, name → number, got \[1\]"),
    ],
)
def test_limits(changes, message):
    with pytest.raises(InputError, match=message):
        MoleculeRegressor(**changes).check_params()


def test_the_estimator_of_a_source_and_a_task():
    assert estimator_name("nodes", "regression") == "NodeRegressor"
    with pytest.raises(InputError, match="task must be 'regression' or 'classification', got 'ranking'"):
        estimator_name("molecules", "ranking")
