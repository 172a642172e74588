"""The GPU's benchmark where there is no GPU: the same code on tiny graphs, by the wall clock, on CPU kernels or interpreted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import gpu, gpu_tests
from benchmarks.cases import select
from benchmarks.families import Contender
from benchmarks.gpu import FIGURES, Meter, check_replay, measure
from benchmarks.gpu_cases import GPU_CASES, GpuCase
from benchmarks.graphs import GRAPHS, Recipe, molecules, symmetric_power_law_graph
from benchmarks.measure import Timing, wall_seconds
from benchmarks.parity import HALF_TOLERANCE, TOLERANCE, ParityError

BANDWIDTH = 1e9


def recomputed(step: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
    """In place of a graph of a step: the step, and its results copied where the first ones are."""
    results = step()

    def replay() -> None:
        for kept, new in zip(results or (), step() or (), strict=True):
            kept.copy_(new)

    return replay, results


CPU = Meter("cpu", wall_seconds, lambda step: (step(), 1000)[1], recomputed)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("arxiv-sized", "products-sized"):
        make = partial(symmetric_power_law_graph, 40, 200, 2.5)
        monkeypatch.setitem(GRAPHS, name, Recipe(make, make))
    make = partial(molecules, ((2, 6, 6),))
    monkeypatch.setitem(GRAPHS, "molecules-1024", Recipe(make, make))


@pytest.mark.parametrize("case", GPU_CASES.values(), ids=GPU_CASES)
def test_the_registry_is_well_formed(case: GpuCase) -> None:
    assert case.name.startswith(case.group)
    assert {"ours", case.baseline, *case.beside} <= set(case.family.contenders)
    assert case.modes == ("forward", "step")
    assert case.rows is not None
    assert {bar.figure for bar in case.bars} <= set(FIGURES)


def test_every_bar_of_the_contract_is_there() -> None:
    def bars(name: str) -> set[str]:
        return {str(bar) for bar in GPU_CASES[name].bars}

    assert {"step pyg/ours ≥ 8", "memory pyg/ours ≥ 8", "gather bound ≥ 0.5"} <= bars("gpu-op-dot-arxiv")
    assert {"step pyg/ours ≥ 8", "backward/forward ≤ 2.5"} <= bars("gpu-op-gatv2-arxiv")
    assert bars("gpu-op-dot-products") == {"forward ms ≤ 25", "backward/forward ≤ 3", "gather bound ≥ 0.5"}
    assert "step pyg/ours ≥ 5" in bars("gpu-encoder-molecules")


@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "auto") for name in GPU_CASES), ("gpu-layer-gatv2-arxiv", "triton"), ("gpu-op-dot-products", "triton")],
)
def test_a_case_is_checked_and_measured(monkeypatch: pytest.MonkeyPatch, name: str, backend: str) -> None:
    case = GPU_CASES[name]
    if backend == "triton":
        pytest.importorskip("triton")
        if torch.cuda.is_available():
            pytest.skip("on this machine the kernels are compiled")
        make = partial(symmetric_power_law_graph, 12, 20, 2.5)  # the interpreter is slow
        monkeypatch.setitem(GRAPHS, case.graph, Recipe(make, make))
    monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
    record = measure(case, CPU, BANDWIDTH, rounds=1)
    assert record["parity"]["error"] <= record["parity"]["tolerance"]
    assert record["parity"]["tolerance"] == (HALF_TOLERANCE if case.dtype == torch.bfloat16 else TOLERANCE)
    sides = {"ours", *case.beside, *(["graph"] if case.captured else [])}
    timed = {(timing["mode"], timing["contender"]) for timing in record["timings"]}
    assert timed == {(mode, side) for mode in case.modes for side in sides}
    assert {bar.figure for bar in case.bars} <= set(record["figures"])
    assert all(isinstance(bar["met"], bool) for bar in record["bars"])
    json.dumps(record, allow_nan=False)


def test_figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {"forward": {"ours": 2e-3, "pyg": 10e-3}, "step": {"ours": 5e-3, "pyg": 50e-3}}
    modes = iter(lengths)

    def scripted(steps: dict[str, Any], rounds: int, seconds: object) -> Any:
        mode = next(modes)
        return {name: Timing(*[lengths[mode][name]] * 3, rounds=1, repeats=1) for name in steps}

    monkeypatch.setattr(gpu, "interleaved", scripted)
    record = measure(GPU_CASES["gpu-op-dot-arxiv"], CPU, BANDWIDTH)
    numbers = record["figures"]
    assert numbers["forward ms"] == pytest.approx(2)
    assert numbers["step pyg/ours"] == pytest.approx(10)
    assert numbers["backward/forward"] == pytest.approx(1.5)
    # Two rows of 128 float32 for each of 200 edges: 204,800 bytes, 0.2048 ms at this bandwidth.
    assert record["bytes_gathered"] == {"forward": 204_800}
    assert numbers["gather bound"] == pytest.approx(0.1024)
    assert [bar["met"] for bar in record["bars"]] == [True, False, False]


def spoilt(case: GpuCase, graph_nodes: int | None = None) -> GpuCase:
    """Ours a thousandth off, or, with `graph_nodes`, only on another graph than the small one."""
    build = case.family.contenders["ours"]

    def wrong(graph: Any, heads: int, inputs: Any) -> Contender:
        contender = build(graph, heads, inputs)
        if graph_nodes not in (None, graph.num_nodes):
            return contender
        return dataclasses.replace(contender, forward=lambda: 1.1 * contender.forward())

    family = dataclasses.replace(case.family, contenders={**case.family.contenders, "ours": wrong})
    return dataclasses.replace(case, family=family)


@pytest.mark.parametrize("name", GPU_CASES)
def test_a_case_whose_sides_differ_is_not_timed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(gpu, "interleaved", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(ParityError, match="in float64 differ: "):
        measure(spoilt(GPU_CASES[name]), CPU, BANDWIDTH)


@pytest.mark.parametrize(
    ("name", "complaint"), [("gpu-op-dot-arxiv", "pyg and ours differ"), ("gpu-op-dot-products", "on a sample of targets")]
)
def test_full_size_is_checked_too(monkeypatch: pytest.MonkeyPatch, name: str, complaint: str) -> None:
    case = GPU_CASES[name]
    full = partial(symmetric_power_law_graph, 60, 300, 2.5)
    monkeypatch.setitem(GRAPHS, case.graph, Recipe(full, GRAPHS[case.graph].small))
    monkeypatch.setattr("benchmarks.parity.SAMPLED", 5)
    measure(case, CPU, BANDWIDTH, rounds=1)
    with pytest.raises(ParityError, match=complaint):
        measure(spoilt(case, graph_nodes=60), CPU, BANDWIDTH)


def test_a_replay_that_differs_is_refused() -> None:
    value = torch.ones(3)
    check_replay(lambda: None, [value], [value.clone()])
    with pytest.raises(ParityError, match="gradient 1 differs"):
        check_replay(lambda: None, [value, value * 1.001], [value, value])


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU whose measurements are the CPU's."""
    monkeypatch.setattr(gpu, "CUDA", CPU)
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(gpu.cuda, "copy_bandwidth", lambda: BANDWIDTH)
    monkeypatch.setattr(gpu, "machine", lambda: {"gpu": "none"})
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("pretended")
def test_a_run_saves_every_case_and_refuses_those_that_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "run_tests", lambda seconds: {"succeeded": True, "timed_out": False, "passed": 7, "failed": []})
    monkeypatch.setitem(GPU_CASES, "gpu-op-gatv2-arxiv", spoilt(GPU_CASES["gpu-op-gatv2-arxiv"]))
    found = CliRunner().invoke(command.app, ["gpu", "gpu-op-*", "--out", str(tmp_path)])
    assert found.exit_code == 1
    assert "7 tests passed" in found.output
    assert "missed" in found.output
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert set(result["cases"]) == {"gpu-op-dot-arxiv", "gpu-op-dot-products"}
    assert "ParityError" in result["refused"]["gpu-op-gatv2-arxiv"]
    assert result["machine"] == {"gpu": "none"}
    assert result["copy_bytes_per_second"] == BANDWIDTH


