"""The scores that a run reports, in the units of the target."""

from __future__ import annotations

import math
import warnings

import numpy as np

Scores = dict[str, float]
SMALLER_IS_BETTER = frozenset({"rmse", "mae"})


def regression_scores(truth: np.ndarray, prediction: np.ndarray) -> Scores:
    """rmse, mae and r2 of predictions; r2 is NaN below two rows. Shapes [rows]."""
    if len(truth) == 0:
        return {}
    from sklearn import metrics  # slow to import, and prediction needs none

    return {
        "rmse": float(metrics.root_mean_squared_error(truth, prediction)),
        "mae": float(metrics.mean_absolute_error(truth, prediction)),
        "r2": float(metrics.r2_score(truth, prediction)) if len(truth) > 1 else float("nan"),
    }


def classification_scores(truth: np.ndarray, probability: np.ndarray) -> Scores:
    """accuracy, macro_f1, balanced_accuracy (the mean recall of the classes) and mcc (Matthews' correlation coefficient) of the
    likeliest class; of two classes, where there are rows of both, roc_auc and pr_auc (the average precision of the second).

    Args:
        truth: class numbers, int, [rows].
        probability: [rows, classes].
    """
    if len(truth) == 0:
        return {}
    from sklearn import metrics

    likeliest = probability.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without rows, or that are never predicted
        scores = {
            "accuracy": float(metrics.accuracy_score(truth, likeliest)),
            "macro_f1": float(metrics.f1_score(truth, likeliest, average="macro", zero_division=0)),
            "balanced_accuracy": float(np.mean([(likeliest[truth == each] == each).mean() for each in np.unique(truth)])),
            "mcc": float(metrics.matthews_corrcoef(truth, likeliest)),
        }
    # A class that is not known, -1, is on neither side.
    if probability.shape[1] == 2 and set(np.unique(truth)) == {0, 1}:
        scores["roc_auc"] = float(metrics.roc_auc_score(truth, probability[:, 1]))
        scores["pr_auc"] = float(metrics.average_precision_score(truth, probability[:, 1]))
    return scores


def score_text(value: float | None) -> str:
    """A score as tables and pictures show it, with three significant digits or more, whatever the units of the target.

    Three decimals where those are enough, as in 0.877 and 12.345; "–" where there is no score.
    """
    if value is None or math.isnan(value):
        return "–"
    size = abs(value)
    if size == 0 or 0.1 <= size < 999.9995:
        return f"{value:.3f}"
    if 0.001 <= size < 0.1:
        return f"{value:#.3g}"
    return f"{value:,.0f}" if 999 < size < 1e6 else f"{value:.2e}"
