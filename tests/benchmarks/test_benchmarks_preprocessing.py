from __future__ import annotations

import json
from types import SimpleNamespace

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE
from torch_geometric.utils import from_networkx

from benchmarks import preprocessing
from graphattn.structure import STRUCTURE, AddRandomWalk


def graph(of: nx.Graph) -> Data:
    return Data(edge_index=from_networkx(of).edge_index, num_nodes=len(of))


RINGS = [graph(nx.cycle_graph(nodes)) for nodes in (12, 4, 9, 20)]


@pytest.fixture
def small(monkeypatch, tmp_path) -> None:
    """Four rings and a star in place of the data sets, and this process in place of fresh ones."""
    monkeypatch.setattr(preprocessing, "THREADS", torch.get_num_threads())
    monkeypatch.setattr(preprocessing, "RESULTS", tmp_path)
    monkeypatch.setattr(preprocessing, "molecules", lambda: RINGS)
    monkeypatch.setattr(preprocessing, "load_network_dataset", lambda name: SimpleNamespace(data=graph(nx.star_graph(30))))
    monkeypatch.setattr(preprocessing, "in_fresh_process", lambda function, *args: function(*args))


def test_all_is_all_but_positions() -> None:
    assert set(preprocessing.ALL["encodings"]) == set(STRUCTURE["encodings"]) - {"sinusoidal", "learned"}
    assert set(preprocessing.ALL["biases"]) == set(STRUCTURE["biases"])
    assert set(preprocessing.ALL["extra_edges"]) == set(STRUCTURE["extra_edges"])


def test_torch_geometric_fails_on_what_it_is_spared() -> None:
    small_ring, large_enough = RINGS[1], RINGS[2]
    with pytest.raises(RuntimeError):
        AddLaplacianEigenvectorPE(preprocessing.VECTORS, is_undirected=True)(small_ring)
    AddLaplacianEigenvectorPE(preprocessing.VECTORS, is_undirected=True)(large_enough)


def test_the_record_and_its_table(small, tmp_path, capsys) -> None:
    preprocessing.main()
    record = json.loads((tmp_path / "preprocessing.json").read_text())
    assert len(record["rounds"]) == preprocessing.ROUNDS
    assert record["molecules"] == 4
    assert record["skipped by pyg"] == {"Laplacian": 1}
    figures = record["figures"]
    assert all(value > 0 for value in figures.values())
    for name in ("random walk", "Laplacian"):
        ratio = figures[f"{name}, pyg, seconds"] / figures[f"{name}, ours, seconds"]
        assert figures[f"{name}, pyg/ours"] == pytest.approx(ratio)
    assert [bar["figure"] for bar in record["bars"]] == [bar.figure for bar in preprocessing.BARS]
    printed = capsys.readouterr().out
    assert "pyg was spared 1 graphs" in printed
    assert all(name in printed for name in figures)


def test_sides_that_differ_are_not_timed(small, monkeypatch) -> None:
    def wrong(self: AddRandomWalk, graphs: object) -> dict[str, torch.Tensor]:
        return {"random_walk_pe": torch.ones(sum(ring.num_nodes for ring in RINGS), preprocessing.STEPS)}

    monkeypatch.setattr(AddRandomWalk, "compute", wrong)
    with pytest.raises(AssertionError, match="not close"):
        preprocessing.beside_pyg(1)
