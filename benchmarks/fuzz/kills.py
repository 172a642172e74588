"""Processes killed at random moments: what is done again gives the same bits, and nothing of the user is touched."""

from __future__ import annotations

import csv
import io
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

from benchmarks.fuzz import Findings
from benchmarks.fuzz.trained import MOLECULE_PARAMS, NODE_PARAMS, Runs, refusal, with_checkpoints, write_table
from graphattn.errors import InputError
from graphattn.runs import (
    MoleculeTable,
    NetworkFiles,
    RunOptions,
    predict_molecules,
    predict_nodes,
    train_molecules,
    train_nodes,
)

_SAME = ("model.safetensors", "predictions.csv", "config.json", "splits.json", "history.csv")
_LIMIT = 120.0
# Enough that a kill finds it at work.
_EPOCHS = {"molecules": 12, "nodes": 60}
_ROWS = 4_000


@dataclass(frozen=True)
class _Job:
    """What a process does; plain values, as it is sent to one.

    Args:
        kind: "molecules" or "nodes".
        source: the table, or the network.
        run: the run that predicts; None to train.
        out: what to write.
        again: go on, or write over what is there.
    """

    kind: str
    source: Path | NetworkFiles
    run: Path | None
    out: Path
    again: bool = False
    overwrite: bool = False

    def do(self) -> None:
        predict: Callable[..., Any] = predict_molecules if self.kind == "molecules" else predict_nodes
        if self.run is not None:
            predict(self.run, self.source, self.out, overwrite=self.again or self.overwrite)
            return
        params = {**(MOLECULE_PARAMS if self.kind == "molecules" else NODE_PARAMS), "epochs": _EPOCHS[self.kind]}
        options = RunOptions(self.out, params=params, resume=self.again, overwrite=self.overwrite)
        with with_checkpoints():
            if isinstance(self.source, Path):
                train_molecules(MoleculeTable.from_file(self.source, "smiles", "value"), options)
            else:
                train_nodes(self.source, options)


def fuzz_kills(runs: Runs, folder: Path, number: int, seed: int) -> list[Findings]:
    """Kills so many processes of each kind: training and predicting, of molecules and of a network.

    Raises:
        InputError: where the system cannot start processes from one that has imported all.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        raise InputError("processes are killed where a fork server is, which this system lacks; leave them out with --kills 0")
    context = multiprocessing.get_context("forkserver")
    # Imports would take most of the time of each process, and most of the kills.
    context.set_forkserver_preload(["benchmarks.fuzz.kills", "graphattn.estimators", "graphattn.runs.plots", "torch._dynamo"])
    rng, every = random.Random(seed), []
    table = folder / "many.csv"
    write_table(table, [["name", "smiles", "value"], *([f"m{k}", runs.smiles[k % 600], k % 9] for k in range(_ROWS))])
    for kind, source, run in (("molecules", runs.table, runs.molecules), ("nodes", runs.network, runs.nodes)):
        for what in ("train", "predict"):
            place = folder / f"{what}_{kind}"
            place.mkdir()
            predicting = what == "predict"
            given: Path | NetworkFiles = table if predicting and kind == "molecules" else source  # type: ignore[assignment]
            job = _Job(kind, given, run if predicting else None, place / ("out.csv" if predicting else "out"))
            started = time.monotonic()
            found = Findings(f"killed: {what} {kind}")
            _kill_often(context, job, found, number, rng)
            found.seconds = time.monotonic() - started
            every.append(found)
    return every


def _kill_often(context: Any, job: _Job, found: Findings, number: int, rng: random.Random) -> None:
    whole = replace(job, out=job.out.with_name("whole" + job.out.suffix))
    seconds = []
    for _ in range(2):  # the first starts the server
        child = context.Process(target=replace(whole, overwrite=bool(seconds)).do)
        started = time.monotonic()
        child.start()
        child.join(_LIMIT)
        seconds.append(time.monotonic() - started)
        if child.exitcode != 0:
            found.fault(f"the process that nobody kills ends with {child.exitcode}")
            return
    expected, inputs = _content(whole.out), _user_files(job)
    before = job.out.with_name("before")
    copytree(whole.out, before) if whole.out.is_dir() else before.write_text("of the user")
    mine = job.out.with_name(f"{job.out.name}.mine.part")
    mine.write_text("of the user")
    for turn in range(number):
        replaces = turn % 3 == 2
        if replaces:
            copytree(before, job.out) if before.is_dir() else job.out.write_bytes(before.read_bytes())
        child = context.Process(target=replace(job, overwrite=replaces).do)
        child.start()
        # Much of what matters happens at the end.
        after = rng.random() * seconds[1] if turn % 2 else (0.6 + 0.5 * rng.random()) * seconds[1]
        child.join(after)
        child.kill()
        child.join()
        fault = _after(job, child.exitcode, expected, _content(before), replaces, found)
        if fault is None and _user_files(job) != inputs:
            fault = "what was read is changed"
        if fault is None and mine.read_text() != "of the user":
            fault = f"{mine.name} of the user is changed"
        if fault is not None:
            found.fault(f"kill {turn} after {after:.3f} s: {fault}")
        for left in job.out.parent.iterdir():
            if left not in (before, mine, whole.out):
                rmtree(left) if left.is_dir() else left.unlink()


def _after(
    job: _Job, code: int | None, expected: dict[str, bytes], before: dict[str, bytes], replaces: bool, found: Findings
) -> str | None:
    """What is wrong after a kill, and after the job was done again; None where nothing is."""
    if code not in (0, -9):
        return f"the process ended by itself with {code}"
    there = _content(job.out) if job.out.exists() else None
    if there is not None and there != expected and not (replaces and there == before):
        return f"{job.out.name} is there, and is neither the old one nor the new one"
    done = there == expected and (job.run is not None or code == 0 or not job.out.with_name("out.partial").exists())
    try:
        if not (done and job.run is None and not replaces):
            replace(job, again=True, overwrite=replaces).do()
    except Exception as error:
        complete = "is complete already" in str(error) and there == expected
        if not complete:
            return f"it cannot be done again: {refusal(error) or error}"
    if _content(job.out) != expected:
        return "done again, it gives other bits"
    names = {path.name for path in job.out.parent.iterdir()}
    # What a killed prediction had written has a name of its own, which nothing else looks at.
    parts = {name for name in names if name.startswith("out.csv.") and name.endswith(".part")} if job.run is not None else set()
    left = names - parts - {"out", "out.csv", "whole", "whole.csv", "before", f"{job.out.name}.mine.part"}
    if left:
        return f"done again, it leaves {sorted(left)}"
    found.outcomes["killed, then equal" if code else "ended first, equal"] += 1
    return None


def _content(out: Path) -> dict[str, bytes]:
    """The bytes that must be the same."""
    if out.is_file():
        return {"": out.read_bytes()}
    content = {name: (out / name).read_bytes() for name in _SAME if (out / name).is_file()}
    if "history.csv" in content:  # all of it but the time that each epoch took
        rows = csv.DictReader(io.StringIO(content["history.csv"].decode()))
        content["history.csv"] = repr(
            [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]
        ).encode()
    return content


def _user_files(job: _Job) -> dict[str, bytes]:
    paths = [job.source] if isinstance(job.source, Path) else [job.source.edges, job.source.nodes, job.source.features]
    paths += [] if job.run is None else [path for path in sorted(job.run.iterdir()) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if path is not None}
