from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from graphattn.errors import InputError

_SMALLEST = 1e-12
_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Temperature:
    r"""Calibrates probabilities by one number, which changes no order of classes.

    .. math::
        p_c \leftarrow p_c^{1/T} / \sum_{c'} p_{c'}^{1/T}

    with T the one that is likeliest on held-out rows, under a prior that counts as one row: −(log T)². Source: Guo, Pleiss, Sun
    & Weinberger, "On calibration of modern neural networks" (2017).

    Args:
        value: T.
    """

    value: float

    @classmethod
    def fit(cls, truth: np.ndarray, probability: np.ndarray) -> Self:
        """Fits it.

        Args:
            truth: class numbers of held-out rows, [rows].
            probability: [rows, classes].
        """
        from scipy.optimize import minimize_scalar

        rows = np.arange(len(truth))

        def loss(log_value: float) -> float:
            chosen = cls(float(np.exp(log_value))).apply(probability)[rows, truth]
            return float(-np.log(np.maximum(chosen, _SMALLEST)).mean()) + log_value**2 / len(truth)

        found = minimize_scalar(loss, bounds=tuple(np.log(_RANGE)), method="bounded")
        return cls(float(np.exp(found.x)))

    @classmethod
    def restore(cls, value: Any) -> Self:
        """The one of a number.

        Raises:
            InputError: where it is none that `fit` gives.
        """
        if not isinstance(value, (int, float)) or not _RANGE[0] <= value <= _RANGE[1]:
            raise InputError(f"its temperature must be a number between {_RANGE[0]} and {_RANGE[1]:g}, got {str(value)[:60]!r}")
        return cls(float(value))

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, [rows, classes]; NaN stays NaN."""
        logs = np.log(np.maximum(probability, _SMALLEST)) / self.value
        powers = np.exp(logs - logs.max(axis=1, keepdims=True))
        calibrated: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return calibrated
