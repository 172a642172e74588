"""What structural encodings cost: all of them for the 4,200 molecules of lipophilicity, and a network with hubs.

    python -m benchmarks.preprocessing

* **all**: every encoding, bias and kind of extra edges that molecules have, by `graphattn.structure.precompute`. "cold" is a
  fresh process with an empty cache, so that it compiles its kernels, too; "cached" a fresh process that finds the cache filled.
  Positions are left out: a molecule is no path.
* **random walk** and **Laplacian** alone, without a cache, beside the transforms of torch_geometric, which go over the graphs
  one by one; all four take turns in one process after a warm-up. AddLaplacianEigenvectorPE(8) fails on graphs of under nine
  nodes: it is spared them, ours is not. It gets `is_undirected=True`, with which it is quicker.
* **github**: random-walk return probabilities of 37,700 developers with hubs, estimated; time with compiling, and the peak
  memory of the process.

Medians of three rounds on two threads. `benchmarks/results/preprocessing.json` keeps every time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE, BaseTransform

from benchmarks.cases import Bar
from benchmarks.measure import interleaved
from benchmarks.memory import extra_memory, resident
from benchmarks.report import RESULTS, machine, today, write_json
from benchmarks.runner import Record, in_fresh_process
from graphattn.chem import featurise
from graphattn.data import load_molecules, load_network_dataset
from graphattn.structure import AddLaplacian, AddRandomWalk, precompute, structure_transform

THREADS, ROUNDS = 2, 3
STEPS, VECTORS = 16, 8
ALL: dict[str, dict[str, int]] = {
    "encodings": {"degree": 1, "degree_bucket": 1, "random_walk": STEPS, "cycles": 6, "laplacian": VECTORS}
    | {"sign_invariant": VECTORS},
    "biases": {"distance": 8, "relative_walk": 8, "resistance": 2, "edge": 11},
    "extra_edges": {"k_hop": 3, "expander": 4, "virtual": 1},
}
BARS = (
    Bar("all cold, seconds", at_most=60),
    Bar("all cached, seconds", at_most=2),
    Bar("random walk, pyg/ours", at_least=1),
    Bar("Laplacian, pyg/ours", at_least=1),
    Bar("github, seconds", at_most=60),
    Bar("github, gigabytes", at_most=2),
)


def molecules() -> list[Data]:
    data = load_molecules("lipophilicity")
    graphs = featurise(data.frame[data.smiles_column].tolist(), cache=None).graphs
    return [graph for graph in graphs if graph is not None]


def all_at_once(cache: Path) -> float:
    """Seconds of computing everything, or of finding it in the cache."""
    torch.set_num_threads(THREADS)
    graphs = molecules()
    start = time.perf_counter()
    precompute(graphs, structure_transform(**ALL), cache=cache)
    return time.perf_counter() - start


def cold_and_cached() -> dict[str, float]:
    """One round, each part in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        return {part: in_fresh_process(all_at_once, Path(folder)) for part in ("all cold", "all cached")}


def beside_pyg(rounds: int) -> Record:
    """Two encodings by ours and by torch_geometric's transforms, in turns.

    Raises:
        AssertionError: where the return probabilities of the two differ.
    """
    torch.set_num_threads(THREADS)
    graphs = molecules()
    large = [graph for graph in graphs if graph.num_nodes > VECTORS]
    ours = {"random walk": AddRandomWalk(STEPS), "Laplacian": AddLaplacian(VECTORS)}
    theirs = {
        "random walk": (AddRandomWalkPE(STEPS), graphs),
        "Laplacian": (AddLaplacianEigenvectorPE(VECTORS, is_undirected=True), large),
    }
    found = precompute(graphs[:100], ours["random walk"], cache=None)
    for graph, known in zip(graphs[:100], found, strict=True):
        torch.testing.assert_close(known.random_walk_pe, theirs["random walk"][0](graph).random_walk_pe)

    def all_of_ours(transform: BaseTransform) -> Callable[[], object]:
        return lambda: precompute(graphs, transform, cache=None)

    def all_of_theirs(transform: BaseTransform, some: Sequence[Data]) -> Callable[[], object]:
        return lambda: [transform(graph) for graph in some]

    steps = {f"{name}, ours": all_of_ours(transform) for name, transform in ours.items()}
    steps |= {f"{name}, pyg": all_of_theirs(*given) for name, given in theirs.items()}
    timings = {name: asdict(timing) for name, timing in interleaved(steps, rounds).items()}
    return {"molecules": len(graphs), "timings": timings, "skipped by pyg": {"Laplacian": len(graphs) - len(large)}}


def estimate() -> dict[str, float]:
    """Seconds and gigabytes of the return probabilities of a large network."""
    torch.set_num_threads(THREADS)
    network = load_network_dataset("github_social").data
    data = Data(edge_index=network.edge_index, num_nodes=network.num_nodes)
    del network
    before, start = resident(), time.perf_counter()
    extra = extra_memory(lambda: AddRandomWalk(STEPS)(data))
    return {"github, seconds": time.perf_counter() - start, "github, gigabytes": (before + extra) / 1e9}


def run(rounds: int) -> Record:
    times = [cold_and_cached() | in_fresh_process(estimate) for _ in range(rounds)]
    compared = in_fresh_process(beside_pyg, rounds)
    figures = {f"{name}, seconds" if name.startswith("all") else name: _median(times, name) for name in times[0]}
    for name in ("random walk", "Laplacian"):
        pyg, ours = (compared["timings"][f"{name}, {side}"]["median"] for side in ("pyg", "ours"))
        figures |= {f"{name}, ours, seconds": ours, f"{name}, pyg, seconds": pyg, f"{name}, pyg/ours": pyg / ours}
    return {
        "case": "preprocessing",
        "date": today(),
        "machine": machine(),
        "threads": THREADS,
        "transforms": [repr(transform) for transform in structure_transform(**ALL).transforms],
        "rounds": times,
        **compared,
        "figures": figures,
        "bars": [{**asdict(bar), "value": figures[bar.figure], "met": bar.met(figures[bar.figure])} for bar in BARS],
    }


def _median(times: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in times)


def show(record: Record, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(f"{record['molecules']:,} molecules, and github", no_wrap=True)
    table.add_column("median", justify="right")
    table.add_column("bar")
    bars: dict[str, Any] = {bar["figure"]: bar for bar in record["bars"]}
    for name, value in record["figures"].items():
        bar = bars.get(name)
        verdict = "" if bar is None else f"{_bound(bar)} {'[green]met[/]' if bar['met'] else '[red]missed[/]'}"
        table.add_row(name, f"{value:.3g}", verdict)
    console.print(table)
    for name, count in record["skipped by pyg"].items():
        console.print(f"  {name}: pyg was spared {count} graphs on which it fails", highlight=False)


def _bound(bar: Record) -> str:
    return f"≤ {bar['at_most']:g}" if bar["at_least"] is None else f"≥ {bar['at_least']:g}"


def main() -> None:
    record = run(ROUNDS)
    show(record, Console())
    write_json(record, RESULTS / "preprocessing.json")


if __name__ == "__main__":
    main()
