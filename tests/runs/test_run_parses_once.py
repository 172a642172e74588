"""A run parses each SMILES once and computes each structural transform once."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
from rdkit import Chem

from graphattn.runs import MoleculeTable, RunOptions, evaluate_molecules, predict_molecules, train_molecules, train_nodes
from graphattn.runs.network import NetworkOfCatalogue
from graphattn.structure import AddRandomWalk

SMILES = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N", "c1ccccc1")]
SMILES += ["C1CC1" + "C" * n + "C1CC1" for n in range(8)]  # scaffolds of one molecule each, for valid and test
PARAMS = {"channels": 8, "num_layers": 1, "heads": 1, "epochs": 2, "n_jobs": 1}


@pytest.fixture
def parsed(monkeypatch, tmp_path) -> Counter:
    """How often each SMILES was parsed."""
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "cache"))
    counts: Counter = Counter()
    parse = Chem.MolFromSmiles

    def count(text, *args, **kwargs):
        counts[text] += 1
        return parse(text, *args, **kwargs)

    monkeypatch.setattr(Chem, "MolFromSmiles", count)
    return counts


def table(**columns) -> MoleculeTable:
    frame = pd.DataFrame({"smiles": SMILES, "y": [str(len(text)) for text in SMILES], **columns}, dtype=str)
    return MoleculeTable(frame, "a table", "smiles", "y")


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("split", ["random", "scaffold"])
def test_each_smiles_is_parsed_once(tmp_path, parsed, task, split):
    y = [str(len(text) % 2) for text in SMILES] if task == "classification" else [str(len(text)) for text in SMILES]
    train_molecules(table(y=y), RunOptions(tmp_path / "run", split=split, params=PARAMS), task=task)
    assert parsed == dict.fromkeys(SMILES, 1)
    parsed.clear()
    evaluate_molecules(tmp_path / "run", table(y=y))
    assert parsed == dict.fromkeys(SMILES, 1)
    parsed.clear()
    predict_molecules(tmp_path / "run", table(y=y), tmp_path / "out.csv")
    assert parsed == dict.fromkeys(SMILES, 1)


def test_a_bad_smiles_is_parsed_once_more_for_its_reason(tmp_path, parsed):
    frame = pd.DataFrame({"smiles": [*SMILES, "C1CC"], "y": ["1", "2"] * (len(SMILES) // 2) + ["3"]}, dtype=str)
    metrics = train_molecules(MoleculeTable(frame, "a table", "smiles", "y"), RunOptions(tmp_path / "run", params=PARAMS))
    assert parsed == {**dict.fromkeys(SMILES, 1), "C1CC": 2}
    assert metrics["excluded"] == {"smiles: cannot be read": 1}


def test_each_transform_is_computed_once(tmp_path, parsed, monkeypatch):
    nodes = []
    compute = AddRandomWalk.compute
    monkeypatch.setattr(AddRandomWalk, "compute", lambda self, graphs: nodes.append(graphs.num_nodes) or compute(self, graphs))
    train_molecules(table(), RunOptions(tmp_path / "run", params=PARAMS))
    assert sum(nodes) == sum(Chem.MolFromSmiles(text).GetNumAtoms() for text in SMILES)
    nodes.clear()
    params = {"channels": 8, "heads": 1, "epochs": 2, "encodings": {"random_walk": 4}}
    train_nodes(NetworkOfCatalogue("karate"), RunOptions(tmp_path / "karate", params=params))
    assert nodes == [34]
