"""Mutated SMILES, run files and tables, and killed processes: nothing may end in a traceback or in a wrong file."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Sizes:
    """How much is tried.

    Args:
        smiles: mutated SMILES.
        files: mutated files of runs.
        tables: odd tables.
        kills: processes killed, for each of training and prediction of molecules and of networks.
    """

    smiles: int = 20_000
    files: int = 500
    tables: int = 400
    kills: int = 30


_SHOWN = 10
QUICK = Sizes(smiles=300, files=40, tables=20, kills=0)


@dataclass
class Findings:
    """What a part of the fuzzing found.

    Args:
        name: the part.
        outcomes: what became of what was tried → how often.
        faults: sentences, one for each thing that must not happen.
        seconds: how long it took.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        return self.outcomes.total()

    def fault(self, what: str) -> None:
        self.outcomes["fault"] += 1
        self.faults.append(what)


def fuzz(sizes: Sizes, seed: int, say: Callable[[str], None] = lambda text: None) -> list[Findings]:
    """Tries everything, the same for the same seed, and returns what was found."""
    from benchmarks.fuzz.checkpoints import fuzz_checkpoints
    from benchmarks.fuzz.kills import fuzz_kills
    from benchmarks.fuzz.run_files import fuzz_run_files
    from benchmarks.fuzz.smiles import fuzz_smiles
    from benchmarks.fuzz.tables import fuzz_tables
    from benchmarks.fuzz.trained import train_both

    found = []
    with tempfile.TemporaryDirectory(prefix="graphattn-fuzz-") as name:
        folder = Path(name)
        runs = train_both(folder)
        parts: list[tuple[Callable[..., list[Findings]], int]] = [
            (fuzz_smiles, sizes.smiles),
            (fuzz_run_files, sizes.files * 4 // 5),
            (fuzz_checkpoints, sizes.files - sizes.files * 4 // 5),
            (fuzz_tables, sizes.tables),
            (fuzz_kills, sizes.kills),
        ]
        for part, size in parts:
            if not size:
                continue
            place = folder / part.__name__
            place.mkdir()
            started = time.monotonic()
            made = part(runs, place, size, seed)
            if not any(one.seconds for one in made):  # of parts that take turns
                made[0].seconds = time.monotonic() - started
            for one in made:
                say(f"{one.name}: {one.tried:,} tried, {len(one.faults)} faults, {one.seconds:.0f} s")
            found += made
    return found


def show(found: list[Findings], console: Console) -> None:
    """Prints a table, a row a part, and the first faults of each."""
    table = Table("part", "tried", "what became of them", "faults", "seconds", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for one in found:
        outcomes = ", ".join(f"{count:,} {what}" for what, count in one.outcomes.most_common())
        table.add_row(one.name, f"{one.tried:,}", outcomes, str(len(one.faults)), f"{one.seconds:.0f}")
    console.print(table)
    for one in found:
        for fault in one.faults[:_SHOWN]:
            console.print(f"{one.name}: {fault}", markup=False, highlight=False, soft_wrap=True)
        if len(one.faults) > _SHOWN:
            console.print(f"{one.name}: and {len(one.faults) - _SHOWN:,} more", highlight=False)
