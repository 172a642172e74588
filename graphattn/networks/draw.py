"""A picture of a small network and its predictions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphattn.errors import InputError

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

_MOST_NODES = 500
# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart; black is kept for marks.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#D55E00")
_SHAPES = ("o", "s", "D", "^", "v", "p", "h")


def draw_network(
    data: Data,
    labels: Tensor | Sequence[int],
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    train_index: Tensor | None = None,
    ids: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """Draws a network with its nodes coloured by predicted class, as PNG.

    Training nodes have a black ring; a cross marks a node whose label in `data.y` is another class. The layout is
    NetworkX's spring layout from a fixed seed, so the same network always looks the same.

    Args:
        data: The network, at most 500 nodes; `y`, [nodes], is optional, and −1 where a node is unlabelled.
        labels: The predicted class of each node, [nodes].
        path: The picture to write.
        class_names: The name of each class, for the legend; by default `data.class_names`, or else the numbers.
        train_index: The training nodes: int64, [training nodes], or a mask, bool, [nodes].
        ids: The text on each node, [nodes]; by default its row.
        title: The line above the picture.

    Raises:
        InputError: if there are too many nodes, or `labels`, `ids` or `class_names` do not fit.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    nodes = int(data.num_nodes or 0)
    predicted = torch.as_tensor(labels).cpu().numpy()
    names = list(getattr(data, "class_names", None) or []) if class_names is None else list(class_names)
    names = names or [str(c) for c in range(int(predicted.max(initial=-1)) + 1)]
    texts = [str(node) for node in range(nodes)] if ids is None else list(ids)
    _check(nodes, predicted, names, texts)
    training = np.zeros(nodes, dtype=bool)
    if train_index is not None:
        training[train_index.cpu().numpy()] = True
    truth = data.y.cpu().numpy() if "y" in data else np.full(nodes, -1)
    wrong = (truth >= 0) & (truth != predicted)

    places, edges = _layout(data, nodes)
    scale = min(1.0, (60 / max(nodes, 1)) ** 0.5)
    figure = Figure(figsize=(9, 7), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.add_collection(LineCollection(places[edges], colors="#B0B0B0", linewidths=0.8, zorder=1))
    for c in np.unique(predicted):
        for ringed in (False, True):
            here = (predicted == c) & (training == ringed)
            axes.scatter(
                places[here, 0],
                places[here, 1],
                s=320 * scale,
                color=_COLOURS[c % len(_COLOURS)],
                marker=_shape(c),
                edgecolors="black" if ringed else "white",
                linewidths=2.5 if ringed else 0.8,
                zorder=2,
            )
    # Behind the nodes, so that the arms stick out and the id stays readable.
    axes.scatter(places[wrong, 0], places[wrong, 1], s=900 * scale, color="black", marker="x", linewidths=2, zorder=1.5)
    for (x, y), text in zip(places, texts, strict=True):
        # Ids are not formulas: "$" in one must not start mathematical text.
        axes.text(x, y, text, size=8 * scale, ha="center", va="center", zorder=4, parse_math=False)
    axes.margins(0.06)
    axes.set_title(title, parse_math=False)
    entries = _legend(names, np.unique(predicted), bool(training.any()), bool(wrong.any()))
    legend = axes.legend(
        handles=entries,
        ncols=1 + len(entries) // 26,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
    )
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    with warnings.catch_warnings():
        # Ids may be in a script that the font lacks; they show as boxes, and that is no news to print.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, format="png")


def _check(nodes: int, predicted: np.ndarray, names: list[str], texts: list[str]) -> None:
    if nodes > _MOST_NODES:
        raise InputError(f"data has {nodes} nodes; a picture can show at most {_MOST_NODES}")
    if predicted.shape != (nodes,):
        raise InputError(f"labels has the shape {list(predicted.shape)}; expected one class for each of {nodes} nodes")
    if len(texts) != nodes:
        raise InputError(f"ids has {len(texts)} entries; expected one for each of {nodes} nodes")
    if nodes and not 0 <= predicted.min() <= predicted.max() < len(names):
        raise InputError(
            f"labels runs from {predicted.min()} to {predicted.max()}; expected classes from 0 to {len(names) - 1}"
        )


def _layout(data: Data, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives the place of each node, [nodes, 2], and each pair of joined nodes once, [pairs, 2]."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(data.edge_index.t().tolist())
    places = nx.spring_layout(graph, seed=0)
    edges = np.array([edge for edge in graph.edges if edge[0] != edge[1]], dtype=np.int64).reshape(-1, 2)
    return np.array([places[node] for node in range(nodes)]).reshape(-1, 2), edges


def _shape(c: int) -> str:
    # Where the colours run out, they come again with another shape.
    return _SHAPES[c // len(_COLOURS) % len(_SHAPES)]


def _legend(names: list[str], classes: np.ndarray, training: bool, wrong: bool) -> list[Line2D]:
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str, shape: str, edge: str = "white", width: float = 0.8) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=shape,
            label=label,
            markerfacecolor=colour,
            markeredgecolor=edge,
            markeredgewidth=width,
            markersize=11,
        )

    entries = [entry(names[c], _COLOURS[c % len(_COLOURS)], _shape(c)) for c in classes]
    if training:
        entries.append(entry("training node", "none", "o", "black", 2.5))
    if wrong:
        entries.append(entry("wrong prediction", "none", "x", "black", 1.5))
    return entries
