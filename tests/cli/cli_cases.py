"""The command line in the test's own process, and small tables and networks to run it on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphattn.cli import main

SMILES = ["C" * n for n in range(1, 9)] + ["C" * n + "O" for n in range(1, 9)] + ["C" * n + "N" for n in range(1, 9)]
TARGETS = [0.5 * smiles.count("C") - smiles.count("O") for smiles in SMILES]
SMALL_MOLECULES = (
    'channels = 16\nnum_layers = 1\nheads = 2\nepochs = 3\nbatch_size = 8\nseed = 1\nema_decay = 0.0\nreadout = "mean"\n'
)
SMALL_NODES = "channels = 16\nnum_layers = 1\nheads = 2\nepochs = 5\ndropout = 0.0\n"


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that an error must be."""
        lines = self.err.strip().splitlines()
        assert lines, "nothing on stderr"
        assert lines[-1].startswith("error: "), self.err
        assert "Traceback" not in self.err
        return lines[-1].removeprefix("error: ")


def call(*args: object) -> Result:
    """Runs `graphattn ARGS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return Result(int(end.value.code or 0), out.getvalue(), err.getvalue())


def write_csv(path: Path, header: list[str] | None, rows: list[list[Any]], delimiter: str = ",") -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        if header:
            writer.writerow(header)
        writer.writerows(rows)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_molecules(folder: Path) -> None:
    """`logp.csv` (name, smiles, logp) and `small.toml`."""
    rows = [[f"m{row}", smiles, value] for row, (smiles, value) in enumerate(zip(SMILES, TARGETS, strict=True))]
    write_csv(folder / "logp.csv", ["name", "smiles", "logp"], rows)
    (folder / "small.toml").write_text(SMALL_MOLECULES)


def write_network(folder: Path) -> None:
    """Two rings of ten with a bridge, ids with gaps, features that tell the rings apart: edges, people, features, small."""
    ids = [10 * node for node in range(20)]
    edges = [[ids[ring + node], ids[ring + (node + 1) % 10]] for ring in (0, 10) for node in range(10)] + [[ids[0], ids[10]]]
    write_csv(folder / "edges.csv", ["from", "to"], edges)
    write_csv(folder / "people.csv", ["id", "side"], [[ids[node], "left" if node < 10 else "right"] for node in range(20)])
    features = {str(ids[node]): [int(node >= 10), 2 + node % 3] for node in range(20)}
    (folder / "features.json").write_text(json.dumps(features))
    (folder / "small.toml").write_text(SMALL_NODES)


NETWORK = ("--edges", "edges.csv", "--nodes", "people.csv", "--features", "features.json")
LABELLED = (*NETWORK, "--id-column", "id", "--label-column", "side")


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
