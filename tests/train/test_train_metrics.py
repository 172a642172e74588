"""Scores against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphattn.train import classification_scores, regression_scores, score_text


def test_regression_scores_by_hand():
    # Errors 1, 0, -2: rmse √(5/3), mae 1; the truth has mean 2 and squared deviations 1, 0, 1: r2 = 1 - 5/2.
    scores = regression_scores(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 1.0]))
    assert scores == pytest.approx({"rmse": math.sqrt(5 / 3), "mae": 1.0, "r2": -1.5})


def test_r2_of_one_row_is_nan():
    scores = regression_scores(np.array([1.0]), np.array([3.0]))
    assert scores["rmse"] == 2.0
    assert math.isnan(scores["r2"])


def test_classification_scores_by_hand():
    truth = np.array([0, 0, 1, 1])
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    # Class 0: precision 1, recall 1/2, F1 2/3; class 1: precision 2/3, recall 1, F1 4/5.
    # One true negative, two true positives, one false positive: mcc (1 · 2 - 1 · 0) / √(3 · 2 · 2 · 1).
    expected = {"accuracy": 0.75, "macro_f1": (2 / 3 + 4 / 5) / 2, "balanced_accuracy": 0.75, "mcc": 2 / math.sqrt(12)}
    expected |= {"roc_auc": 1.0, "pr_auc": 1.0}
    assert classification_scores(truth, probability) == pytest.approx(expected)


def test_three_classes_have_no_roc_auc():
    scores = classification_scores(np.array([0, 1, 2]), np.eye(3))
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0, "balanced_accuracy": 1.0, "mcc": 1.0}


def test_average_precision_by_hand():
    # The rows of class 1 come first and third: (1/1 + 2/3) / 2.
    scores = classification_scores(np.array([1, 0, 1]), np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]))
    assert scores["pr_auc"] == pytest.approx(5 / 6)


def test_one_class_among_the_rows_has_no_roc_auc():
    assert "roc_auc" not in classification_scores(np.array([1, 1]), np.array([[0.1, 0.9], [0.8, 0.2]]))


def test_rows_of_an_unknown_class_and_a_known_one_have_no_roc_auc():
    scores = classification_scores(np.array([-1, 1, 1]), np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]))
    assert "roc_auc" not in scores
    assert scores["balanced_accuracy"] == pytest.approx((0 + 0.5) / 2)


def test_a_single_class_that_is_always_right():
    assert classification_scores(np.array([1, 1]), np.array([[0.1, 0.9], [0.2, 0.8]]))["mcc"] == 0.0


def test_no_rows_no_scores():
    assert regression_scores(np.zeros(0), np.zeros(0)) == {}
    assert classification_scores(np.zeros(0, dtype=int), np.zeros((0, 2))) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8774, "0.877"),
        (12.3456, "12.346"),
        (0.0, "0.000"),
        (0.012345, "0.0123"),
        (3.21e-7, "3.21e-07"),
        (-0.00456, "-0.00456"),
        (12345.6, "12,346"),
        (4.56e9, "4.56e+09"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_scores_have_three_digits_in_any_unit(value, text):
    assert score_text(value) == text
