"""Graphs of lists: order, jobs, cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphattn.chem import ATOM_WIDTH, BOND_WIDTH, Molecules, atom_feature_names, featurise, from_smiles, molecules
from graphattn.errors import InputError

SMILES = ["CCO", "c1ccccc1O", "xyz", "C", "[Na+].[Cl-]", None, "C" * 500, "[U]", "C[C@H](N)C(=O)O", ""]


def assert_same(one: Molecules, other: Molecules) -> None:
    assert one.errors == other.errors
    assert len(one) == len(other)
    for left, right in zip(one.graphs, other.graphs, strict=True):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            assert left.keys() == right.keys()
            assert all(torch.equal(left[key], right[key]) for key in left.keys())  # noqa: SIM118 - Data is no dict


def test_ethanol() -> None:
    data = from_smiles("CCO")
    assert data.x.shape == (3, ATOM_WIDTH)
    assert data.x.dtype == torch.float32
    assert data.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert data.edge_index.dtype == torch.int64
    assert data.edge_attr.shape == (4, BOND_WIDTH)
    assert data.edge_attr.dtype == torch.float32
    assert data.smiles == "CCO"
    ones = [{atom_feature_names()[column] for column in row.nonzero().flatten().tolist()} for row in data.x]
    tail = {"charge=0", "hybridisation=SP3", "chirality=none", "ionisable=none", "ring_size=none", "rings=0"}
    assert ones == [
        {"element=C", "degree=1", "hydrogens=3", "hydrophobic", "partial_charge=below 0", "crippen=C1"} | tail,
        {"element=C", "degree=2", "hydrogens=2", "partial_charge=below 0.05", "crippen=C3"} | tail,
        {"element=O", "degree=1", "hydrogens=1", "donor", "acceptor", "partial_charge=below -0.3", "crippen=O2"} | tail,
    ]
    # Type single and stereo none are columns 0 and 7; no flag is set.
    assert data.edge_attr.nonzero().tolist() == [[edge, column] for edge in range(4) for column in (0, 7)]
    assert data.is_undirected()
    assert not data.has_isolated_nodes()


def test_from_smiles_refuses_a_bad_one() -> None:
    with pytest.raises(InputError, match=r"cannot be read.*given 'xyz'"):
        from_smiles("xyz")


def test_a_list_keeps_its_rows() -> None:
    result = featurise(SMILES, cache=None)
    assert [graph is None for graph in result.graphs] == [False, False, True, *[False] * 2, True, *[False] * 3, True]
    assert sorted(result.errors) == [2, 5, 9]
    assert result.errors[5] == result.errors[9] == "SMILES is empty"
    for text, graph in zip(SMILES, result.graphs, strict=True):
        if graph is not None:
            alone = from_smiles(str(text))
            assert sorted(graph.keys()) == ["edge_attr", "edge_index", "x"]
            assert all(torch.equal(graph[key], alone[key]) for key in graph.keys())  # noqa: SIM118 - Data is no dict


@settings(max_examples=20)
@given(st.permutations(range(len(SMILES))))
def test_permuting_the_rows_permutes_the_result(order: list[int]) -> None:
    straight = featurise(SMILES, cache=None)
    permuted = featurise([SMILES[row] for row in order], cache=None)
    expected = Molecules(
        graphs=[straight.graphs[row] for row in order],
        errors={place: straight.errors[row] for place, row in enumerate(order) if row in straight.errors},
        fingerprints=straight.fingerprints[list(order)],
    )
    assert_same(permuted, expected)


def test_empty_lists_and_lists_without_a_good_row() -> None:
    assert featurise([], cache=None).graphs == []
    assert featurise(["xyz", None], cache=None).graphs == [None, None]
    with pytest.raises(InputError, match="one string"):
        featurise("CCO")


def test_jobs_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecules, "_CHUNK", 4)
    done: list[int] = []
    parallel = featurise(SMILES, n_jobs=2, cache=None, progress=done.append)
    assert done == [4, 4, 2]
    assert_same(parallel, featurise(SMILES, n_jobs=1, cache=None))
    monkeypatch.setattr(molecules, "_CHUNK", 1000)
    assert_same(parallel, featurise(pd.Series(SMILES), cache=None))


@pytest.mark.skipif(joblib.cpu_count() < 2, reason="one core has no use for workers")
def test_long_lists_go_to_workers_without_torch() -> None:
    """joblib keeps its workers, so that those which featurised can be asked what they have imported."""
    code = """
