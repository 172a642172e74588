from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from graphattn.errors import InputError
from graphattn.uncertainty.conformal import conformal_quantile

# Held-out rows for each number that is fitted; with fewer the standard deviation is the same for all rows.
_ROWS_OF_A_NUMBER = 10
_RIDGE = 1e-3
# Of the logarithm, around that of the root mean squared error: no feature moves the standard deviation further.
_MOST = 2.0


@dataclass(frozen=True)
class Noise:
    r"""The standard deviation of a prediction's error, from what is known of its row.

    .. math::
        \log \sigma(x) = \log r + a + \sum_k w_k z_k(x)

    with r the root mean squared error on held-out rows and z the standardised features, such as how unlike a molecule is to
    those trained on, or the logarithm of the spread of an ensemble. a and w minimise the negative log-likelihood of the errors
    there under normal distributions (Nix & Weigend, "Estimating the mean and variance of the target probability distribution",
    1994).

    Args:
        rmse: r.
        weights: a, then w.
        centre, scale: means and standard deviations of the features.
        scores: the sorted absolute errors of the held-out rows over their σ, which `quantile` reads.
    """

    rmse: float
    weights: list[float]
    centre: list[float]
    scale: list[float]
    scores: list[float]

    @classmethod
    def fit(cls, errors: np.ndarray, features: np.ndarray) -> Self:
        """Fits it on held-out rows.

        Args:
            errors: y − ŷ, [rows].
            features: [rows, features].
        """
        from scipy.optimize import minimize  # takes a while to import, and prediction needs none

        rmse = float(np.sqrt(np.mean(errors**2))) or 1e-12
        centre, scale = features.mean(axis=0), features.std(axis=0)
        varies = scale > 1e-12
        scale = np.where(varies, scale, 1.0)
        count = 1 + features.shape[1]
        weights = np.zeros(count)
        if len(errors) >= _ROWS_OF_A_NUMBER * count:
            design = np.column_stack([np.ones(len(errors)), (features - centre) / scale])
            squares = (errors / rmse) ** 2 / 2

            def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
                logs = design @ weights
                scaled = squares * np.exp(-2 * logs)
                value = np.mean(logs + scaled) + _RIDGE * np.sum(weights[1:] ** 2)
                slope = design.T @ (1 - 2 * scaled) / len(errors)
                slope[1:] += 2 * _RIDGE * weights[1:]
                return float(value), slope

            weights = minimize(loss, weights, jac=True, method="L-BFGS-B", bounds=[(-_MOST, _MOST)] * count).x
        noise = cls(rmse, weights.tolist(), centre.tolist(), scale.tolist(), [])
        scores = np.sort(np.abs(errors) / noise.sigma(features))
        return cls(rmse, weights.tolist(), centre.tolist(), scale.tolist(), scores.tolist())

    def sigma(self, features: np.ndarray) -> np.ndarray:
        """σ of each row, [rows]; NaN where a feature is NaN."""
        standard = (features - np.array(self.centre)) / np.array(self.scale)
        logs = self.weights[0] + standard @ np.array(self.weights[1:])
        sigma: np.ndarray = self.rmse * np.exp(np.clip(logs, -_MOST, _MOST))
        return sigma

    def quantile(self, interval: float) -> float:
        """The half-width of an interval in units of σ, see `conformal_quantile`."""
        return conformal_quantile(np.array(self.scores), interval)

    def config(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def restore(cls, config: dict[str, Any]) -> Self:
        """The inverse of `config`.

        Raises:
            InputError: where it is not such a one.
        """
        noise = cls(**config)
        count = len(noise.centre)
        lists = {"weights": count + 1, "centre": count, "scale": count, "scores": len(noise.scores)}
        for name, length in lists.items():
            values = getattr(noise, name)
            if not isinstance(values, list) or len(values) != length or not all(map(_is_finite, values)):
                raise InputError(f"the {name} of its noise must be {length} finite numbers, got {str(values)[:60]}")
        if not _is_finite(noise.rmse) or noise.rmse <= 0 or min(noise.scale, default=1) <= 0:
            raise InputError("the rmse and the scale of its noise must be positive")
        return noise


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