@pytest.mark.usefixtures("pretended")
def test_red_tests_fail_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "run_tests", lambda seconds: {"succeeded": False, "timed_out": False, "failed": ["test_dot"]})
    console = Console(record=True)
    saved: list[dict[str, Any]] = []
    assert not gpu.run(select(["gpu-op-dot-arxiv"], GPU_CASES), True, saved.append, console)
    assert "tests failed: test_dot" in console.export_text()
    assert gpu.run(select(["gpu-op-dot-arxiv"], GPU_CASES), False, saved.append, console)
    monkeypatch.setattr(gpu, "SECONDS", -1)
    assert not gpu.run(select(["gpu-op-dot-arxiv"], GPU_CASES), False, saved.append, console)
    assert "seconds were over" in saved[-1]["refused"]["gpu-op-dot-arxiv"]


def test_what_pytest_says_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Pytest:
        pid = 0

        def __init__(self, arguments: list[str], **_: object) -> None:
            assert any(path.endswith("test_laws_cuda.py") for path in arguments)
            xml = Path(next(part for part in arguments if part.startswith("--junitxml=")).partition("=")[2])
            cases = '<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><skipped/></testcase>'
            xml.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

        def wait(self, timeout: float | None = None) -> None:
            pass

    monkeypatch.setattr(gpu_tests.subprocess, "Popen", Pytest)
    found = gpu_tests.run_tests(5)
    assert found == {"succeeded": False, "timed_out": False, "passed": 1, "skipped": 1, "failed": ["b"]}
    assert gpu_tests.read_tests(tmp_path / "none.xml") == {"succeeded": False, "timed_out": False}

    class Slow(Pytest):
        def wait(self, timeout: float | None = None) -> None:
            if timeout is not None:
                raise gpu_tests.subprocess.TimeoutExpired("pytest", timeout)

    killed: list[int] = []
    monkeypatch.setattr(gpu_tests.subprocess, "Popen", Slow)
    monkeypatch.setattr(gpu_tests.os, "killpg", lambda group, _: killed.append(group))
    assert gpu_tests.run_tests(5) == {"succeeded": False, "timed_out": True}
    assert killed == [0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    found = CliRunner().invoke(command.app, ["gpu"])
    assert found.exit_code == 2
    assert "needs a CUDA GPU" in found.output
