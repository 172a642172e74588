from __future__ import annotations

import numpy as np


def interval_scores(
    truth: np.ndarray, prediction: np.ndarray, sigma: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> dict[str, float]:
    """How good uncertainties are; all arrays [rows].

    Returns:
        coverage: the share of true values within their interval; width: the mean width of the intervals;
        rmse_certain_half: the root mean squared error of the half of the rows with the smallest σ, as a share of that of all;
        rank_correlation: Spearman's, of σ and the absolute error. None where there are no rows, and no correlation below three.
    """
    if len(truth) == 0:
        return {}
    errors = np.abs(truth - prediction)
    scores = {
        "coverage": float(np.mean((lower <= truth) & (truth <= upper))),
        "width": float(np.mean(upper - lower)),
    }
    certain = errors[np.argsort(sigma, kind="stable")][: max(1, len(errors) // 2)]
    rmse = float(np.sqrt(np.mean(errors**2)))
    scores["rmse_certain_half"] = float(np.sqrt(np.mean(certain**2))) / rmse if rmse else 0.0
    if len(truth) > 2 and np.ptp(sigma) > 0 and np.ptp(errors) > 0:
        from scipy.stats import spearmanr

        scores["rank_correlation"] = float(spearmanr(sigma, errors).statistic)
    return scores


def calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    r"""The expected calibration error of the likeliest class.

    .. math::
        \sum_b \frac{n_b}{n} \, |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    over bins of equal width of the largest probability. Source: Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural
    networks" (2017).

    Args:
        truth: class numbers, [rows].
        probability: [rows, classes].
        bins: their number.
    """
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[place == each].mean() - confidence[place == each].mean()) * (place == each).mean() for each in set(place)]
    return float(sum(gaps))
