"""How good the uncertainties of a run are, on its test part."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphattn.estimators.predictor import Predictor, Said
from graphattn.uncertainty import calibration_error, interval_scores

# The probabilities at which the picture compares intervals with what they hold.
LEVELS = np.linspace(0.05, 0.95, 19)


def trust_scores(predictor: Predictor[Any], values: np.ndarray, said: Said) -> dict[str, Any]:
    """Scores of intervals or of calibrated probabilities; none where there are neither, or no rows.

    Args:
        predictor: what made the predictions.
        values: the true values, [rows].
        said: what the predictor says of these rows.

    Returns:
        For regression interval and what `graphattn.uncertainty.interval_scores` returns, with the points of the picture under
        held: the share of true values in the intervals of `LEVELS`. For classification temperature and calibration_error.
    """
    task = predictor.task
    if not len(values):
        return {}
    if predictor.noise is not None and "lower" in said.columns:
        prediction, sigma = task.predict(said.outputs), said.columns["uncertainty"]
        scores = interval_scores(values, prediction, sigma, said.columns["lower"], said.columns["upper"])
        held = [float(np.mean(np.abs(values - prediction) <= predictor.noise.quantile(level) * sigma)) for level in LEVELS]
        return {"interval": predictor.params["interval"], **scores, "held": held}
    known = task.known(values)
    if predictor.temperature is not None and known.any():
        error = calibration_error(task.encode(values[known]), said.outputs[known])
        return {"temperature": predictor.temperature.value, "calibration_error": error}
    return {}
