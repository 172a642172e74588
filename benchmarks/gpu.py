"""The GPU in one go: the tests marked `cuda`, then every GPU case beside torch_geometric, inside ten minutes."""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import cuda, report
from benchmarks.families import Contender
from benchmarks.gpu_cases import GpuCase
from benchmarks.gpu_tests import run_tests, told
from benchmarks.graphs import GRAPHS
from benchmarks.measure import Clock, interleaved
from benchmarks.parity import (
    NORM_TOLERANCE,
    ParityError,
    check_against_float64,
    check_at_full_size,
    check_on_a_sample,
    draw_inputs,
    random_like,
    results,
    tolerance,
)
from benchmarks.runner import Record, Timings, figures, recorded
from benchmarks.worker import Alone, timed

# Until the last case begins, so that all is over in ten minutes; and of them for the tests.
SECONDS, TEST_SECONDS = 500, 300
ROUNDS = 20
FIGURES = ("forward ms", "step ms", "step pyg/ours", "step pyg/graph", "memory pyg/ours", "backward/forward", "gather bound")


@dataclass(frozen=True)
class Meter:
    """How a device is measured.

    Args:
        device: where graphs and inputs are made.
        seconds: its clock.
        extra_memory: the bytes that a step holds at its peak beyond the state before.
        captured: makes a graph of a step, see `benchmarks.cuda`; None where there are none.
    """

    device: str
    seconds: Clock
    extra_memory: Callable[[Callable[[], object]], int]
    captured: Callable[[Callable[[], object]], tuple[Callable[[], object], Any]] | None


CUDA = Meter("cuda", cuda.seconds, cuda.extra_memory, cuda.captured)


