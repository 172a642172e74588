"""The pictures of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_BLUE, _ORANGE = "#0072B2", "#E69F00"


def draw_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Training loss and, where there is one, the validation score, by epoch; the best epoch is marked."""
    names = sorted({name for row in history for name in row if name.startswith("valid_")})
    figure = Figure(figsize=(4.5 * (1 + len(names)), 3.6), layout="constrained")
    panels = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    for panel, name in zip(panels, ["loss", *names], strict=True):
        points = [(row["epoch"], row[name]) for row in history if name in row]
        epochs, values = np.array(points).T
        panel.plot(epochs, values, color=_BLUE, marker="." if len(points) < 30 else None)
        if name != "loss":
            best = int(values.argmin() if name == "valid_rmse" else values.argmax())
            panel.plot(
                epochs[best], values[best], "o", color=_ORANGE, label=f"best: {values[best]:.3f}, epoch {epochs[best]:.0f}"
            )
            panel.legend(frameon=False)
        panel.set(xlabel="epoch", title={"loss": "training loss"}.get(name, name.replace("valid_", "validation ")))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def draw_parity(path: Path, truth: np.ndarray, prediction: np.ndarray, name: str, scores: dict[str, float]) -> None:
    """Predicted against true values of the test part, with the line where they are equal."""
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    panel = figure.subplots()
    low, high = min(truth.min(), prediction.min()), max(truth.max(), prediction.max())
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    panel.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    panel.scatter(truth, prediction, s=14, alpha=0.6, color=_BLUE, edgecolors="none")
    panel.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"{name}, given", ylabel=f"{name}, predicted")
    r2 = scores["r2"]
    panel.set_title(
        f"test part: RMSE {scores['rmse']:.3f}, MAE {scores['mae']:.3f}" + ("" if np.isnan(r2) else f", R² {r2:.3f}")
    )
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