import joblib, sys
from graphattn.chem import featurise, molecules
molecules._CHUNK, molecules._WORTH_WORKERS = 10, 10
assert len(featurise(["CCO"] * 40, cache=None)) == 40
ask = "[name in __import__('sys').modules for name in ('graphattn.chem.features', 'torch')]"
answers = joblib.Parallel(n_jobs=-1)(joblib.delayed(eval)(ask) for _ in range(20))
assert [True, False] in answers and not any(torch for _, torch in answers), answers
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "LOKY_MAX_CPU_COUNT": "2"})


def test_a_cache_hit_equals_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = featurise(SMILES, cache=None)
    done: list[int] = []
    assert_same(featurise(SMILES, cache=tmp_path, progress=done.append), fresh)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".safetensors"

    monkeypatch.setattr(molecules, "featurise_chunk", None)  # a hit reads no SMILES
    assert_same(featurise(SMILES, cache=str(tmp_path), progress=done.append), fresh)
    assert done == [len(SMILES)] * 2


def test_other_content_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    featurise(["CCO", "C"], cache=tmp_path)
    for count, smiles in enumerate((["C", "CCO"], ["CCO"], ["CCO", "C", ""], ["CCOC"], ["CCO", None]), start=2):
        assert_same(featurise(smiles, cache=tmp_path), featurise(smiles, cache=None))
        assert len(list(tmp_path.iterdir())) == count
    monkeypatch.setattr(molecules, "FEATURE_VERSION", -1)
    featurise(["CCO", "C"], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 7


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    fresh = featurise(SMILES, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1  # still a valid file, with a wrong number in it
    for damaged in (b"", b"no such format", whole[:-1], whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(damaged)
        assert_same(featurise(SMILES, cache=tmp_path), fresh)
        assert molecules._load(file) is not None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert_same(featurise(SMILES, cache=blocked / "cache"), featurise(SMILES, cache=None))


def test_the_cache_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"the user's own file")
    featurise(["C"], cache=tmp_path)
    (first,) = tmp_path.glob("molecules-*")
    size = first.stat().st_size
    featurise(["N"], cache=tmp_path)
    (second,) = set(tmp_path.glob("molecules-*")) - {first}
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    featurise(["C"], cache=tmp_path)  # used: the other one is older now
    monkeypatch.setattr(molecules, "_CACHE_LIMIT", 2 * size)
    featurise(["O"], cache=tmp_path)
    assert first.exists()
    assert not second.exists()
    assert len(list(tmp_path.glob("molecules-*"))) == 2
    assert (tmp_path / "mine.safetensors").exists()


def test_the_default_cache_holds_long_lists_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    featurise(["C"] * 499)
    assert list(tmp_path.iterdir()) == []
    featurise(["C"] * 500)
    assert len(list((tmp_path / "molecules").iterdir())) == 1


def test_a_real_file_takes_seconds(real_data: Path, tmp_path: Path) -> None:
    smiles = pd.read_csv(real_data / "lipophilicity" / "Lipophilicity.csv")["smiles"]
    start = time.perf_counter()
    cold = featurise(smiles, cache=tmp_path)
    middle = time.perf_counter()
    warm = featurise(smiles, cache=tmp_path)
    end = time.perf_counter()
    assert cold.errors == {}
    assert len(cold) == 4200
    assert_same(cold, warm)
    # Bounds far above what was measured (1.8 s and 0.2 s), for a busy machine.
    assert middle - start < 20
    assert end - middle < 5
    sizes = np.array([graph.num_nodes for graph in cold.graphs if graph is not None])
    assert (len(sizes), sizes.sum(), sizes.max(), np.median(sizes)) == (4200, 113_568, 115, 27)


def test_whatever_rdkit_raises_is_the_reason_of_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In featurising and in describing alike; the other rows are as they are without it."""

    def raising(mol: Any, logp: float) -> tuple[str, str, float]:
        if mol.GetNumAtoms() == 2:
            raise RuntimeError("Pre-condition Violation\n\tbad bond\n\tViolation occurred on line 1")
        return "", "", logp

    expected = featurise(["CCO", "CCC"])
    monkeypatch.setattr("graphattn.chem.features.record_of", raising)
    found = featurise(["CCO", "CC", "CCC"], describe=True)
    assert found.errors == {1: "RDKit cannot describe this molecule: bad bond"}
    assert found.graphs[1] is None
    assert found.records is not None
    assert len(found.records.logp) == 3
    for graph, other in zip((found.graphs[0], found.graphs[2]), expected.graphs, strict=True):
        assert graph is not None
        assert other is not None
        assert torch.equal(graph.x, other.x)
        assert torch.equal(graph.edge_index, other.edge_index)
