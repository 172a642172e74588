"""Draws docs/images/cpu_kernels.png: the two kinds of sweeps of the fused CPU kernels, and the work items.

python docs/figures/cpu_kernels.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

IMAGE = Path(__file__).parents[1] / "images" / "cpu_kernels.png"
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
QUERY, KEY, VALUE, GRADIENT, STATISTICS = "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, LINE, SHADE = "#222222", "#8A8A8A", "#F3F3F3"
WIDTH, HEIGHT = 80, 86.5  # tenths of an inch
NODES, SLOT = 14, 1.55  # drawn rows of a tensor, and their height
BLOCK = 4


def main() -> None:
    figure = Figure(figsize=(WIDTH / 10, HEIGHT / 10), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    ax.axis("off")
    draw_row_sweep(ax, top=84.5)
    draw_column_sweep(ax, top=52.5)
    draw_items(ax, top=20.5)
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    figure.savefig(picture, dpi=200)
    # Few colours: a palette makes the file a third as large.
    Image.open(picture).convert("RGB").quantize(64).save(IMAGE, optimize=True)


def draw_row_sweep(ax: Axes, top: float) -> None:
    title(ax, top, "Row sweep", "for each target i: forward, and again in backward")
    draw_gathers(ax, top, "sources j\nof row i", [2, 3, 7, 11, 1, 5, 8, 12, 4, 13], {"K": (KEY, 24, 8), "V": (VALUE, 37, 8)})
    box(ax, 52.5, top - 27.6, 26.5, 24.6)
    strip(ax, 54, top - 6.6, QUERY, "$q_i$")
    lines = (
        (10.0, r"1  scores   $s_{ij} = \mathrm{score}(q_i, k_j) + b_{ij}$"),
        (13.2, r"2  weights   $m$ ← largest $s$ so far"),
        (15.6, r"    rescale $\ell$, $S$;   $w_j = e^{s_{ij} - m}$"),
        (18.8, r"3  sums   $\ell$ += $w_j$,   $S$ += $w_j v_j$"),
    )
    for below, line in lines:
        text(ax, 54, top - below, line)
    text(ax, 54, top - 22.4, "row done:", weight="bold")
    text(ax, 61.2, top - 22.4, r"$o_i = S / \ell$;   keep $m_i$, $1/\ell_i$")
    text(ax, 54, top - 25.6, r"backward: $\partial q_i$ and $\delta_i$ instead", colour="#555555")


def draw_column_sweep(ax: Axes, top: float) -> None:
    title(ax, top, "Column sweep", "for each source j: backward, the gradients of its key and its value")
    tables = {"Q": (QUERY, 22, 8), r"$\partial$O": (GRADIENT, 33, 8), r"$m, \ell, \delta$": (STATISTICS, 44, 3)}
    draw_gathers(ax, top, "targets i\nof source j", [1, 4, 6, 9, 0, 3, 11, 13, 5, 12], tables)
    box(ax, 52.5, top - 27.6, 26.5, 24.6)
    strip(ax, 54, top - 6.6, KEY, "$k_j$")
    strip(ax, 66.4, top - 6.6, VALUE, "$v_j$")
    lines = (
        (10.0, r"1  scores   $s_{ij}$ as before,   $g_{ij} = \partial o_i \cdot v_j$"),
        (13.2, r"2  weights   $\alpha_{ij} = e^{s_{ij} - m_i} \,/\, \ell_i$"),
        (15.6, r"    slopes   $\partial s_{ij} = \alpha_{ij}\,(g_{ij} - \delta_i)$"),
        (18.8, r"3  sums   $\partial k_j$ += $\partial s_{ij} \cdot \nabla_{k_j} s_{ij}$"),
        (21.2, r"                $\partial v_j$ += $\alpha_{ij}\,\partial o_i$"),
    )
    for below, line in lines:
        text(ax, 54, top - below, line)
    text(ax, 54, top - 25.0, "row done:", weight="bold")
    text(ax, 61.2, top - 25.0, r"$\partial k_j$, $\partial v_j$ written, by one thread")


def draw_gathers(
    ax: Axes, top: float, label: str, nodes: Sequence[int], tables: Mapping[str, tuple[str, float, float]]
) -> None:
    """A row's list of neighbours, in blocks, and the rows of the tensors that its first block reads."""
    first, bottom = top - 6.4, top - 6.4 - NODES * SLOT
    text(ax, 9.8, top - 4.4, label, ha="center", size=7.5)
    for name, (colour, left, width) in tables.items():
        text(ax, left + width / 2, top - 4.4, name, ha="center", size=9, weight="bold")
        for node in range(NODES):
            read = node in nodes[:BLOCK]
            place = (left, first - (node + 1) * SLOT)
            ax.add_patch(Rectangle(place, width, SLOT, facecolor=colour if read else "white", edgecolor=LINE, linewidth=0.5))
    lefts = [left for _, left, _ in tables.values()]
    ends = [left + width for _, left, width in tables.values()]
    for slot, node in enumerate(nodes):
        block = slot // BLOCK
        low = slot_bottom(first, slot)
        ax.add_patch(
            Rectangle((7.5, low), 4.6, SLOT * 1.1, facecolor="white" if block else SHADE, edgecolor=INK, linewidth=0.7)
        )
        text(ax, 9.8, low + SLOT * 0.5, str(node), ha="center", size=7.5)
        if block == 0:
            high = first - (node + 0.5) * SLOT
            ax.plot([12.1, lefts[0]], [low + SLOT * 0.55, high], color=INK, linewidth=0.8)
            for end, left in zip(ends, [*lefts[1:], 52.5], strict=True):
                ax.plot([end, left], [high, high], color=INK, linewidth=0.8)
    for block in range(3):
        slots = [slot for slot in range(len(nodes)) if slot // BLOCK == block]
        middle = (slot_bottom(first, slots[0]) + slot_bottom(first, slots[-1]) + SLOT * 1.1) / 2
        text(ax, 4.3, middle, f"block {block + 1}", ha="center", size=7.5, weight="normal" if block else "bold")
    # The row that will be wanted some edges later.
    ahead = first - (nodes[-1] + 1) * SLOT
    start = slot_bottom(first, len(nodes) - 1) + SLOT * 0.55
    ax.plot([12.1, lefts[0]], [start, ahead + SLOT / 2], color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
    for _, left, width in tables.values():
        ax.add_patch(Rectangle((left, ahead), width, SLOT, fill=False, edgecolor=INK, linewidth=1, linestyle=(0, (3, 2))))
    text(ax, 12.5, bottom - 0.9, "– – –  prefetched 8 edges ahead", size=7, colour="#555555")


def slot_bottom(first: float, slot: int) -> float:
    """Where a slot of the list of neighbours is drawn: blocks stand a little apart."""
    return first - (slot + 1) * SLOT * 1.15 - slot // BLOCK * SLOT * 0.6


def draw_items(ax: Axes, top: float) -> None:
    title(ax, top, "Work items", "cut by the graph alone, never by the number of threads")
    edges = [0.0, 11.0, 21.5, 32.5, 41.0, 50.0, 55.5, 66.5, 77.0]
    hub = range(3, 6)
    low, height = top - 10.0, 3.4
    text(ax, 1.5, low + height + 2.3, "edges, sorted by row", size=7.5, colour="#555555")
    for number, (left, right) in enumerate(pairwise(edges)):
        colour = KEY if number in hub else (SHADE if number % 2 else "white")
        ax.add_patch(Rectangle((1.5 + left, low), right - left, height, facecolor=colour, edgecolor=INK, linewidth=1))
        text(ax, 1.5 + (left + right) / 2, low + height / 2, f"item {number}", ha="center", size=7.5)
        if number not in hub:
            # Whole rows: short ones, of different lengths.
            steps = (0.19, 0.34, 0.47, 0.71, 0.83) if number % 2 else (0.12, 0.4, 0.55, 0.66, 0.9)
            for step in steps:
                x = 1.5 + left + step * (right - left)
                ax.plot([x, x], [low, low + 0.7], color=INK, linewidth=0.7)
                ax.plot([x, x], [low + height - 0.7, low + height], color=INK, linewidth=0.7)
    start, stop = 1.5 + edges[3], 1.5 + edges[6]
    ax.plot(
        [start, start, stop, stop],
        [low + height + 0.5, low + height + 1.1, low + height + 1.1, low + height + 0.5],
        color=INK,
        lw=0.8,
    )
    text(ax, (start + stop) / 2, low + height + 2.3, "one row: a hub", ha="center", size=7.5)
    for number in hub:
        middle = 1.5 + (edges[number] + edges[number + 1]) / 2
        arrow(ax, (middle, low - 0.2), (middle, low - 2.6))
        text(ax, middle, low - 4.0, rf"$(m, \ell, S)_{number}$", ha="center", size=8)
    middle = (start + stop) / 2
    text(ax, middle, low - 7.4, r"merged from left to right  →  $o_i$,  $m_i$,  $1/\ell_i$", ha="center", size=8)
    ax.add_patch(
        FancyBboxPatch(
            (start - 1.5, low - 9.0),
            stop - start + 3.0,
            6.4,
            boxstyle="round,pad=0,rounding_size=1",
            fill=False,
            edgecolor=KEY,
            linewidth=1.2,
        )
    )
    text(
        ax,
        1.5,
        low - 4.4,
        "Threads take the next item\nfrom a counter and finish\nwhole rows themselves.",
        size=7.5,
        va="center",
    )
    text(ax, 61.5, low - 4.4, "Same items, same order of\nsums: the same bits with\n1, 2 or 16 threads.", size=7.5, va="center")


def title(ax: Axes, top: float, name: str, rest: str) -> None:
    heading = ax.text(1.5, top, name, fontsize=10.5, weight="bold", color=INK, va="center")
    ax.annotate(
        rest, (1, 0.5), (8, 0), xycoords=heading, textcoords="offset points", fontsize=8.5, color="#555555", va="center"
    )


def strip(ax: Axes, left: float, low: float, colour: str, name: str) -> None:
    """A row's own vector: four heads of channels."""
    for head in range(4):
        ax.add_patch(Rectangle((left + head * 2, low), 2, 2, facecolor=colour, edgecolor="white", linewidth=1))
    text(ax, left + 8.6, low + 1, name, size=9)


def box(ax: Axes, left: float, low: float, width: float, height: float) -> None:
    shape = "round,pad=0,rounding_size=1"
    ax.add_patch(FancyBboxPatch((left, low), width, height, boxstyle=shape, facecolor=SHADE, edgecolor=LINE, linewidth=0.8))


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0})


def text(
    ax: Axes,
    x: float,
    y: float,
    words: str,
    *,
    size: float = 8,
    weight: str = "normal",
    colour: str = INK,
    ha: str = "left",
    va: str = "center",
) -> None:
    ax.text(x, y, words, fontsize=size, weight=weight, color=colour, ha=ha, va=va)


if __name__ == "__main__":
    main()
