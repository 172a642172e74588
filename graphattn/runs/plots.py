"""The pictures of a run. Text of the user, such as a column's name, is drawn as it is: "$" starts no formula."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graphattn.cache import write_atomically
from graphattn.train import score_text
from graphattn.train.metrics import SMALLER_IS_BETTER

_BLUE, _ORANGE = "#0072B2", "#E69F00"
_MOST_CHARACTERS = 48  # of a name, or the labels leave no room for the picture
# Whatever the user's matplotlibrc asks for: LaTeX would read the text of labels.
_SETTINGS = {"text.usetex": False, "axes.formatter.use_mathtext": False}


def draw_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Training loss and, where there is one, the validation score, by epoch; the best epoch is marked."""
    with matplotlib.rc_context(_SETTINGS):
        names = sorted({name for row in history for name in row if name.startswith("valid_")})
        figure = Figure(figsize=(4.5 * (1 + len(names)), 3.6), layout="constrained")
        panels = figure.subplots(1, 1 + len(names), squeeze=False)[0]
        for panel, name in zip(panels, ["loss", *names], strict=True):
            for member in sorted({row.get("member") for row in history}, key=lambda number: number or 0):
                points = [(row["epoch"], row[name]) for row in history if name in row and row.get("member") == member]
                epochs, values = np.array(points).T
                panel.plot(epochs, values, color=_BLUE, marker="." if len(points) < 30 else None)
                if name != "loss":
                    best = int(values.argmin() if name.removeprefix("valid_") in SMALLER_IS_BETTER else values.argmax())
                    label = f"best: {score_text(values[best])}, epoch {epochs[best]:.0f}"
                    panel.plot(epochs[best], values[best], "o", color=_ORANGE, label=label)
            if name != "loss":
                panel.legend(frameon=False)
            panel.set(xlabel="epoch", title={"loss": "training loss"}.get(name, name.replace("valid_", "validation ")))
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def draw_parity(path: Path, truth: np.ndarray, prediction: np.ndarray, name: str, scores: dict[str, float]) -> None:
    """Predicted against true values of the test part, with the line where they are equal."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.6, 4.6), layout="constrained")
        panel = figure.subplots()
        low, high = min(truth.min(), prediction.min()), max(truth.max(), prediction.max())
        margin = 0.05 * (high - low) or 0.5
        limits = (low - margin, high + margin)
        panel.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
        panel.scatter(truth, prediction, s=14, alpha=0.6, color=_BLUE, edgecolors="none")
        panel.set(xlim=limits, ylim=limits, aspect="equal")
        name = " ".join(name.split())
        name = name if len(name) <= _MOST_CHARACTERS else name[: _MOST_CHARACTERS - 1] + "…"
        panel.set_xlabel(f"{name}, given", parse_math=False)
        panel.set_ylabel(f"{name}, predicted", parse_math=False)
        title = ", ".join(
            f"{text} {score_text(scores[score])}"
            for score, text in {"rmse": "RMSE", "mae": "MAE", "r2": "R²"}.items()
            if not np.isnan(scores[score])
        )
        panel.set_title(f"test part: {title}")
        panel.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def draw_intervals(path: Path, levels: np.ndarray, trust: dict[str, Any]) -> None:
    """The share of the test part's true values that intervals hold, against the probability that they were made for."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.6, 4.6), layout="constrained")
        panel = figure.subplots()
        panel.plot((0, 1), (0, 1), color="0.6", linewidth=1, zorder=0)
        panel.plot(levels, trust["held"], color=_BLUE, marker=".")
        panel.plot(trust["interval"], trust["coverage"], "o", color=_ORANGE)
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set(xlabel="probability of the interval", ylabel="share of the test values that it holds")
        panel.set_title(f"intervals of {100 * trust['interval']:g} % hold {100 * trust['coverage']:.1f} % of the test values")
        panel.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Names may be in a script that the font lacks; they show as boxes, and that is no news to print.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, dpi=120, format="png")
    write_atomically(path, content.getvalue())
