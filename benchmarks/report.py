"""Tables for people and JSON for the record."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cases import Bar, Case
from benchmarks.runner import Record

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a time depends on, and nothing that names the machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    packages: dict[str, str | None] = {}
    for name in ("graphattn", "torch", "torch_geometric", "numba", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "cpu": model,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "packages": packages,
        "backend": os.environ.get("GRAPHATTN_BACKEND", "auto"),
    }


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def save(record: Record, path: Path) -> None:
    """Adds a record to a results file, with date and machine, in place of an older one of the same case."""
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    cases[record["case"]] = {"date": today(), "machine": machine(), **record}
    write_json({"cases": dict(sorted(cases.items()))}, path)


def write_json(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def show(record: Record, console: Console) -> None:
    """Prints a record: a row for each contender and setting (medians and quartiles), then what was found."""
    graph = record["graph"]
    shape = f"{graph['nodes']:,} nodes, {graph['edges']:,} edges, {record['heads']}×{record['channels']}"
    console.print(f"[bold]{record['case']}[/]: {shape}\n{record['compares']}", highlight=False, soft_wrap=True)
    modes = list(dict.fromkeys(timing["mode"] for timing in record["timings"]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("contender", "setting"):
        table.add_column(column, no_wrap=True)
    for mode in modes:
        table.add_column(f"{mode}, ms", justify="right", no_wrap=True)
        table.add_column("/ours", justify="right", no_wrap=True)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for timing in record["timings"]:
        rows.setdefault((timing["setting"], timing["contender"]), {})[timing["mode"]] = timing
    for (setting, contender), timings in rows.items():
        cells = []
        for mode in modes:
            timing, ours = timings[mode], rows.get((setting, "ours"), {}).get(mode)
            median, low, high = (_three_digits(timing[part] * 1e3) for part in ("median", "low", "high"))
            cells += [f"{median} ({low}–{high})", f"{timing['median'] / ours['median']:.2f}" if ours else "–"]
        table.add_row(contender, setting, *cells)
    console.print(table)
    for line in _notes(record):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print()


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _notes(record: Record) -> Iterable[str]:
    yield f"parity {record['parity']['error']:.1e} (at most {record['parity']['tolerance']:.0e})"
    if record["ceiling"] is not None:
        ceiling = record["ceiling"]["bytes_per_second"] / 1e9
        for mode, num_bytes in record["bytes_gathered"].items():
            share = record["figures"][f"{mode} of ceiling"]
            yield f"{mode}: {num_bytes / 1e6:,.1f} MB gathered, {share:.0%} of the two-table gather ceiling, {ceiling:.1f} GB/s"
    for contender, memory in record["memory"].items():
        extra = memory["extra_bytes"]
        kept = "" if memory["kept_bytes"] is None else f", {memory['kept_bytes'] / 1e6:,.1f} MB kept"
        found = "out of memory" if extra is None else f"{extra / 1e6:,.1f} MB extra{kept}"
        yield f"memory of a step, {contender}: {found}"
    for rival, reason in record["skipped"].items():
        yield f"[yellow]{rival} skipped: {reason}[/]"
    for bar in record["bars"]:
        wanted = Bar(bar["figure"], bar["at_least"], bar["at_most"])
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: "[yellow]not measured[/]"}[bar["met"]]
        found = "" if bar["value"] is None else f": {bar['value']:.3g}"
        yield f"bar {wanted}{found} {verdict}"


def show_summary(records: list[Record], refused: list[str], console: Console) -> None:
    """One line on all bars, and the refused cases."""
    verdicts = [bar["met"] for record in records for bar in record["bars"]]
    met, missed, unknown = (verdicts.count(verdict) for verdict in (True, False, None))
    console.print(f"{len(records)} cases measured; bars: {met} met, {missed} missed, {unknown} not measured")
    for line in refused:
        console.print(f"[red]refused[/] {line}", highlight=False, soft_wrap=True)


def show_cases(cases: Iterable[Case], console: Console) -> None:
    """The registry as a table."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("case", no_wrap=True)
    for column in ("timed", "rivals", "bars"):
        table.add_column(column)
    for case in cases:
        columns = (", ".join(values) for values in (case.modes, case.rivals, map(str, case.bars)))
        table.add_row(case.name, *columns)
    console.print(table)
