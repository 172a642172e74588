"""Draws docs/images/overview.png, the picture of the README.

The left part is the model of examples/05_what_each_atom_adds.py, trained again. The bars on the right are two cases of
benchmarks/results/dropin.json.

python docs/figures/overview.py
"""

from __future__ import annotations

import json
import runpy
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs" / "images" / "overview.png"
CASES = {"dropin-gat-power-law": "GATConv", "dropin-gatv2-power-law": "GATv2Conv"}
INK, GREY, OURS, THEIRS = "#222222", "#555555", "#0072B2", "#B8B8B8"


def main() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "05_what_each_atom_adds.py"))
    plt.close("all")
    plt.rcParams.update({"font.size": 11, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    figure = plt.figure(figsize=(12, 4.4), facecolor="white")
    draw_molecule(figure, example)
    cases = json.loads((ROOT / "benchmarks" / "results" / "dropin.json").read_text(encoding="utf-8"))["cases"]
    figure.text(0.50, 0.945, "One training step, before and after graphattn.accelerate", weight="bold", size=12.5, va="center")
    figure.text(0.50, 0.875, note(cases[next(iter(CASES))]), color=GREY, size=10, va="center")
    time = {name: [1e3 * step(cases[case], of) for of in ("pyg", "ours")] for case, name in CASES.items()}
    memory = {name: [cases[case]["memory"][of]["extra_bytes"] / 1e9 for of in ("pyg", "ours")] for case, name in CASES.items()}
    draw_bars(figure.add_axes((0.575, 0.14, 0.165, 0.60)), time, "time, ms", "{:,.0f}", "× faster", legend=True)
    draw_bars(figure.add_axes((0.80, 0.14, 0.165, 0.60)), memory, "extra memory, GB", "{:.2f}", "× less", names=False)
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    figure.savefig(picture, dpi=150)
    Image.open(picture).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(IMAGE, optimize=True)


def draw_molecule(figure: Any, example: dict[str, Any]) -> None:
    figure.text(0.02, 0.945, "What each atom adds to a molecule's logP", weight="bold", size=12.5, va="center")
    figure.text(0.02, 0.875, "celecoxib, by a model trained on whole molecules only", color=GREY, size=10, va="center")
    panel = figure.add_axes((0.01, 0.17, 0.44, 0.67))
    panel.imshow(example["picture"](example["learned"]), interpolation="lanczos")
    panel.set_axis_off()
    bar = figure.colorbar(example["colours"], cax=figure.add_axes((0.11, 0.13, 0.24, 0.03)), orientation="horizontal")
    bar.set_ticks([-0.6, -0.3, 0, 0.3, 0.6], labels=["−0.6", "−0.3", "0", "+0.3", "+0.6"])
    bar.outline.set_linewidth(0.5)


def note(case: dict[str, Any]) -> str:
    graph = case["graph"]
    return f"{graph['edges']:,} edges, {case['heads']} heads × {case['channels']} channels, {case['threads']} CPU cores"


def step(case: dict[str, Any], contender: str) -> float:
    """The median time of a training step, in seconds."""
    (found,) = (row["median"] for row in case["timings"] if row["mode"] == "step" and row["contender"] == contender)
    return float(found)


def draw_bars(
    ax: Axes, values: dict[str, list[float]], label: str, form: str, gain: str, *, names: bool = True, legend: bool = False
) -> None:
    places = np.arange(len(values))
    for number, (name, colour) in enumerate({"torch_geometric": THEIRS, "graphattn": OURS}.items()):
        lengths = [pair[number] for pair in values.values()]
        bars = ax.barh(places + 0.36 * (number - 0.5), lengths, 0.34, color=colour, label=name)
        texts = [form.format(length) for length in lengths]
        if number:
            gains = [before / after for before, after in values.values()]
            texts = [f"{text}   {times:.0f}{gain}" for text, times in zip(texts, gains, strict=True)]
        ax.bar_label(bars, texts, padding=4, size=10, weight="bold" if number else "normal")
    ax.set(yticks=places, xticks=[], xlabel=label)
    ax.set_yticklabels(list(values) if names else [])
    ax.set_xlim(0, 1.22 * max(max(pair) for pair in values.values()))
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    if legend:
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.04, 1.0), ncols=2, borderaxespad=0.2)


if __name__ == "__main__":
    main()
