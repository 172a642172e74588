"""What happens in a fresh process: functions of plain arguments, whose results can be sent back."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from benchmarks.cases import CASES, Case
from benchmarks.ceiling import Ceiling, gather_ceiling
from benchmarks.families import Contender
from benchmarks.graphs import GRAPHS, Graph
from benchmarks.measure import Timing, interleaved
from benchmarks.memory import OutOfMemory, extra_memory, limited_to_available, resident
from benchmarks.parity import ParityError, check_against_float64, check_at_full_size, draw_inputs, random_like, results
from benchmarks.rivals import raise_malloc_thresholds, why_not

# Said by torch at the first sparse matrix of a process.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        threads: torch's number of threads.
        rounds: measurements of each contender.
        quick: small graphs instead of the full ones.
        rivals: the rivals to run.
    """

    threads: int = 2
    rounds: int = 9
    quick: bool = False
    rivals: tuple[str, ...] = ("pyg", "padded", "tuned", "reference", "compile")

    def graph(self, case: Case) -> Graph:
        recipe = GRAPHS[case.graph]
        return recipe.small() if self.quick else recipe.full()


@dataclass(frozen=True)
class Comparison:
    """What one process measured of a case.

    Args:
        parity: the largest error of ours against the baseline in float64.
        timings: by mode and contender.
        ceiling: the gather ceiling, where the case asks for it.
        unrivalled: timings of ours by mode, without rivals between the rounds, as the ceiling is measured: the temporaries of
            a rival push the tables out of the caches.
        skipped: contenders that did not run, and why.
    """

    parity: float
    timings: dict[str, dict[str, Timing]]
    ceiling: Ceiling | None = None
    unrivalled: dict[str, Timing] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alone:
    """What a contender needs that has a process of its own.

    Args:
        extra: bytes of a training step at its peak beyond the state before; None: more than there are.
        kept: bytes that the first step leaves for later ones, such as the mask's sorted edges.
        timings: by mode, where the case is timed so.
    """

    extra: int | None
    kept: int | None
    timings: dict[str, Timing]


def compare(name: str, tuned: bool, options: Options) -> Comparison:
    """Checks parity, then times ours and its rivals in turns.

    With `tuned` the rival is the baseline alone, tuned: malloc's thresholds are raised for the whole process, ours included,
    and the edges are sorted and cached.

    Raises:
        ParityError: where ours and the baseline differ.
    """
    if tuned:
        raise_malloc_thresholds()
    torch.set_num_threads(options.threads)
    case = CASES[name]
    parity = check_against_float64(case)
    graph = options.graph(case)
    inputs = draw_inputs(case, graph)
    build = case.family.contenders
    ours = build["ours"](graph, case.heads, inputs)
    out_grad = random_like(ours)
    expected = results(ours, out_grad)
    contenders, skipped = {"ours": ours}, {}
    for rival in ("tuned",) if tuned else [rival for rival in build if rival in options.rivals]:
        reason = why_not(rival)
        try:
            if reason is None:
                place, maker = (graph.with_cached_index(), build[case.baseline]) if tuned else (graph, build[rival])
                contenders[rival] = maker(place, case.heads, inputs)
                check_at_full_size(rival, contenders[rival], expected, out_grad)
        except Exception as error:
            # Without the baseline there is no comparison. One of our own two rivals may fail: torch.compile often does.
            if rival not in ("reference", "compile"):
                raise
            reason = str(error) if isinstance(error, ParityError) else f"{type(error).__name__}: {error}".splitlines()[0]
        if reason is not None:
            contenders.pop(rival, None)
            skipped[rival] = reason
    del expected
    timings = {}
    for mode in case.modes:
        steps = {rival: timed(contender, mode, out_grad) for rival, contender in contenders.items()}
        timings[mode] = interleaved(steps, options.rounds)
    if case.rows is None or tuned:
        return Comparison(parity, timings, skipped=skipped)
    unrivalled = {mode: interleaved({"ours": timed(ours, mode, out_grad)}, options.rounds)["ours"] for mode in case.modes}
    return Comparison(parity, timings, gather_ceiling(graph.mask(), case.heads * case.channels), unrivalled, skipped)


def check(name: str) -> float:
    """The parity check alone: the largest error of ours against the baseline in float64."""
    return check_against_float64(CASES[name])


def alone(name: str, contender: str, options: Options) -> Alone:
    """Measures the memory of a contender's training step, and its time where the case asks for that."""
    torch.set_num_threads(options.threads)
    case = CASES[name]
    # A step on the small graph brings in what is loaded, compiled and started once.
    small = GRAPHS[case.graph].small()
    warm = case.family.contenders[contender](small, case.heads, draw_inputs(case, small))
    warm.training_step(random_like(warm))
    graph = options.graph(case)
    inputs = draw_inputs(case, graph)
    try:
        with limited_to_available():
            side = case.family.contenders[contender](graph, case.heads, inputs)
            before = resident()
            out_grad = random_like(side)
            step = partial(side.training_step, out_grad)
            step()
            kept = max(resident() - before - out_grad.nbytes, 0)
            extra = extra_memory(step)
            steps = {mode: timed(side, mode, out_grad) for mode in case.modes} if case.isolated else {}
            timings = {mode: interleaved({mode: step}, options.rounds)[mode] for mode, step in steps.items()}
    except OutOfMemory:
        return Alone(None, None, {})
    return Alone(extra, kept, timings)


def timed(contender: Contender, mode: str, out_grad: torch.Tensor) -> Callable[[], object]:
    """What a mode calls."""
    if mode == "epoch":
        assert contender.epoch is not None
        return contender.epoch
    if mode == "step":
        return partial(contender.training_step, out_grad)

    def forward() -> None:
        with torch.no_grad():
            contender.forward()

    return forward
