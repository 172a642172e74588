"""How far a prediction can be trusted: noise, intervals and calibrated probabilities, fitted on rows held out of training."""

from graphattn.uncertainty.conformal import conformal_quantile
from graphattn.uncertainty.noise import Noise
from graphattn.uncertainty.scores import calibration_error, interval_scores
from graphattn.uncertainty.temperature import Temperature

__all__ = ["Noise", "Temperature", "calibration_error", "conformal_quantile", "interval_scores"]