def run(cases: Sequence[GpuCase], tests: bool, save: Callable[[dict[str, Any]], None], console: Console) -> bool:
    """Tests and measures on this machine's GPU, prints tables, and saves the result so far after each part.

    A case whose sides differ, or that fails, is refused, and the others are measured.

    Returns:
        whether no test failed and no case was refused.
    """
    start = time.monotonic()
    result: dict[str, Any] = {"date": report.today(), "machine": machine(), "tests": None}
    if tests:
        result["tests"] = run_tests(TEST_SECONDS)
        console.print(told(result["tests"]), highlight=False, soft_wrap=True)
    bandwidth = cuda.copy_bandwidth()
    console.print(f"copies move {bandwidth / 1e9:,.0f} GB/s, read and written", highlight=False)
    result |= {"copy_bytes_per_second": bandwidth, "cases": {}, "refused": {}}
    for case in cases:
        try:
            if time.monotonic() - start > SECONDS:
                raise TimeoutError(f"{SECONDS} seconds were over")
            record = measure(case, CUDA, bandwidth)
        except Exception as error:
            # Whatever a case fails on, memory, a compiler, parity: the lease of a GPU is for all of them.
            result["refused"][case.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            console.print(f"[red]refused[/] {case.name}: {error}\n", highlight=False, soft_wrap=True)
        else:
            result["cases"][case.name] = record
            report.show(record, console)
        save(result)
        gc.collect()
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:  # a GPU that has failed once fails whatever this process asks for next
            console.print(f"[red]the GPU has failed[/], and the cases after {case.name} are left out: {error}", soft_wrap=True)
            result["refused"] |= {later.name: "the GPU had failed" for later in cases[cases.index(case) + 1 :]}
            break
    console.print(table(result["cases"].values()))
    report.show_summary(list(result["cases"].values()), [f"{name}: {why}" for name, why in result["refused"].items()], console)
    return not result["refused"] and (not tests or result["tests"]["succeeded"])


def measure(case: GpuCase, meter: Meter, bandwidth: float, rounds: int = ROUNDS, small: bool = False) -> Record:
    """Checks parity, then times all sides in turns, and measures the memory of a step of each.

    Args:
        bandwidth: bytes read and written a second by a copy.
        small: on the small graph, to see that all works.

    Raises:
        ParityError: where ours and the baseline differ.
    """
    parity = check_against_float64(case, meter.device, case.dtype)
    recipe, build = GRAPHS[case.graph], case.family.contenders
    with torch.device(meter.device):
        graph = recipe.small() if small else recipe.full()
        inputs = draw_inputs(case, graph, case.dtype)
        sides = {name: build[name](graph, case.heads, inputs) for name in ("ours", *case.beside)}
        baseline = sides.get(case.baseline)
        if baseline is None and not case.sampled:
            baseline = build[case.baseline](graph, case.heads, inputs)
    ours = sides["ours"]
    out_grad = random_like(ours)
    if baseline is None:
        check_on_a_sample(case, graph, inputs, ours)
    else:
        check_at_full_size(case.baseline, baseline, results(ours, out_grad), out_grad)
    del baseline
    processes = {name: _memory(side, out_grad, meter) for name, side in sides.items()}
    steps = {mode: {name: timed(side, mode, out_grad) for name, side in sides.items()} for mode in case.modes}
    if case.captured and meter.captured is not None:
        for mode, of_mode in steps.items():
            of_mode["graph"], outcome = meter.captured(of_mode["ours"])
            if mode == "step":
                check_replay(of_mode["graph"], outcome, ours.training_step(out_grad))
    timings = {("installed", mode): interleaved(of_mode, rounds, meter.seconds) for mode, of_mode in steps.items()}
    assert case.rows is not None
    gathered = case.rows[0] * graph.num_edges * case.heads * case.channels * case.dtype.itemsize
    numbers = figures(timings, processes, None, {}) | _more_figures(timings, gathered / bandwidth)
    return recorded(case, graph, (parity, tolerance(case.dtype)), timings, processes, {"forward": gathered}, numbers) | {
        "dtype": str(case.dtype).removeprefix("torch."),
        "ceiling": None,
        "skipped": {},
    }


def check_replay(replay: Callable[[], object], replayed: Iterable[torch.Tensor], expected: Iterable[torch.Tensor]) -> None:
    """A graph's replay against the step itself, by norm.

    Raises:
        ParityError: where they differ.
    """
    replay()
    for place, (found, value) in enumerate(zip(replayed, expected, strict=True)):
        error = float((found - value).norm() / value.norm().clamp(min=1e-30))
        if not error <= NORM_TOLERANCE:
            raise ParityError(f"the replay's gradient {place} differs from the step's by {error:.1e}")


def machine() -> dict[str, Any]:
    """The GPU, and what else a time depends on."""
    properties = torch.cuda.get_device_properties(0)
    known = report.machine()
    known["packages"] |= {"triton": version("triton") if importlib.util.find_spec("triton") else None}
    return {
        "gpu": properties.name,
        "gpu_memory_gigabytes": round(properties.total_memory / 1e9, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        **known,
    }


def table(records: Iterable[Record]) -> Table:
    """A row for each figure of each case, with the bar where there is one and whether it is met."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("case", "figure", "value", "bar", ""):
        shown.add_column(column, no_wrap=True, justify="right" if column == "value" else "left")
    for record in records:
        bars = {bar["figure"]: bar for bar in record["bars"]}
        for name in (name for name in FIGURES if name in record["figures"]):
            bar = bars.get(name)
            verdict = ("", "") if bar is None else (_bound(bar), "[green]met[/]" if bar["met"] else "[red]missed[/]")
            shown.add_row(record["case"], name, f"{record['figures'][name]:.3g}", *verdict)
    return shown


def _bound(bar: Mapping[str, Any]) -> str:
    return f"≤ {bar['at_most']:g}" if bar["at_most"] is not None else f"≥ {bar['at_least']:g}"


def _memory(side: Contender, out_grad: torch.Tensor, meter: Meter) -> Alone:
    step = partial(side.training_step, out_grad)
    step()
    return Alone(meter.extra_memory(step), None, {})


def _more_figures(timings: Timings, least: float) -> dict[str, float]:
    """Of ours alone: milliseconds, backward over forward, and the shortest time a forward pass can take over what it takes."""
    forward, step = (timings["installed", mode]["ours"].median for mode in ("forward", "step"))
    numbers = {"forward ms": forward * 1e3, "step ms": step * 1e3, "backward/forward": step / forward - 1}
    steps = timings["installed", "step"]
    if {"pyg", "graph"} <= set(steps):
        numbers["step pyg/graph"] = steps["pyg"].median / steps["graph"].median
    return numbers | {"gather bound": least / forward}
