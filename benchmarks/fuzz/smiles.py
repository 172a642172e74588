"""Mutated SMILES: every row of a table of them is answered, and the table is read back as it was given."""

from __future__ import annotations

import random
import re
from pathlib import Path

from benchmarks.fuzz import Findings
from benchmarks.fuzz.trained import Runs, read_back, refusal, write_table, wrong_answers
from graphattn.runs import predict_molecules

_ROWS = 1000
_TOKEN = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)
_CHARACTERS = "CNOSPFIBcnosp[]()=#$:/\\.+-@%0123456789Hh*~><&!?{}|^_;,'\"` \t\r\nAZaz"
_CHARACTERS += "\x00\x07\x7f\u00e9\u0416\u2212\u200b\ufeff\U0001f600"
_TOKENS = (
    *("[nH]", "[C@@H]", "[O-]", "[N+]", "[2H]", "[Fe+2]", "[U]", "[*:1]", "[C+200]", "[99999C]", "[]", "[Xx]", "[CH99]"),
    *("%10", "%99", "%(1000)", "1", "0", "(", ")", "()", ".", "..", "=", "#", "$", "/", "\\", "c1ccccc1", "C1CC1", ">>"),
    *("C" * 300, " |$R$|", " a name", "\t", "[H]", "[H][H]", "[CH4-]", "[Si](C)(C)C", "[Pt]", "[Na+].[Cl-]", "b1ccccc1"),
    *("[te]", "[se]"),
)


def mutate(text: str, others: list[str], rng: random.Random) -> str:
    """A SMILES with one change, or some, of characters or of tokens."""
    tokens = rng.random() < 0.5
    parts = _TOKEN.findall(text) if tokens else list(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, other = rng.randrange(len(parts) + 1), rng.randrange(len(parts) + 1)
        first, last = min(place, other), max(place, other)
        kind = rng.randrange(7)
        if kind == 0:
            del parts[place : place + 1]
        elif kind == 1:
            parts.insert(place, rng.choice(_TOKENS if tokens else _CHARACTERS))
        elif kind == 2:
            parts[place : place + 1] = [rng.choice(_TOKENS if tokens else _CHARACTERS)]
        elif kind == 3:
            parts = parts[:first] + parts[first:last] * 2 + parts[last:]
        elif kind == 4:
            parts = parts[:first] + parts[last:]
        elif kind == 5:
            parts = parts[:first] + parts[first:last][::-1] + parts[last:]
        else:
            donor = _TOKEN.findall(rng.choice(others))
            parts[place:place] = donor[: rng.randrange(len(donor) + 1)]
    return "".join(parts)


def fuzz_smiles(runs: Runs, folder: Path, number: int, seed: int) -> list[Findings]:
    """Predicts so many mutated SMILES."""
    rng, found = random.Random(seed), Findings("mutated SMILES")
    for start in range(0, number, _ROWS):
        rows = [
            [f"{start + row:07d}", mutate(rng.choice(runs.smiles), runs.smiles, rng)]
            for row in range(min(_ROWS, number - start))
        ]
        fault = _try(runs, folder, rows, found)
        if fault is None:
            continue
        for row in rows:  # which one it is
            alone = _try(runs, folder, [row], Findings(""))
            if alone is not None:
                found.fault(f"{row[1]!a}: {alone}")
        if not found.faults:
            found.fault(f"rows from {start}: {fault}")
    return [found]


def _try(runs: Runs, folder: Path, rows: list[list[str]], found: Findings) -> str | None:
    given = [["0id", "smiles"], *rows]
    write_table(folder / "in.csv", given)
    try:
        result = predict_molecules(runs.molecules, folder / "in.csv", folder / "out.csv", overwrite=True)
    except Exception as error:
        return refusal(error) or f"the table is refused: {error}"
    answer = read_back(folder / "out.csv")
    fault = wrong_answers(answer, given)
    if fault is None and result["rows"] != len(rows):
        fault = f"it counts {result['rows']} of {len(rows)} rows"
    if fault is None:
        found.outcomes["predicted"] += result["predicted"]
        found.outcomes["refused with a reason"] += len(rows) - result["predicted"]
    return fault
