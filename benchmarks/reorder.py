"""Whether reordering the nodes pays: what it costs, and what a training step of attention takes before and after.

    python benchmarks/reorder.py

Graphs: 100,000 nodes and a million random edges; the same with 80 % of them inside communities of 200 nodes whose numbers
are scattered; and the social networks GitHub and Facebook, where they are at hand (`GRAPHATTN_DATA`, or `../shared/data`
beside the checkout), with the numbers of their publisher. Every edge stands both ways only in the social networks.

A step is `graphattn.ops.attention` with the dot product, forward and backward, on two threads, in float32. Both orders take
turns, after a warm-up; medians. "break-even" is the number of such steps that pay for the reordering; "none" where a step
after is not quicker than the one before it in nearly all rounds. A layer's linear maps, which no order makes faster, are
left out.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from graphattn.ops import AdjacencyMask, attention
from graphattn.structure import Reorder

NODES, EDGES, COMMUNITY, INSIDE = 100_000, 1_000_000, 200, 0.8
SHAPES = ((8, 8), (4, 32))
ROUNDS = 11
CLEAR = 9  # rounds won out of eleven: by luck alone, one time in thirty
SOCIAL = {
    "github": ("github_social/musae_git_edges.csv", 37_700),
    "facebook": ("facebook_page_page/facebook_edges.csv", 22_470),
}


def main() -> None:
    torch.set_num_threads(2)
    columns = f"{'reorder s':>10}{'heads':>7}{'before ms':>11}{'after ms':>10}{'ratio':>7}{'break-even':>12}"
    print(f"{'graph':<22}{columns}")
    for name, given in graphs():
        reordered, cost = timed_reorder(given)
        for heads, channels in SHAPES:
            orders = {"before": given, "after": reordered}
            times = interleaved({order: training_step(data, heads, channels) for order, data in orders.items()})
            before, after = (statistics.median(times[order]) for order in orders)
            saved = [one - other for one, other in zip(times["before"], times["after"], strict=True)]
            pays = sum(difference > 0 for difference in saved) >= CLEAR
            even = f"{cost / statistics.median(saved):,.0f}" if pays else "none"
            print(
                f"{name:<22}{cost:>10.3f}{f'{heads}×{channels}':>7}"
                f"{before * 1e3:>11.1f}{after * 1e3:>10.1f}{before / after:>7.2f}{even:>12}",
                flush=True,
            )


def graphs() -> Iterator[tuple[str, Data]]:
    draw = np.random.default_rng(0)
    source = draw.integers(NODES, size=EDGES)
    yield "random", as_data(np.stack([source, draw.integers(NODES, size=EDGES)]), NODES)
    inside = source // COMMUNITY * COMMUNITY + draw.integers(COMMUNITY, size=EDGES)
    target = np.where(draw.random(EDGES) < INSIDE, inside, draw.integers(NODES, size=EDGES))
    yield "communities scattered", as_data(draw.permutation(NODES)[np.stack([source, target])], NODES)
    folder = Path(os.environ.get("GRAPHATTN_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    for name, (file, nodes) in SOCIAL.items():
        if (folder / file).is_file():
            edges = np.loadtxt(folder / file, delimiter=",", skiprows=1, dtype=np.int64).T
            yield name, Data(edge_index=to_undirected(torch.from_numpy(edges), num_nodes=nodes), num_nodes=nodes)
        else:
            print(f"{name}: {file} not found, left out")


def as_data(edges: np.ndarray, nodes: int) -> Data:
    return Data(edge_index=torch.from_numpy(edges), num_nodes=nodes)


def timed_reorder(given: Data) -> tuple[Data, float]:
    """The reordered graph, and the median time of reordering it with 64 features a node."""
    data = given.clone()
    data.x = torch.zeros(given.num_nodes, 64)
    times = [seconds(lambda: Reorder()(data)) for _ in range(3)]
    return Reorder()(given), statistics.median(times)


def training_step(data: Data, heads: int, channels: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    shape = (data.num_nodes, heads, channels)
    query, key, value = (torch.randn(shape, generator=generator, requires_grad=True) for _ in range(3))
    grad_out = torch.randn(shape, generator=generator)
    mask = AdjacencyMask.from_edge_index(data.edge_index, data.num_nodes)

    def step() -> tuple[Tensor, ...]:
        out = attention(query, key, value, mask)
        assert isinstance(out, Tensor)
        return torch.autograd.grad(out, (query, key, value), grad_out)

    return step


def interleaved(steps: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """The seconds of each step in each round, in turns."""
    for step in steps.values():
        step()
    rounds = [{name: seconds(step) for name, step in steps.items()} for _ in range(ROUNDS)]
    return {name: [times[name] for times in rounds] for name in steps}


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
