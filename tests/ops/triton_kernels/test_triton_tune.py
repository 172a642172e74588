"""The choice of a tile, with a clock and a GPU that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphattn.ops.triton import tune
from graphattn.ops.triton.tiles import Tile
from graphattn.ops.triton.tune import fastest

CANDIDATES = [Tile(1, 8), Tile(2, 8), Tile(4, 8)]
MILLISECONDS = dict(zip(CANDIDATES, [3.0, 1.0, 2.0], strict=True))
MUCH = 2**30


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Tile]:
    """What has been run on the GPU, whose time goes by only meanwhile."""
    ran: list[Tile] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.time = 0.0

        def record(self) -> None:
            self.time = sum(MILLISECONDS[tile] for tile in ran)

        def elapsed_time(self, end: Event) -> float:
            return end.time - self.time

    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    for name, value in {
        "is_available": lambda: True,
        "is_current_stream_capturing": lambda: False,
        "synchronize": lambda: None,
        "Event": Event,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(tune, "_gpu", lambda: "a GPU")
    monkeypatch.setattr(tune, "_chosen", {})
    return ran


def test_the_fastest_is_found_once(runs: list[Tile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fastest(("forward", 1), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]
    assert runs == [tile for tile in CANDIDATES for _ in range(6)]
    assert fastest(("forward", 1), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]
    assert len(runs) == 18
    (path,) = (tmp_path / "tiles").iterdir()
    kept = json.loads(path.read_text())
    assert (kept["tile"], kept["gpu"], kept["milliseconds"]) == ([2, 8, 1, 1], "a GPU", [3.0, 1.0, 2.0])
    monkeypatch.setattr(tune, "_chosen", {})  # as in another process
    assert fastest(("forward", 1), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]
    assert len(runs) == 18
    assert fastest(("forward", 2), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]
    assert len(runs) == 36


@pytest.mark.parametrize("content", ["", "{}", '{"tile": [1]}', '{"tile": [64, 64, 1, 1]}', '{"tile": 3}', "[]"])
def test_a_damaged_choice_is_made_again(
    content: str, runs: list[Tile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest((), CANDIDATES, MUCH, runs.append)
    (path,) = (tmp_path / "tiles").iterdir()
    path.write_text(content)
    monkeypatch.setattr(tune, "_chosen", {})
    assert fastest((), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]
    assert json.loads(path.read_text())["tile"] == [2, 8, 1, 1]


def test_a_cache_that_cannot_be_written(runs: list[Tile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiles").write_text("in the way")
    assert fastest((), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]


def test_a_captured_call_takes_what_is_chosen(runs: list[Tile], monkeypatch: pytest.MonkeyPatch) -> None:
    fastest((), CANDIDATES, MUCH, runs.append)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert fastest((), CANDIDATES, MUCH, runs.append) == CANDIDATES[1]


def test_it_ends_in_time(runs: list[Tile], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, tune.BUDGET + 1])
    monkeypatch.setattr(tune.time, "monotonic", lambda: next(clock))
    assert fastest((), CANDIDATES, MUCH, runs.append) == CANDIDATES[0]
    assert set(runs) == {CANDIDATES[0]}


@pytest.mark.parametrize(
    "reason",
    [
        lambda patch: patch.setattr(torch.cuda, "is_available", lambda: False),
        lambda patch: patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True),
        lambda patch: patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True),
        lambda patch: patch.setattr(tune, "_WORTH_TUNING", 2 * MUCH),
    ],
    ids=["interpreter", "capture", "deterministic", "little-work"],
)
def test_where_nothing_is_tried(
    reason: Callable[[pytest.MonkeyPatch], None], runs: list[Tile], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason(monkeypatch)
    assert fastest((), CANDIDATES, MUCH, runs.append) == CANDIDATES[0]
    assert not runs
