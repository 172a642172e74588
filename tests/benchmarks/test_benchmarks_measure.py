from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from benchmarks import measure, scaling
from benchmarks.ceiling import gather_ceiling
from benchmarks.graphs import random_graph
from benchmarks.measure import Timing, interleaved
from benchmarks.memory import OutOfMemory, extra_memory, limited_to_available
from benchmarks.rivals import why_not
from benchmarks.runner import ProcessDied, in_fresh_process
from benchmarks.scaling import Point
from benchmarks.worker import Options


def test_contenders_take_turns_and_every_round_begins_with_another_one(monkeypatch) -> None:
    monkeypatch.setattr(measure, "SHORTEST", 1e-12)
    calls: list[str] = []
    interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "aabbcc" + "abc" + "bca" + "cab"


def test_median_and_quartiles_of_a_scripted_clock(monkeypatch) -> None:
    # Two calls of warming up, then rounds that take these seconds; the clock is read at begin and end of each.
    lengths = [1.5, 1.6, 5, 1, 3, 2, 4]
    clock = iter(np.cumsum([part for length in lengths for part in (0, length)]))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    timing = interleaved({"a": lambda: None}, rounds=5)["a"]
    assert (timing.low, timing.median, timing.high) == pytest.approx((2, 3, 4))
    assert (timing.rounds, timing.repeats) == (5, 1)


def test_slow_steps_do_with_three_rounds_and_short_ones_are_repeated(monkeypatch) -> None:
    seconds = {"slow": 3.0, "short": 0.5e-3}
    monkeypatch.setattr(measure, "wall_seconds", lambda step, repeats: seconds[step()])
    timings = interleaved({name: lambda name=name: name for name in seconds}, rounds=9)
    assert timings["slow"] == Timing(3.0, 3.0, 3.0, rounds=3, repeats=1)
    assert timings["short"] == Timing(0.5e-3, 0.5e-3, 0.5e-3, rounds=3, repeats=4)


def _extra_memory_of_two_tensors() -> float:
    def step() -> None:
        torch.ones(40 * 2**20, dtype=torch.uint8)
        torch.ones(96 * 2**20, dtype=torch.uint8)

    step()
    return extra_memory(step)


def test_extra_memory_is_the_peak_not_what_remains() -> None:
    """In a process of its own, as in the benchmarks: an allocator that others used may keep what is freed."""
    assert in_fresh_process(_extra_memory_of_two_tensors) == pytest.approx(96 * 2**20, rel=0.2)


def test_more_memory_than_there_is_raises_and_the_limit_ends_with_the_block() -> None:
    with pytest.raises(OutOfMemory), limited_to_available():
        torch.empty(2**45, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="another"), limited_to_available():
        raise RuntimeError("another error")
    torch.ones(2**20)


def test_the_ceiling_counts_two_rows_an_edge() -> None:
    graph = random_graph(500, 10_000)
    ceiling = gather_ceiling(graph.mask(), 64)
    assert ceiling.row_bytes == 256
    assert ceiling.bytes_per_second * ceiling.seconds == pytest.approx(2 * 10_000 * 256)


def test_a_fresh_process_is_another_one_and_its_death_is_told() -> None:
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(ProcessDied, match="killed"):
        in_fresh_process(os._exit, 9)


def test_compile_is_left_out_where_there_is_no_compiler(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert why_not("compile") == "no C++ compiler (no-such-compiler) was found"
    assert why_not("pyg") is None


def test_a_point_of_the_sweep() -> None:
    point = scaling.measure("dot", 2_000, Options(threads=1, rounds=1))
    assert (point.nodes, point.edges) == (200, 2_000)
    # Output and the gradients of query, key and value: four tensors [200, 8, 8] of float32.
    assert point.result_bytes == 4 * 200 * 64 * 4
    assert point.timing.median > 0


def made_up(score: str, edges: int) -> Point:
    seconds = 1e-8 * edges
    return Point(score, edges, edges // 10, Timing(seconds, seconds, seconds, 3, 1), 100 * edges**2, 10 * edges)


def test_slopes_are_fitted_to_the_larger_sizes() -> None:
    points = [made_up("dot", edges) for edges in (100_000, 1_000_000, 10_000_000)]
    small = Point("dot", 1_000, 100, Timing(1, 1, 1, 3, 1), 10**9, 1)
    assert scaling._slope([small, *points], lambda point: point.timing.median) == pytest.approx(1)
    assert scaling._slope([small, *points], lambda point: point.extra_bytes) == pytest.approx(2)
    assert scaling._slope([small, points[0]], lambda point: point.edges) is None


def test_the_sweep_is_tabled_and_plotted_and_tells_what_did_not_fit(monkeypatch, tmp_path, capsys) -> None:
    def measured(function, score, edges, options):
        if score == "gatv2" and edges == max(scaling.QUICK):
            raise OutOfMemory("out of memory")
        return made_up(score, edges)

    monkeypatch.setattr(scaling, "in_fresh_process", measured)
    result = scaling.sweep(Options(quick=True), scaling.Console())
    assert "out of memory" in capsys.readouterr().out
    assert [point["edges"] for point in result["points"]] == [*scaling.QUICK, *scaling.QUICK[:-1]]
    assert result["slopes"]["dot"]["time"] == pytest.approx(1)
    assert result["slopes"]["gatv2"]["time"] is None
    scaling.plot(result, tmp_path / "images" / "scaling.png")
    assert (tmp_path / "images" / "scaling.png").read_bytes()[1:4] == b"PNG"
