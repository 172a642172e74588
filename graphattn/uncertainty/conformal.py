from __future__ import annotations

import math

import numpy as np


def conformal_quantile(scores: np.ndarray, interval: float) -> float:
    r"""The half-width of split-conformal intervals, in units of the predicted standard deviation.

    .. math::
        q = s_{(\lceil (n + 1) \, c \rceil)}, \qquad s_i = |y_i - \hat y_i| / \sigma_i

    the k-th smallest score of n rows that were not trained on. Where new rows are exchangeable with these, ŷ ± q σ holds the
    true value with a probability of at least c, whatever the model and σ are. Source: Lei, G'Sell, Rinaldo, Tibshirani &
    Wasserman, "Distribution-free predictive inference for regression" (2018).

    Args:
        scores: s, [rows].
        interval: c, in (0, 1).

    Returns:
        q; infinite where there are too few rows for c.
    """
    place = math.ceil((len(scores) + 1) * interval)
    return float(np.sort(scores)[place - 1]) if 0 < place <= len(scores) else math.inf
