"""Test files run in the order of a recorded table, which may be missing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from durations import Recorder, longest_first, read

NAMES = ["a.py::one", "b.py::one", "a.py::two", "c.py::one", "new.py::one", "newer.py::one", "b.py::two[x::y]"]


def order(table: Path) -> list[str]:
    items: Any = [SimpleNamespace(nodeid=name) for name in NAMES]
    longest_first(items, table)
    return [item.nodeid for item in items]


def test_longest_first_and_unknown_last(tmp_path: Path) -> None:
    table = tmp_path / "durations.json"
    table.write_text(json.dumps({"a.py": 1.5, "b.py": 20, "c.py": 1.5, "gone.py": 9}))
    expected = ["b.py::one", "b.py::two[x::y]", "a.py::one", "a.py::two", "c.py::one", "new.py::one", "newer.py::one"]
    assert order(table) == expected


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"a.py": "long"}', '{"a.py": null}', "7"])
def test_without_a_table_that_can_be_read(text: str | None, tmp_path: Path) -> None:
    table = tmp_path / "durations.json"
    if text is not None:
        table.write_text(text)
    files = [name.partition("::")[0] for name in order(table)]
    assert files == ["a.py", "a.py", "b.py", "b.py", "c.py", "new.py", "newer.py"]


def test_the_table_that_a_run_records(tmp_path: Path) -> None:
    table = tmp_path / "durations.json"
    table.write_text(json.dumps({"a.py": 7.0, "b.py": 3.0, "gone.py": 1.0}))
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    recorder = Recorder(tmp_path, table)
    for seconds in (0.25, 1.0):
        report: Any = SimpleNamespace(nodeid="a.py::test", duration=seconds)
        recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish()
    assert read(table) == {"a.py": 1.2, "b.py": 3.0}
