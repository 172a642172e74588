from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.train.metrics import Scores, regression_scores
from graphattn.train.tasks.task import Spread, Task, shown

if TYPE_CHECKING:
    import pandas as pd


class Regression(Task):
    """One number a row. The loss is of the standardised value: its mean squared error "mse", mean absolute error "mae", or
    "huber", which is quadratic up to half a standard deviation and linear beyond (Huber, "Robust estimation of a location
    parameter", 1964).

    Attributes:
        mean, std: of the values trained on; the model predicts (value − mean) / std.
    """

    name = "regression"
    losses = ("mse", "mae", "huber")
    metrics = ("rmse", "mae", "r2")
    hint = "; for text labels use --task classification"

    mean: float
    std: float

    def read_cells(self, cells: pd.Series) -> tuple[list[Any], dict[str, int], list[str]]:
        from graphattn.tables import about_numbers, numbers

        values, reasons = numbers(cells)
        return (
            [None if np.isnan(value) else float(value) for value in values],
            reasons,
            about_numbers(cells, f"column {cells.name!r}"),
        )

    def read_tensor(self, y: Tensor, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        if class_names is not None:
            raise InputError(f"data.y must hold numbers, but data.class_names says that it holds {len(class_names)} classes")
        if y.dtype == torch.bool or y.is_complex():
            raise InputError(f"data.y must hold numbers, got {y.dtype}")
        values = y.double().cpu().numpy()
        infinite = int(np.isinf(values).sum())
        if infinite:
            raise InputError(f"data.y must be finite, and NaN where a node is unlabelled, got {infinite} infinite values")
        return values, ~np.isnan(values)

    def read_objects(self, y: np.ndarray, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        import pandas as pd

        missing = np.array([bool(pd.isna(value)) or value == "" for value in y.tolist()], dtype=bool)
        try:
            numbers = torch.tensor([float("nan") if lacks else float(value) for value, lacks in zip(y, missing, strict=True)])
        except (TypeError, ValueError):
            raise InputError(f"data.y must hold numbers, got values such as {str(y[~missing][0])!r}") from None
        return self.read_tensor(numbers.double(), class_names)

    def learn(self, values: np.ndarray, others: np.ndarray, classes: Sequence[str] | None = None) -> None:
        numbers = _as_numbers(values)
        self.mean, self.std = float(numbers.mean()), float(numbers.std()) or 1.0

    @property
    def out_channels(self) -> int:
        return 1

    def encode(self, values: np.ndarray) -> np.ndarray:
        return ((_as_numbers(values) - self.mean) / self.std).astype(np.float32)

    def loss(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        loss = _LOSSES[self.loss_name]
        if weight is None:
            return loss(raw.squeeze(-1), target)
        return (weight * loss(raw.squeeze(-1), target, reduction="none")).mean()

    def validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]:
        prediction = raw.squeeze(-1)
        if self.score_name == "mae":
            return (-self.std * float(F.l1_loss(prediction, target)),)
        rmse = -self.std * float(F.mse_loss(prediction, target).sqrt())
        # Of the same rows, the largest r2 is that of the smallest rmse.
        return (rmse,) if self.score_name == "rmse" else (1 - rmse**2 / self._variance(target), rmse)

    def _variance(self, target: Tensor) -> float:
        return self.std**2 * float(target.double().var(correction=0)) or 1.0

    def decode(self, raw: Tensor) -> Tensor:
        return raw.double() * self.std + self.mean

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.squeeze(-1)

    def columns(self, outputs: np.ndarray) -> dict[str, Any]:
        return {"prediction": self.predict(outputs)}

    def column_names(self, values: Sequence[Any] = ()) -> list[str]:
        return ["prediction"]

    def scores(self, values: np.ndarray, outputs: np.ndarray) -> Scores:
        return regression_scores(values, self.predict(outputs))

    def score(self, values: np.ndarray, outputs: np.ndarray, weight: Any = None) -> float:
        """R²."""
        from sklearn.metrics import r2_score

        prediction = self.predict(outputs)
        good = ~np.isnan(prediction)
        weight = None if weight is None else np.asarray(weight)[good]
        return float(r2_score(values[good].astype(float), prediction[good], sample_weight=weight))

    def known(self, values: np.ndarray) -> np.ndarray:
        return np.ones(len(values), dtype=bool)

    def constant(self, rows: int) -> tuple[str, np.ndarray]:
        return "mean", np.full((rows, 1), self.mean)

    def from_number(self, number: np.ndarray, values: np.ndarray, other: np.ndarray) -> np.ndarray | None:
        from sklearn.linear_model import LinearRegression

        if len(other) == 0:
            return np.empty((0, 1))
        fitted = LinearRegression().fit(number[:, None], values)
        return np.asarray(fitted.predict(other[:, None]))[:, None]

    def from_spread(self, spread: Spread, values: np.ndarray) -> np.ndarray:
        """The mean of the values that reach a row, weighted by the share that each arrives with; else the mean of all."""
        low, high = float(values.min()), float(values.max())
        part = (values - low) / ((high - low) or 1.0)
        shares = spread(np.stack([part, 1.0 - part], axis=1))
        reached = shares.sum(axis=1) > 0
        return np.where(reached, low + (high - low) * shares[:, 0], values.mean())[:, None]

    def parity(self, values: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        return values, self.predict(outputs)

    def config(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std}

    def restore(self, config: dict[str, Any], out_channels: int) -> None:
        for name in ("mean", "std"):
            value = config[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
                raise InputError(f"the {name} of its targets must be a finite number, got {str(value)[:60]!r}")
        if config["std"] <= 0:
            raise InputError(f"the standard deviation of its targets must be positive, got {config['std']}")
        if out_channels != self.out_channels:
            raise InputError(f"it has {out_channels} outputs for one number")
        self.mean, self.std = float(config["mean"]), float(config["std"])


_LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": partial(F.huber_loss, delta=0.5),
}


def _as_numbers(values: np.ndarray) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"y must be numbers, got values such as {shown(values[0])}; a classifier takes labels") from None
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise InputError(f"y must be finite numbers, got {bad} that are NaN or infinite")
    return numbers
