"""Odd tables: each is refused in one sentence, or every row is answered in its place."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from benchmarks.fuzz import Findings
from benchmarks.fuzz.trained import MOLECULE_PARAMS, NODE_PARAMS, Runs, read_back, refusal, wrong_answers
from graphattn.runs import (
    MoleculeTable,
    RunOptions,
    evaluate_molecules,
    evaluate_nodes,
    predict_molecules,
    predict_nodes,
    train_molecules,
    train_nodes,
)

_CELLS = (
    *("", " ", "  a ", "NA", "nan", "None", "null", "-", "0", "-0", "1e5", "1e400", "-inf", "1,5", "1.234,5", "1_000"),
    *("0x1A", "\u0663", "a,b", "a;b", "a\tb", '"', '""', 'a"b', "'", "a\nb", "a\r\nb", "a\rb", "\\", "\x00", "\x1a", "\x85"),
    *("\u2028", "\ufeff", "\xa0", "é", "日本", "\U0001f600", "=1+1", "#", "# a", "%", "True", "left", "p1", "C", "CCO"),
    *("c1ccccc1", "x" * 5000, "C" * 200),
)
_HEADERS = (
    *("smiles", "value", "name", "id", "side", "", " smiles", "SMILES", "value ", "prediction", "error", "a,b"),
    *('q"', "é", "1", "\n"),
)
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift_jis")


class _Way(NamedTuple):
    """How a table is written, and whether a reader must get back the very cells."""

    content: bytes
    what: str
    exact: bool


def fuzz_tables(runs: Runs, folder: Path, number: int, seed: int) -> list[Findings]:
    """Writes so many tables, half of molecules and half of networks, and predicts, evaluates and trains with each."""
    rng = random.Random(seed)
    molecules, networks = Findings("odd tables of molecules"), Findings("odd tables of networks")
    for turn in range(number):
        of_molecules = turn % 2 == 0
        found = molecules if of_molecules else networks
        rows = _molecule_rows(runs, rng) if of_molecules else _people(runs, rng)
        changed = [_change(rows, rng) for _ in range(rng.choice((1, 1, 2, 4)))]
        way = _write(rows, rng)
        what = f"table {turn} ({', '.join([*changed, way.what])})"
        path, train = folder / ("table.csv.gz" if way.what.endswith("gzip") else "table.csv"), turn % 8 < 2
        path.write_bytes(way.content)
        use = _use_molecules if of_molecules else _use_network
        for job, outcome in use(runs, folder, path, rows if way.exact else None, train=train).items():
            if outcome is None or outcome == _REFUSED:
                found.outcomes[f"{job}: {'answered' if outcome is None else 'refused'}"] += 1
            else:
                found.fault(f"{what}, {job}: {outcome}")
        if found.faults and not (folder / "first_fault.csv").exists():
            (folder / "first_fault.csv").write_bytes(way.content)
        path.unlink()
    return [molecules, networks]


_REFUSED = "refused"


def _use_molecules(runs: Runs, folder: Path, path: Path, rows: list[list[str]] | None, *, train: bool) -> dict[str, str | None]:
    out = folder / "out.csv"

    def predict() -> str | None:
        result = predict_molecules(runs.molecules, path, out, overwrite=True)
        answer = read_back(out)
        # Of a table that has more than one way to be read, the places are those of the reader.
        given = rows or [list(map(str, row)) for row in _as_read(path)]
        return wrong_answers(answer, given) or _wrong_count(result["rows"], len(given) - 1)

    jobs: dict[str, Callable[[], Any]] = {
        "predict": predict,
        "evaluate": lambda: evaluate_molecules(runs.molecules, MoleculeTable.from_file(path, "smiles", "value")) and None,
    }
    if train:
        jobs["train"] = lambda: _trained(
            folder,
            lambda options: train_molecules(MoleculeTable.from_file(path, "smiles", "value"), options),
            {**MOLECULE_PARAMS, "epochs": 1},
        )
    return {job: _outcome(use) for job, use in jobs.items()}


def _use_network(runs: Runs, folder: Path, path: Path, rows: list[list[str]] | None, *, train: bool) -> dict[str, str | None]:
    out, network = folder / "out.csv", replace(runs.network, nodes=path, ignore_unknown_edges=True)

    def predict() -> str | None:
        result = predict_nodes(runs.nodes, network, out, overwrite=True)
        answer = read_back(out)
        ids = [row[0] for row in answer[1:]]
        if len(set(ids)) < len(ids):
            return "a node is answered twice"
        if any(not cell or not abs(float(cell)) < float("inf") for row in answer[1:] for cell in row[2:]):
            return "a probability is missing or no number"
        if rows is not None and rows[0].count("id") == 1:
            given = [row[rows[0].index("id")] for row in rows[1:]]
            # Names lose the spaces around them.
            if ids[: len(given)] != given and ids[: len(given)] != [name.strip() for name in given]:
                return f"the nodes {given} became {ids}"
        return _wrong_count(result["found"]["nodes"], len(ids))

    jobs: dict[str, Callable[[], Any]] = {"predict": predict, "evaluate": lambda: evaluate_nodes(runs.nodes, network) and None}
    if train:
        jobs["train"] = lambda: _trained(folder, lambda options: train_nodes(network, options), {**NODE_PARAMS, "epochs": 1})
    return {job: _outcome(use) for job, use in jobs.items()}


def _trained(folder: Path, train: Callable[[RunOptions], Any], params: dict[str, Any]) -> str | None:
    out = folder / "run"
    try:
        train(RunOptions(out, params=params))
    finally:
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith("run"))
        rmtree(out, ignore_errors=True)
        rmtree(folder / "run.partial", ignore_errors=True)
    return None if left == ["run"] else f"training leaves {left}"


def _outcome(use: Callable[[], str | None]) -> str | None:
    try:
        return use()
    except Exception as error:
        return refusal(error) or _REFUSED


def _wrong_count(said: int, there: int) -> str | None:
    return None if said == there else f"it counts {said:,} rows of {there:,}"


def _as_read(path: Path) -> list[list[str]]:
    from graphattn.tables import read_table

    frame = read_table(path)
    return [frame.columns.tolist(), *frame.astype(object).to_numpy().tolist()]  # numpy's own text loses zero bytes


def _molecule_rows(runs: Runs, rng: random.Random) -> list[list[str]]:
    rows = [[f"m{row}", rng.choice(runs.smiles), f"{rng.gauss(0, 2):.2f}"] for row in range(rng.choice((0, 1, 3, 12, 30)))]
    return [["name", "smiles", "value"], *rows]


def _people(runs: Runs, rng: random.Random) -> list[list[str]]:
    people = read_back(runs.network.nodes) if runs.network.nodes is not None else []
    return people if rng.random() < 0.8 else people[: rng.randrange(1, len(people))]


def _change(rows: list[list[str]], rng: random.Random) -> str:
    """Changes a table in one way, and says which."""
    width, kind = len(rows[0]), rng.randrange(10)
    column = rng.randrange(width) if width else 0
    if kind <= 3 and len(rows) > 1 and width:
        row, cell = rng.randrange(1, len(rows)), rng.choice(_CELLS)
        rows[row][column] = cell
        return f"cell {row}, {column} is {cell[:20]!r}"
    if kind == 4 and width:
        rows[0][column] = rng.choice(_HEADERS)
        return f"column {column} is called {rows[0][column]!r}"
    if kind == 5 and width > 1:
        for row in rows:
            del row[column]
        return f"no column {column}"
    if kind == 6 and width:
        for row in rows:
            row.insert(column, row[column])
        return f"column {column} twice"
    if kind == 7:
        for number, row in enumerate(rows):
            row.append("" if number else rng.choice(_HEADERS))
        return f"an empty column {rows[0][-1]!r}"
    if kind == 8 and len(rows) > 1:
        place = rng.randrange(1, len(rows))
        rows.insert(place, list(rng.choice(rows)))
        return f"row {place} repeats another"
    if kind == 9 and len(rows) > 1 and width:
        place, size = rng.randrange(1, len(rows)), rng.choice((131_071, 131_073, 1_000_000))
        rows[place][column] = rng.choice("C 1é") * size
        return f"cell {place}, {column} has {size:,} characters"
    return "as it is"


def _write(rows: list[list[str]], rng: random.Random) -> _Way:
    delimiter, end = rng.choice(",,,;\t|"), rng.choice(("\n", "\r\n", "\r"))
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n", quoting=quoting)
    writer.writerows(rows)
    plain = text.getvalue()
    # Cells that hold line ends keep theirs only where the lines have the writer's own.
    inner = any(mark in cell for row in rows for cell in row for mark in "\r\n")
    plain = plain if inner else plain.replace("\r\n", end)
    what = f"delimiter {delimiter!r}, line end {end!r}"
    shape = len(rows[0]) > 1 and len(set(rows[0])) == len(rows[0]) and all(map(str.strip, rows[0]))
    exact = shape and delimiter != "|" and not any(not any(cell.strip() for cell in row) for row in rows)
    # A mark, a zero byte or a header that looks like another delimiter's has several readings.
    exact = exact and not any(mark in cell for row in rows for cell in row for mark in "\ufeff\x00\x1a")
    exact = exact and not any(mark in cell or cell != cell.strip() for cell in rows[0] for mark in ',;\t|"\n')
    kind = rng.randrange(8)
    if kind == 0 and plain:
        place = rng.randrange(len(plain))
        plain, exact = plain[:place] + rng.choice(_CELLS) + plain[place:], False
        what += f", odd text at {place}"
    elif kind == 1 and plain:
        place = rng.randrange(len(plain))
        plain, exact = plain[:place], False
        what += f", cut off at {place}"
    elif kind == 2:
        plain, exact = plain.replace(end, end * 2), False
        what += ", empty lines"
    elif kind == 3:
        plain, exact = rng.choice(("", end, "# a comment" + end + plain, "sep=" + delimiter + end + plain)), False
        what += ", another beginning"
    encoding = rng.choice((*("utf-8",) * 4, *_ENCODINGS))
    try:
        content = plain.encode(encoding)
    except UnicodeEncodeError:
        encoding, content = "utf-8", plain.encode()
    exact = exact and (encoding in ("utf-8", "utf-8-sig") or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))
    what += f", {encoding}"
    if rng.random() < 0.1 and content:
        place = rng.randrange(len(content))
        content, exact = content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :], False
        what += f", byte {place} changed"
    if rng.random() < 0.1:
        content = gzip.compress(content)
        if rng.random() < 0.3:
            content, exact = content[: rng.randrange(1, len(content))], False
        what += ", gzip"
    return _Way(content, what, exact)
