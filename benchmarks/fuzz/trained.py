"""Small trained runs of both jobs, and the data to train and use them on."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphattn.data import load_molecules
from graphattn.errors import InputError
from graphattn.estimators.base import GraphEstimator
from graphattn.runs import MoleculeTable, NetworkFiles, RunOptions, train_molecules, train_nodes

MOLECULE_PARAMS: dict[str, Any] = {"channels": 16, "num_layers": 1, "heads": 2, "epochs": 3}
NODE_PARAMS: dict[str, Any] = {"channels": 16, "num_layers": 1, "heads": 2, "epochs": 5}


@dataclass(frozen=True)
class Runs:
    """Two runs, and what they were trained on.

    Args:
        smiles: real SMILES.
        molecules: the run on molecules; its table has the columns name, smiles and value.
        table: that table.
        nodes: the run on a network.
        network: that network.
    """

    smiles: list[str]
    molecules: Path
    table: Path
    nodes: Path
    network: NetworkFiles


def train_both(folder: Path) -> Runs:
    """Trains both, in a second or two."""
    frame = load_molecules("nci_crippen").frame
    smiles = frame["smiles"].tolist()[:600]
    values = frame.iloc[:200, [list(frame.columns).index("smiles"), -1]]
    table = folder / "molecules.csv"
    rows = [[f"m{row}", *pair] for row, pair in enumerate(values.itertuples(index=False, name=None))]
    write_table(table, [["name", "smiles", "value"], *rows])
    source = MoleculeTable.from_file(table, "smiles", "value")
    train_molecules(source, RunOptions(folder / "molecules", params=MOLECULE_PARAMS))
    network = write_network(folder)
    train_nodes(network, RunOptions(folder / "nodes", params=NODE_PARAMS))
    return Runs(smiles, folder / "molecules", table, folder / "nodes", network)


def write_network(folder: Path) -> NetworkFiles:
    """Two rings of 30 people with links across, a side each and a list of features."""
    links = [[f"p{ring + k}", f"p{ring + (k + step) % 30}"] for ring in (0, 30) for k in range(30) for step in (1, 7)]
    write_table(folder / "edges.csv", [["a", "b"], *links, ["p0", "p30"], ["p5", "p45"]])
    write_table(folder / "people.csv", [["id", "side"], *([f"p{k}", "left" if k < 30 else "right"] for k in range(60))])
    (folder / "features.json").write_text(json.dumps({f"p{k}": [k % 7, 10 + k // 30] for k in range(60)}))
    return NetworkFiles(
        folder / "edges.csv", folder / "people.csv", folder / "features.json", id_column="id", label_column="side"
    )


def write_table(path: Path, rows: list[list[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read_back(path: Path) -> list[list[str]]:
    limit = csv.field_size_limit(2**31 - 1)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.reader(file, strict=True))
    finally:
        csv.field_size_limit(limit)


def refusal(error: Exception) -> str | None:
    """Why an error is no sentence for a user; None where it is one."""
    if not isinstance(error, InputError):
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    text = str(error)
    if not text or "\n" in text or len(text) > 2000:
        return f"a message of {len(text):,} characters and {text.count(chr(10))} line ends: {text[:100]!r}"
    return None


def wrong_answers(answer: list[list[str]], given: list[list[str]]) -> str | None:
    """What is wrong with a table of predictions, by the rows that were given, the header first; None where nothing is."""
    if len(answer) != len(given):
        return f"{len(given) - 1:,} rows were given, and {len(answer) - 1:,} are answered"
    width = len(given[0])
    if answer[0][:width] != given[0]:
        return f"the header {given[0]} became {answer[0]}"
    prediction, error = answer[0].index("prediction", width), answer[0].index("error", width)
    for row, (got, wanted) in enumerate(zip(answer[1:], given[1:], strict=True)):
        if got[:width] != wanted:
            return f"row {row} was {wanted!r} and became {got[:width]!r}"
        if bool(got[prediction]) == bool(got[error]):
            return f"row {row}, {wanted!r}, has prediction {got[prediction]!r} and error {got[error]!r}"
        if got[prediction] and not abs(float(got[prediction])) < float("inf"):
            return f"row {row}, {wanted!r}, has prediction {got[prediction]!r}"
        if "\n" in got[error]:
            return f"row {row}, {wanted!r}, has an error of several lines: {got[error]!r}"
    return None


def no_numbers(answer: list[list[str]]) -> bool:
    """Whether a table of predictions has a row that has neither numbers, or a class, nor a reason."""
    added = [place for place, name in enumerate(answer[0]) if name == "prediction" or name.startswith(("probability", "prob_"))]
    reason = answer[0].index("error") if "error" in answer[0] else None
    for row in answer[1:]:
        if reason is not None and row[reason]:
            continue
        if any(row[place].lower() in ("", "nan", "inf", "-inf") for place in added):
            return True
    return False


@contextmanager
def with_checkpoints() -> Iterator[None]:
    """A checkpoint after every epoch, where training would write one every few seconds."""
    options = GraphEstimator._train_options
    setattr(  # noqa: B010
        GraphEstimator, "_train_options", lambda self: dataclasses.replace(options(self), checkpoint_seconds=0.0)
    )
    try:
        yield
    finally:
        setattr(GraphEstimator, "_train_options", options)  # noqa: B010
