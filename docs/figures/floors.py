"""Draws docs/images/floors.png: the packages of graphattn, each above those it may import.

The floors are those that tests/test_floors.py checks.

python docs/figures/floors.py
"""

from __future__ import annotations

import ast
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs" / "images" / "floors.png"
INK, GREY, EDGE = "#222222", "#555555", "#8A8A8A"
# What each package is for, in the order in which they are drawn. Those that are not there are left out.
PURPOSE = {
    "cli": "the commands; all printing",
    "runs": "a command: load, split, fit, score, write",
    "estimators": "scikit-learn's interface",
    "train": "training loop, tasks, metrics",
    "uncertainty": "intervals, calibration",
    "explain": "what a prediction rests on",
    "nn": "layers, encoder, GraphTransformer, PyG drop-ins",
    "structure": "encodings, biases",
    "chem": "SMILES to graphs",
    "networks": "node tables to graphs",
    "sequences": "sequences to graphs",
    "data": "catalogue of data sets",
    "ops": "attention as a function; CPU and GPU kernels",
    "tables": "reading tables",
    "splits": "train, valid, test",
    "errors": "InputError",
    "cache": "files on disk",
}
COLOURS = ("#F3F3F3", "#F3F3F3", "#DCEBF7", "#DDF0E6", "#FBE9CF", "#F9DDD0", "#EFE0EC", "#E4E4F4", "#ECECEC")


def floors() -> list[list[str]]:
    """The packages of every floor from the ground up, without those that are not there."""
    tree = ast.parse((ROOT / "tests" / "test_floors.py").read_text(encoding="utf-8"))
    (found,) = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FLOORS")
    there = {path.stem for path in (ROOT / "graphattn").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    order = list(PURPOSE)
    return [sorted((floor - {"_version"}) & there, key=order.index) for floor in map(set, ast.literal_eval(found))]


def main() -> None:
    rows = floors()
    height = 0.62
    figure = Figure(figsize=(9.6, height * len(rows) + 0.1), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 96), ylim=(-0.04, len(rows) + 0.06))
    ax.axis("off")
    for number, names in enumerate(rows):
        width = 84 / len(names)
        for place, name in enumerate(names):
            left = 1 + place * width
            shape = FancyBboxPatch(
                (left + 0.5, number + 0.08),
                width - 1,
                0.84,
                boxstyle="round,pad=0,rounding_size=0.5",
                mutation_aspect=0.1,
                facecolor=COLOURS[number],
                edgecolor=EDGE,
                linewidth=0.8,
            )
            ax.add_patch(shape)
            middle = left + width / 2
            ax.text(middle, number + 0.66, name, ha="center", va="center", size=11, weight="bold", color=INK)
            ax.text(middle, number + 0.30, PURPOSE[name], ha="center", va="center", size=8.5, color=GREY)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "mutation_scale": 16}
    ax.annotate("", (89, 0.1), (89, len(rows) - 0.1), arrowprops=arrow)
    ax.text(91.5, len(rows) / 2, "imports point down", rotation=-90, ha="center", va="center", size=10, color=INK)
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    figure.savefig(picture, dpi=150)
    Image.open(picture).convert("RGB").quantize(128, method=Image.Quantize.MAXCOVERAGE).save(IMAGE, optimize=True)


if __name__ == "__main__":
    main()
