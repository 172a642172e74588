"""What `featurise` says of a molecule besides its graph is what the functions of one SMILES say."""

from __future__ import annotations

import numpy as np
import pytest

from graphattn.chem import canonical_smiles, crippen_logp, featurise, scaffold
from graphattn.chem import molecules as module

SMILES = ["OCC", "c1ccccc1CC(N)C(=O)O", "C1CC", "", None, "N[C@@H](C)C(=O)O", "F/C=C/F", "[Na+].[Cl-]", "OC(=O)C1CC1 name"]


def check(records) -> None:
    assert records.canonical == [canonical_smiles(text) or "" for text in SMILES]
    assert records.scaffolds == [scaffold(text) or "" for text in SMILES]
    assert np.array_equal(records.logp, crippen_logp(SMILES), equal_nan=True)


@pytest.mark.parametrize("chunk", [1000, 2])
def test_the_same_as_one_by_one(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    check(featurise(SMILES, describe=True, cache=None).records)
    assert featurise(SMILES, cache=None).records is None


def test_they_survive_the_cache(tmp_path, monkeypatch):
    featurise(SMILES, describe=True, cache=tmp_path)
    featurise(SMILES, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(module, "featurise_chunk", None)  # a hit parses nothing
    check(featurise(SMILES, describe=True, cache=tmp_path).records)
    assert featurise(SMILES, cache=tmp_path).records is None


def test_describing_changes_no_graph():
    plain, described = (featurise(SMILES, describe=describe, cache=None) for describe in (False, True))
    assert plain.errors == described.errors
    for one, other in zip(plain.graphs, described.graphs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or all(np.array_equal(value, other[name]) for name, value in one)


def test_isotopes_and_atom_maps_make_no_other_molecule():
    """A model sees neither: the same graph, so the same molecule and the same scaffold."""
    alike = ["OC1CCCC1", "O[13CH]1CCCC1", "[OH:1][CH:2]1[CH2:3]CC[14CH2:4]1", "[18OH]C1CCCC1"]
    made = featurise(alike, describe=True, cache=None)
    assert set(made.records.canonical) == {"OC1CCCC1"}
    assert set(made.records.scaffolds) == {scaffold(text) for text in alike} == {"C1CCCC1"}
    # A written hydrogen is an atom of the graph, also as deuterium; R and S are seen, also where isotopes make them.
    others = featurise(["CO", "[2H]CO", "[2H][C@H](C)O", "[2H][C@@H](C)O"], describe=True, cache=None)
    assert len(set(others.records.canonical)) == 4
    assert [graph.num_nodes for graph in others.graphs] == [2, 3, 4, 4]
    assert not np.array_equal(others.graphs[2].x, others.graphs[3].x)


def test_no_rows():
    records = featurise([], describe=True).records
    assert (records.canonical, records.scaffolds, records.logp) == ([], [], [])
