"""Runs cases, each setting in a fresh process, and turns what comes back into a record for the results file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

from benchmarks.cases import Bar, Case
from benchmarks.ceiling import Ceiling
from benchmarks.graphs import Graph
from benchmarks.measure import Timing
from benchmarks.parity import TOLERANCE
from benchmarks.worker import Alone, Comparison, Options, alone, check, compare

P = ParamSpec("P")
R = TypeVar("R")
Record = dict[str, Any]
Timings = Mapping[tuple[str, str], Mapping[str, Timing]]  # of contenders, by setting and mode


class ProcessDied(Exception):
    """A worker process ended without a result."""


def in_fresh_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function in a new process: nothing of what ran before can help or hinder.

    Raises:
        ProcessDied: where the process was killed; other errors come through as they are.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise ProcessDied("its process was killed, most likely for memory") from error


def run_case(case: Case, options: Options) -> Record:
    """Measures a case: as installed, tuned, and in processes of one contender each.

    Raises:
        ParityError: where ours and the baseline differ.
    """
    settings: dict[str, Comparison] = {}
    if not case.isolated:
        settings["installed"] = in_fresh_process(compare, case.name, False, options)
        if "tuned" in options.rivals:
            settings["tuned"] = in_fresh_process(compare, case.name, True, options)
    parity = settings["installed"].parity if settings else in_fresh_process(check, case.name)
    processes: dict[str, Alone] = {}
    if case.memory:
        contenders = [name for name in ("ours", case.baseline) if name == "ours" or name in options.rivals]
        processes = {contender: _alone(case, contender, options) for contender in contenders}
    timings = {(setting, mode): sides for setting, found in settings.items() for mode, sides in found.timings.items()}
    for contender, process in processes.items():
        for mode, timing in process.timings.items():
            timings.setdefault(("alone", mode), {})[contender] = timing
    graph = options.graph(case)
    ceiling = settings["installed"].ceiling if settings else None
    if ceiling is not None:
        timings |= {("unrivalled", mode): {"ours": timing} for mode, timing in settings["installed"].unrivalled.items()}
    gathered = _gathered(case, graph.num_edges)
    numbers = figures(timings, processes, ceiling, gathered)
    return recorded(case, graph, (parity, TOLERANCE), timings, processes, gathered, numbers) | {
        "threads": options.threads,
        "quick": options.quick,
        "ceiling": None if ceiling is None else asdict(ceiling),
        "skipped": {rival: reason for found in settings.values() for rival, reason in found.skipped.items()},
    }


def recorded(
    case: Case,
    graph: Graph,
    parity: tuple[float, float],
    timings: Timings,
    processes: Mapping[str, Alone],
    gathered: Mapping[str, int],
    numbers: Mapping[str, float],
) -> Record:
    """What was measured of a case, as it stands in the results file.

    Args:
        parity: the error found and the largest allowed.
        gathered: bytes, by mode.
        numbers: the figures that bars are about.
    """
    return {
        "case": case.name,
        "compares": case.family.note,
        "graph": {"name": case.graph, "nodes": graph.num_nodes, "edges": graph.num_edges, "origin": graph.origin},
        "heads": case.heads,
        "channels": case.channels,
        "parity": dict(zip(("error", "tolerance"), parity, strict=True)),
        "timings": [
            {"setting": setting, "mode": mode, "contender": contender, **asdict(timing)}
            for (setting, mode), sides in timings.items()
            for contender, timing in sides.items()
        ],
        "memory": {name: {"extra_bytes": process.extra, "kept_bytes": process.kept} for name, process in processes.items()},
        "bytes_gathered": gathered,
        "figures": numbers,
        "bars": [judged(bar, numbers.get(bar.figure)) for bar in case.bars],
    }


def figures(
    timings: Timings,
    processes: Mapping[str, Alone],
    ceiling: Ceiling | None,
    gathered: Mapping[str, int],
) -> dict[str, float]:
    """The numbers that bars are about.

    "MODE RIVAL/ours": the rival's time over ours, both from one process (from two where they do not fit into one);
    "MODE of ceiling": the bytes a second that ours gathers, unrivalled, over the gather ceiling of the same process;
    "memory RIVAL/ours": the rival's extra memory over ours; "extra gigabytes": ours.
    """
    numbers = {}
    for (_, mode), sides in timings.items():
        for rival in sides if "ours" in sides else ():
            if rival != "ours":
                numbers[f"{mode} {rival}/ours"] = sides[rival].median / sides["ours"].median
    if ceiling is not None:
        for mode, num_bytes in gathered.items():
            numbers[f"{mode} of ceiling"] = num_bytes / timings["unrivalled", mode]["ours"].median / ceiling.bytes_per_second
    extra = {name: process.extra for name, process in processes.items() if process.extra is not None}
    if "ours" in extra:
        numbers["extra gigabytes"] = extra["ours"] / 1e9
        numbers |= {f"memory {name}/ours": value / max(extra["ours"], 1) for name, value in extra.items() if name != "ours"}
    return numbers


def _alone(case: Case, contender: str, options: Options) -> Alone:
    try:
        return in_fresh_process(alone, case.name, contender, options)
    except ProcessDied:
        return Alone(None, None, {})


def _gathered(case: Case, num_edges: int) -> dict[str, int]:
    """Bytes that a call gathers, by mode: float32 rows of heads × channels."""
    if case.rows is None:
        return {}
    return {
        mode: rows * num_edges * case.heads * case.channels * 4
        for mode, rows in zip(("forward", "step"), case.rows, strict=True)
    }


def judged(bar: Bar, value: float | None) -> Record:
    """A bar, the figure, and whether it is met: None where it was not measured."""
    return {**asdict(bar), "value": value, "met": None if value is None else bar.met(value)}
