"""Timing: all contenders in turns, so that whatever else the machine does meets them all."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHORTEST = 2e-3  # seconds a measurement takes at least; shorter calls are repeated within one
SLOW = 2.0  # seconds from which on three rounds must do


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the seconds that a call takes, over `rounds` measurements of `repeats` calls each."""

    median: float
    low: float
    high: float
    rounds: int
    repeats: int


Clock = Callable[[Callable[[], object], int], float]


def interleaved(steps: Mapping[str, Callable[[], object]], rounds: int, seconds: Clock | None = None) -> dict[str, Timing]:
    """Times all steps in turns: a round measures each once, and every round begins with another one.

    Args:
        steps: what to time, by name. Each is called before the rounds, too: once if it is slow, else twice, because the first
            call may compile.
        rounds: number of rounds; at most 3 where a step takes longer than `SLOW`.
        seconds: what a step takes, called so many times in a row; default: by the wall clock.
    """
    seconds = seconds or wall_seconds
    first = {}
    for name, step in steps.items():
        first[name] = seconds(step, 1)
        if first[name] < SLOW:
            first[name] = seconds(step, 1)
    if max(first.values()) > SLOW:
        rounds = min(rounds, 3)
    repeats = {name: math.ceil(SHORTEST / max(length, 1e-7)) for name, length in first.items()}
    measured: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                measured[name].append(seconds(steps[name], repeats[name]))
    finally:
        gc.enable()
    return {name: _summary(values, repeats[name]) for name, values in measured.items()}


def wall_seconds(step: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def _summary(values: list[float], repeats: int) -> Timing:
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Timing(statistics.median(values), quartiles[0], quartiles[2], len(values), repeats)
