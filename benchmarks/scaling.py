"""Time and extra memory of a training step against the number of edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.families import OP_DOT, OP_GATV2, Family
from benchmarks.graphs import random_graph
from benchmarks.measure import Timing, interleaved
from benchmarks.memory import OutOfMemory, extra_memory, limited_to_available
from benchmarks.parity import random_like
from benchmarks.report import machine, today
from benchmarks.runner import ProcessDied, in_fresh_process
from benchmarks.worker import Options

HEADS, CHANNELS = 8, 8
FAMILIES: dict[str, Family] = {"dot": OP_DOT, "gatv2": OP_GATV2}
FULL = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
QUICK = (10_000, 100_000, 200_000)
FITTED = 100_000  # edges from which on the slope is fitted: below, the fixed cost of a call shows


@dataclass(frozen=True)
class Point:
    """A training step on a graph of one size: its time, its extra memory, and how much of that is output and gradients."""

    score: str
    edges: int
    nodes: int
    timing: Timing
    extra_bytes: int
    result_bytes: int


def measure(score: str, num_edges: int, options: Options) -> Point:
    """A step on a random graph with ten edges a node: time, extra bytes, and the bytes of its output and gradients.

    Raises:
        OutOfMemory: where it does not fit into this machine's memory.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    family = FAMILIES[score]
    graph = random_graph(num_edges // 10, num_edges)
    inputs = {name: tensor.requires_grad_() for name, tensor in family.make_inputs(graph, HEADS, CHANNELS).items()}
    with limited_to_available():
        contender = family.contenders["ours"](graph, HEADS, inputs)
        out_grad = random_like(contender)
        step = partial(contender.training_step, out_grad)
        step()
        extra = extra_memory(step)
        timing = interleaved({"step": step}, options.rounds)["step"]
    results = out_grad.nbytes + sum(tensor.nbytes for tensor in contender.tensors())
    return Point(score, num_edges, graph.num_nodes, timing, extra, results)


def sweep(options: Options, console: Console) -> dict[str, Any]:
    """All sizes of all scores, each in a fresh process, as the content of the results file; prints a table."""
    table = Table("score", "edges", "step, ms", "extra, MB", "of it output and gradients, MB")
    points: list[Point] = []
    for score in FAMILIES:
        for num_edges in QUICK if options.quick else FULL:
            try:
                point = in_fresh_process(measure, score, num_edges, options)
            except (OutOfMemory, ProcessDied) as error:
                table.add_row(score, f"{num_edges:,}", f"[red]{error}[/]")
                continue
            points.append(point)
            cells = f"{point.timing.median * 1e3:.4g}", f"{point.extra_bytes / 1e6:.1f}", f"{point.result_bytes / 1e6:.1f}"
            table.add_row(score, f"{num_edges:,}", *cells)
    console.print(table)
    slopes = {}
    for score in FAMILIES:
        mine = [point for point in points if point.score == score]
        slopes[score] = {
            "time": _slope(mine, lambda point: point.timing.median),
            "memory": _slope(mine, lambda point: point.extra_bytes),
        }
        console.print(f"{score}: {_law('time', slopes[score])}, {_law('memory', slopes[score])}")
    header = {"heads": HEADS, "channels": CHANNELS, "threads": options.threads, "quick": options.quick}
    return {"date": today(), "machine": machine(), **header, "slopes": slopes, "points": [asdict(point) for point in points]}


def plot(result: dict[str, Any], path: Path) -> None:
    """Two panels, time and extra memory against edges, both axes logarithmic."""
    import matplotlib.pyplot as plt

    width = 4 * result["heads"] * result["channels"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for score, colour in zip(FAMILIES, ("tab:blue", "tab:orange"), strict=True):
        points = [point for point in result["points"] if point["score"] == score]
        edges = np.array([point["edges"] for point in points])
        slopes = result["slopes"][score]
        seconds = np.array([[point["timing"][name] for name in ("median", "low", "high")] for point in points]) * 1e3
        spread = np.abs(seconds[:, 1:] - seconds[:, :1]).T
        label = f"{score}: {_law('time', slopes)}"
        left.errorbar(edges, seconds[:, 0], spread, marker="o", capsize=3, color=colour, label=label)
        extra = [point["extra_bytes"] / 1e6 for point in points]
        right.plot(edges, extra, marker="o", color=colour, label=f"{score}: {_law('memory', slopes)}")
        results = [point["result_bytes"] / 1e6 for point in points]
        right.plot(edges, results, ":", color=colour, label=f"{score}: its output and gradients")
    ends = np.array([min(p["edges"] for p in result["points"]), max(p["edges"] for p in result["points"])])
    right.plot(ends, ends * width / 1e6, "--", color="grey", label="one tensor [edges, heads, channels]")
    shape = f"{result['heads']} heads × {result['channels']} channels, {result['threads']} threads"
    left.set(xscale="log", yscale="log", xlabel="edges (nodes = edges / 10)", ylabel="time of a training step, ms", title=shape)
    right.set(xscale="log", yscale="log", xlabel="edges (nodes = edges / 10)", ylabel="extra memory of a training step, MB")
    for panel in (left, right):
        panel.legend(fontsize="small")
        panel.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _law(of: str, slopes: dict[str, float | None]) -> str:
    slope = slopes[of]
    return of if slope is None else f"{of} ∝ edges^{slope:.2f}"


def _slope(points: list[Point], of: Callable[[Point], float]) -> float | None:
    """The exponent of a power law fitted to the larger sizes, where there are two of them."""
    large = [point for point in points if point.edges >= FITTED]
    if len(large) < 2:
        return None
    return float(np.polyfit(np.log([point.edges for point in large]), np.log([of(point) for point in large]), 1)[0])
