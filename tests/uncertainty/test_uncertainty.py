"""Noise, intervals and calibration, on numbers worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from graphattn import InputError
from graphattn.uncertainty import Noise, Temperature, calibration_error, conformal_quantile, interval_scores


def test_conformal_quantile_by_hand() -> None:
    scores = np.array([3.0, 1, 2, 4, 5, 6, 7, 8, 9])
    assert conformal_quantile(scores, 0.9) == 9  # the ⌈10 · 0.9⌉-th of nine
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores[:8], 0.9) == math.inf  # the ninth of eight
    assert conformal_quantile(scores[:0], 0.5) == math.inf


def test_conformal_intervals_hold_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    held = [
        np.mean(np.abs(rng.standard_cauchy(500)) <= conformal_quantile(np.abs(rng.standard_cauchy(99)), 0.9))
        for _ in range(400)
    ]
    assert np.mean(held) == pytest.approx(0.9, abs=0.005)


def test_noise_finds_what_errors_follow() -> None:
    rng = np.random.default_rng(1)
    features = np.column_stack([rng.uniform(size=40_000), rng.normal(size=40_000)])
    sigma = np.exp(-1 + 1.5 * features[:, 0])
    noise = Noise.fit(rng.normal(size=40_000) * sigma, features)
    np.testing.assert_allclose(noise.sigma(features), sigma, rtol=0.05)
    assert noise.quantile(0.9) == pytest.approx(1.645, abs=0.06)  # of a normal distribution


def test_noise_of_few_rows_is_the_same_everywhere() -> None:
    errors = np.array([1.0, -1, 2, 0])
    noise = Noise.fit(errors, np.arange(8.0).reshape(4, 2))
    assert noise.sigma(np.array([[0.0, 1], [50, 60]])).tolist() == pytest.approx([math.sqrt(1.5)] * 2)
    assert noise.scores == pytest.approx(np.array([0, 1, 1, 2]) / math.sqrt(1.5))
    assert noise.quantile(0.9) == math.inf


def test_noise_is_bounded_and_passes_nan_on() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(200, 1))
    noise = Noise.fit(rng.normal(size=200) * np.exp(features[:, 0]), features)
    far, nothing = noise.sigma(np.array([[1e6], [np.nan]]))
    assert far == pytest.approx(noise.rmse * math.exp(2))
    assert math.isnan(nothing)


def test_a_constant_feature_and_perfect_predictions() -> None:
    noise = Noise.fit(np.zeros(50), np.ones((50, 1)))
    assert np.isfinite(noise.sigma(np.ones((1, 1)))).all()


def test_noise_through_json() -> None:
    noise = Noise.fit(np.array([1.0, -2, 3]), np.zeros((3, 1)))
    assert Noise.restore(json.loads(json.dumps(noise.config()))) == noise
    for change in ({"rmse": -1.0}, {"weights": [0.0]}, {"scores": ["x"]}, {"scale": [0.0]}, {"centre": 3}):
        with pytest.raises((InputError, TypeError)):
            Noise.restore({**noise.config(), **change})


def test_interval_scores_by_hand() -> None:
    truth, prediction, sigma = np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 2, 7]), np.array([1.0, 2, 3, 4])
    scores = interval_scores(truth, prediction, sigma, prediction - sigma, prediction + sigma)
    assert scores["coverage"] == 1.0
    assert scores["width"] == 5.0
    assert scores["rmse_certain_half"] == pytest.approx(math.sqrt(0.5) / math.sqrt(17 / 4))
    assert scores["rank_correlation"] == pytest.approx(0.6324555)  # errors 0 1 0 4: ranks 1.5 3 1.5 4
    narrow = interval_scores(truth, prediction, sigma, prediction, prediction)
    assert (narrow["coverage"], narrow["width"]) == (0.5, 0.0)
    assert interval_scores(truth[:0], truth[:0], truth[:0], truth[:0], truth[:0]) == {}
    assert "rank_correlation" not in interval_scores(truth, prediction, np.ones(4), prediction, prediction)


def test_calibration_error_by_hand() -> None:
    probability = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.4, 0.6]])
    # The bin of 0.95 is right once in two, that of 0.6 always.
    assert calibration_error(np.array([0, 1, 1, 1]), probability) == pytest.approx(0.5 * 0.45 + 0.5 * 0.4)
    assert calibration_error(np.array([0]), np.array([[1.0, 0.0]])) == 0.0


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(5000, 3))
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=row) for row in chance])
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    temperature = Temperature.fit(truth, sharp)
    assert temperature.value == pytest.approx(3, rel=0.06)
    np.testing.assert_allclose(temperature.apply(sharp), chance, atol=0.02)
    assert calibration_error(truth, temperature.apply(sharp)) < 0.03 < calibration_error(truth, sharp)


def test_temperature_by_hand() -> None:
    assert Temperature(2.0).apply(np.array([[0.8, 0.2], [np.nan, np.nan]])).tolist()[0] == pytest.approx([2 / 3, 1 / 3])
    assert np.isnan(Temperature(2.0).apply(np.array([[np.nan, np.nan]]))).all()
    # Two rows that are right are no reason for certainty.
    assert Temperature.fit(np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]])).value > 0.5
    assert Temperature.restore(2).value == 2.0
    for bad in ("1", 0, 1e9, None):
        with pytest.raises(InputError, match="temperature"):
            Temperature.restore(bad)
