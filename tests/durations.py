"""The order of test files: those that take longest first, so that the processes of a parallel run end together."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

# Seconds that each file takes, on a cold cache; `pytest --record-durations` writes them.
TABLE = Path(__file__).with_name("durations.json")


def read(table: Path) -> dict[str, float]:
    """Seconds by file; empty where there is no table, or none that can be read: the order is for speed only."""
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(table.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def longest_first(items: list[pytest.Item], table: Path = TABLE) -> None:
    """Sorts tests by the seconds of their files, in place; files that are not in the table come last.

    Tests of one file keep their order, and follow each other: many use the same kernels.
    """
    seconds = read(table)
    place = {file: number for number, file in enumerate(dict.fromkeys(map(_file, items)))}
    items.sort(key=lambda item: (-seconds.get(_file(item), 0.0), place[_file(item)]))


class Recorder:
    """A pytest plugin that sums the seconds of each file, and replaces those of the files that ran."""

    def __init__(self, root: Path, table: Path = TABLE) -> None:
        self.root, self.table = root, table
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[_file(report)] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = read(self.table) | {name: round(seconds, 1) for name, seconds in self.seconds.items()}
        kept = {name: seconds for name, seconds in sorted(known.items()) if (self.root / name).exists()}
        self.table.write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


def _file(test: pytest.Item | pytest.TestReport) -> str:
    return test.nodeid.partition("::")[0]
