"""Mutated files of an interrupted run: it goes on to the very same model, or is refused in one sentence."""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import torch

from benchmarks.fuzz import Findings
from benchmarks.fuzz.run_files import mutate
from benchmarks.fuzz.trained import MOLECULE_PARAMS, NODE_PARAMS, Runs, no_numbers, read_back, refusal, with_checkpoints
from graphattn.runs import MoleculeTable, RunOptions, train_molecules, train_nodes
from graphattn.train import EpochReport

_ODD_TENSORS = (float("nan"), float("inf"), 1e30, -3e38, 0.0)
_ODD: tuple[Any, ...] = (None, True, -1, 0, 10**9, 0.5, float("nan"), float("inf"), "", "a", [], {}, [1], {"a": 1})


class _Stop(Exception):
    pass


def fuzz_checkpoints(runs: Runs, folder: Path, number: int, seed: int) -> list[Findings]:
    """Mutates so many files of runs that were broken off after an epoch, and resumes each."""
    rng = random.Random(seed)
    found, resealed = Findings("mutated checkpoints"), Findings("… with a new checksum")
    table = MoleculeTable.from_file(runs.table, "smiles", "value")
    jobs: dict[str, Callable[[RunOptions], Any]] = {
        "molecules": lambda options: train_molecules(table, options),
        "nodes": lambda options: train_nodes(runs.network, options),
    }
    for job, train in jobs.items():
        out = folder / job
        partial, saved = folder / f"{job}.partial", folder / f"{job}.saved"
        params = MOLECULE_PARAMS if job == "molecules" else NODE_PARAMS
        expected = ((runs.molecules if job == "molecules" else runs.nodes) / "model.safetensors").read_bytes()
        _break_off(train, out, params)
        partial.rename(saved)
        for turn in range(number // 2):
            copytree(saved, partial)
            name = "request.json" if turn % 4 == 0 else "checkpoint.pt"
            sealed = turn % 4 == 3
            its = resealed if sealed else found
            before = (partial / name).read_bytes()
            content, what = _with_other_values(before, rng) if sealed else mutate(name, before, rng)
            (partial / name).write_bytes(content) if content is not None else (partial / name).unlink()
            started = time.monotonic()
            try:
                train(RunOptions(out, params=params, resume=True))
            except Exception as error:
                fault = refusal(error)
                its.fault(f"{job}, {name}, {what}: {fault}") if fault else its.outcomes.update(["refused in a sentence"])
            else:
                if (out / "model.safetensors").read_bytes() == expected:
                    its.outcomes["the same model"] += 1
                elif not sealed:
                    its.fault(f"{job}, {name}, {what}: goes on to another model")
                elif no_numbers(read_back(out / "predictions.csv")):
                    its.fault(f"{job}, {name}, {what}: goes on to a model that predicts no numbers, and says nothing")
                else:
                    its.outcomes["the model of other values"] += 1
            if time.monotonic() - started > 10:
                its.fault(f"{job}, {name}, {what}: takes {time.monotonic() - started:.0f} s")
            for left in (out, partial):
                rmtree(left, ignore_errors=True)
    return [found, resealed]


def _break_off(train: Callable[[RunOptions], Any], out: Path, params: dict[str, Any]) -> None:
    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise _Stop

    with with_checkpoints():
        try:
            train(RunOptions(out, params=params, report=stop))
        except _Stop:
            return
    raise AssertionError("the run ended before it was broken off")


def _with_other_values(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A checkpoint with one value changed, and its sum made to fit."""
    state = torch.load(io.BytesIO(content[32:]), weights_only=True)
    holder, key = rng.choice(list(_places(state)))
    value = holder[key]
    if isinstance(value, torch.Tensor) and value.is_floating_point() and rng.random() < 0.7:
        odd: Any = rng.choice(_ODD_TENSORS)
        holder[key] = torch.full_like(value, odd)
    elif isinstance(value, torch.Tensor) and rng.random() < 0.5:
        odd = "another shape"
        holder[key] = torch.zeros(7, dtype=value.dtype)
    else:
        odd = rng.choice(_ODD)
        holder[key] = odd
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue(), f"{key!r} set to {odd!r}"


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else list(range(min(3, len(tree)))) if isinstance(tree, list) else []
    for key in keys:
        yield tree, key
        yield from _places(tree[key])
