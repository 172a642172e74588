"""Mutated files of a run: each loads to the same model, or is refused in one sentence."""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

from benchmarks.fuzz import Findings
from benchmarks.fuzz.trained import Runs, no_numbers, read_back, refusal
from graphattn.estimators.manifest import write_manifest
from graphattn.runs import MoleculeTable, evaluate_molecules, evaluate_nodes, predict_molecules, predict_nodes

_MOST_SECONDS = 10.0
_JSON = ("config.json", "manifest.json", "splits.json")
_FILES = (*_JSON, "model.safetensors")
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 10**6, 10**19, 10**400, float("nan"), float("inf"), -float("inf")),
    *("", "a", "0", "\x00", "\ud800", "a" * 10_000, [], [None], [[]], {}, {"a": 1}, ["a", "a"], [1, 2, 3]),
)

_ODD_WEIGHTS = (float("nan"), float("inf"), -float("inf"), 1e30, -3e38, 1e-45)


def fuzz_run_files(runs: Runs, folder: Path, number: int, seed: int) -> list[Findings]:
    """Mutates so many files of the two runs, and predicts and evaluates with each."""
    rng = random.Random(seed)
    as_found, resealed = Findings("mutated run files"), Findings("… with a new manifest")
    table = MoleculeTable.from_file(runs.table, "smiles", "value")
    small = MoleculeTable(table.frame.head(20), "a table", "smiles", "value")
    jobs: dict[str, Callable[[Path, Path], Any]] = {
        "molecules": lambda run, out: (predict_molecules(run, small, out, overwrite=True), evaluate_molecules(run, small))[1],
        "nodes": lambda run, out: (predict_nodes(run, runs.network, out, overwrite=True), evaluate_nodes(run, runs.network))[1],
    }
    for job, use in jobs.items():
        run, out = folder / job, folder / f"{job}.csv"
        copytree(runs.molecules if job == "molecules" else runs.nodes, run)
        files = {path.name: path.read_bytes() for path in run.iterdir()}
        expected = use(run, out), out.read_bytes()
        for turn in range(number // 2):
            sealed = turn % 4 == 3
            found = resealed if sealed else as_found
            name = rng.choice([name for name in _FILES if not (sealed and name == "manifest.json")])
            content, what = _mutate_sealed(name, files[name], rng) if sealed else mutate(name, files[name], rng)
            (run / name).write_bytes(content) if content is not None else (run / name).unlink()
            if sealed:
                write_manifest(run)
            started = time.monotonic()
            try:
                same = (use(run, out), out.read_bytes()) == expected
            except Exception as error:
                fault = refusal(error)
                found.fault(f"{job}, {name}, {what}: {fault}") if fault else found.outcomes.update(["refused in a sentence"])
            else:
                if same:
                    found.outcomes["the same answer"] += 1
                elif sealed and no_numbers(read_back(out)):
                    found.fault(f"{job}, {name}, {what}: predicts no numbers, and says nothing")
                elif sealed:
                    found.outcomes["the answer of other values"] += 1
                elif name == "splits.json" and content is None:
                    found.outcomes["says that the file is missing"] += 1
                else:
                    found.fault(f"{job}, {name}, {what}: loads, and answers otherwise")
            if time.monotonic() - started > _MOST_SECONDS:
                found.fault(f"{job}, {name}, {what}: takes {time.monotonic() - started:.0f} s")
            for each, bytes_ in files.items():
                (run / each).write_bytes(bytes_)
    return [as_found, resealed]


def _mutate_sealed(name: str, content: bytes, rng: random.Random) -> tuple[bytes | None, str]:
    """A change of values, as only they matter where the manifest fits."""
    if name in _JSON:
        return _mutate_value(content, rng)
    if rng.random() < 0.5:
        return mutate(name, content, rng)
    header = 8 + int.from_bytes(content[:8], "little")
    place, odd = header + 4 * rng.randrange((len(content) - header) // 4), rng.choice(_ODD_WEIGHTS)
    return content[:place] + struct.pack("<f", odd) + content[place + 4 :], f"the number at {place} set to {odd}"


def mutate(name: str, content: bytes, rng: random.Random) -> tuple[bytes | None, str]:
    """The content after a change, None for no file; and the change in words."""
    if name.endswith(".json") and rng.random() < 0.3:
        return _mutate_value(content, rng)
    place, kind = rng.randrange(len(content)), rng.randrange(8)
    # The header of the weights is where most bytes mean something.
    place = place % 400 if name == "model.safetensors" and rng.random() < 0.5 else place
    if kind == 0:
        return None, "deleted"
    if kind == 1:
        return content[:place], f"cut off at {place}"
    if kind == 2:
        return content + bytes(rng.randrange(256) for _ in range(rng.randint(1, 50))), "lengthened"
    if kind == 3:
        return content[:place] + content[place + 1 :], f"byte {place} left out"
    if kind == 4:
        return rng.choice([b"", b"[" * 200_000, b'{"a":' * 200_000, b"\x80\x04N.", b"null", b"9" * 5000]), "replaced"
    if kind == 5:
        return content[:place] + bytes([rng.randrange(256)]) + content[place:], f"a byte more at {place}"
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :], f"a bit of byte {place}"


def _mutate_value(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    tree = json.loads(content)
    holder, key = rng.choice(list(_places(tree)))
    where = f"{key!r} of {str(holder)[:40]!r}"
    if rng.random() < 0.25:
        del holder[key]
        what = f"{where} left out"
    else:
        holder[key] = rng.choice(_ODD)
        what = f"{where} set to {str(holder[key])[:30] if holder[key] != 10**400 else '10**400'!r}"
    return json.dumps(tree, ensure_ascii=True).encode(), what


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every object, and up to three places of every list."""
    keys = list(tree) if isinstance(tree, dict) else list(range(min(3, len(tree)))) if isinstance(tree, list) else []
    for key in keys:
        yield tree, key
        yield from _places(tree[key])
