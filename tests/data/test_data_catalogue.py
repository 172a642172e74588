"""Data sets load with the counts of their cards, and mean what the cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from graphattn.data import NetworkDataset, load_card, load_molecules, load_network_dataset
from graphattn.errors import InputError


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No own data, an empty cache, and no way to the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.delenv("GRAPHATTN_DATA", raising=False)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    monkeypatch.setattr("requests.get", refuse)


@pytest.fixture
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real_data: Path) -> Path:
    """`GRAPHATTN_DATA` is the folder of real data."""
    monkeypatch.setenv("GRAPHATTN_DATA", str(real_data))
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path))
    return real_data


def check_network(dataset: NetworkDataset) -> None:
    """What every network promises, against its card."""
    data, counts = dataset.data, dataset.card.counts
    data.validate()
    assert data.num_nodes == counts["nodes"] == len(dataset.ids) == len(set(dataset.ids))
    directed = counts.get("directed_edges") or 2 * counts["edges"] + counts.get("self_loops", 0)
    assert data.edge_index.shape == (2, directed)
    assert data.is_undirected()
    assert data.edge_index.dtype == data.y.dtype == torch.int64
    assert len(dataset.class_names) == counts["classes"]
    assert data.class_names == dataset.class_names
    assert data.y.unique().tolist() == list(range(counts["classes"]))
    if "features" in counts:
        assert data.x.shape == (counts["nodes"], counts["features"])
        assert data.x.dtype == torch.float32
    if dataset.split is not None:
        assert list(dataset.split) == ["train", "valid", "test"]
        rows = np.concatenate(list(dataset.split.values()))
        assert all(part.dtype == np.int64 for part in dataset.split.values())
        assert len(np.unique(rows)) == len(rows)
        assert rows.min() >= 0
        assert rows.max() < counts["nodes"]


def sizes(dataset: NetworkDataset) -> list[int] | None:
    return None if dataset.split is None else [len(part) for part in dataset.split.values()]


@pytest.mark.usefixtures("offline")
def test_nci_crippen_is_labelled_by_crippens_table() -> None:
    dataset = load_molecules("nci_crippen")
    assert dataset.frame.shape == (1500, 2)
    assert dataset.split is None
    assert all(isinstance(cell, str) for cell in dataset.frame.iloc[0])
    smiles = dataset.frame[dataset.smiles_column]
    values = dataset.frame[dataset.target_column].astype(float)
    assert smiles[0] == "CC1=CC(=O)C=CC1=O"
    # Methyl-p-benzoquinone, from the published table: CH3 on sp2 carbon C1 0.1441; three CH of alkenes and the
    # substituted one C6 4 × 0.1551; two C=O C5 2 × −0.2783; two carbonyl O9 2 × −0.1526; six H1 6 × 0.1230.
    assert values[0] == pytest.approx(0.1441 + 4 * 0.1551 - 2 * 0.2783 - 2 * 0.1526 + 6 * 0.1230)
    assert np.isfinite(values).all()
    assert load_molecules("nci_crippen").frame.equals(dataset.frame)


@pytest.mark.usefixtures("offline")
def test_karate_has_one_labelled_member_a_side() -> None:
    dataset = load_network_dataset("karate")
    check_network(dataset)
    assert "x" not in dataset.data
    assert dataset.class_names == ["Mr. Hi", "Officer"]
    assert dataset.split is not None
    assert dataset.split["train"].tolist() == [0, 33]
    assert dataset.data.y[[0, 33]].tolist() == [0, 1]
    assert sizes(dataset) == [2, 0, 32]


def test_the_job_must_fit() -> None:
    with pytest.raises(InputError, match="'karate' is for nodes, expected one for molecules"):
        load_molecules("karate")
    with pytest.raises(InputError, match="'esol' is for molecules, expected one for nodes"):
        load_network_dataset("esol")


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize(
    ("name", "mean", "parts"),
    [
        ("lipophilicity", 2.186336, [3360, 420, 420]),
        ("logd_chembl29", None, None),
        ("logp_physprop_opera", None, None),
        ("esol", -3.050102, [902, 113, 113]),
        ("freesolv", -3.803006, None),
        ("aqsoldb", None, None),
    ],
)
def test_molecules(name: str, mean: float | None, parts: list[int] | None) -> None:
    dataset = load_molecules(name)
    assert len(dataset.frame) == load_card(name).counts["molecules"]
    values = dataset.frame[dataset.target_column].astype(float)
    assert mean is None or values.mean() == pytest.approx(mean, abs=1e-5)
    assert dataset.frame[dataset.smiles_column].str.len().min() > 0
    assert (None if dataset.split is None else [len(part) for part in dataset.split.values()]) == parts


@pytest.mark.usefixtures("own_data")
def test_molecules_with_classes() -> None:
    dataset = load_molecules("b3db")
    assert dataset.frame[dataset.target_column].value_counts().to_dict() == {"BBB+": 4956, "BBB-": 2851}


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize(
    ("name", "classes", "parts"),
    [
        ("facebook_page_page", ["company", "government", "politician", "tvshow"], None),
        ("github_social", ["0", "1"], None),
        ("twitch_de", ["False", "True"], [4749, 2374, 2375]),
        ("twitch_engb", ["False", "True"], None),
    ],
)
def test_social_networks(name: str, classes: list[str], parts: list[int] | None) -> None:
    dataset = load_network_dataset(name)
    check_network(dataset)
    assert dataset.class_names == classes
    assert sizes(dataset) == parts
    assert dataset.encoding is not None
    assert dataset.data.x.layout == torch.sparse_csr


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cora", [140, 500, 1000]),
        ("citeseer", [120, 500, 1000]),
        ("pubmed", [60, 500, 1000]),
        ("amazon_photo", [4590, 1530, 1530]),
        ("coauthor_cs", [10999, 3666, 3668]),
    ],
)
def test_sparse_networks(name: str, parts: list[int]) -> None:
    dataset = load_network_dataset(name)
    check_network(dataset)
    assert sizes(dataset) == parts
    assert dataset.encoding is None
    x = dataset.data.x
    assert x.layout == torch.sparse_csr
    assert (x.values() > 0).all()
    assert name == "pubmed" or (x.values() <= 1).all()


@pytest.mark.usefixtures("own_data")
@pytest.mark.parametrize(
    ("name", "share", "parts"), [("tolokers", 0.218, [5879, 2939, 2940]), ("minesweeper", 0.2, [5000, 2500, 2500])]
)
def test_heterophilous_networks(name: str, share: float, parts: list[int]) -> None:
    dataset = load_network_dataset(name)
    check_network(dataset)
    assert dataset.data.x.layout == torch.strided
    assert sizes(dataset) == parts
    # The second class is the rare one: banned workers, mines.
    assert dataset.class_names[1] in ("banned", "mine")
    assert dataset.data.y.float().mean().item() == pytest.approx(share, abs=1e-3)


def test_twitch_split_numbers_are_ids(own_data: Path) -> None:
    dataset = load_network_dataset("twitch_de")
    numbers = np.load(own_data / "twitch" / "twitch-DE-splits.npz")["valid_0"]
    assert dataset.split is not None
    assert {dataset.ids[row] for row in dataset.split["valid"]} == {str(number) for number in numbers}


def test_cora_is_as_torch_geometric_reads_it(own_data: Path, tmp_path: Path) -> None:
    from torch_geometric.io import read_planetoid_data

    expected = read_planetoid_data(str(own_data / "planetoid" / "Cora" / "raw"), "cora")
    dataset = load_network_dataset("cora")
    assert torch.equal(dataset.data.x.to_dense(), expected.x)
    assert torch.equal(dataset.data.edge_index, expected.edge_index)
    assert dataset.split is not None
    assert np.array_equal(dataset.split["test"], expected.test_mask.nonzero().view(-1).numpy())


def test_a_pickle_with_another_sum_is_never_read(own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "planetoid" / "Cora" / "raw"
    raw.mkdir(parents=True)
    for path in (own_data / "planetoid" / "Cora" / "raw").iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    content = bytearray((raw / "ind.cora.ty").read_bytes())
    content[-10] ^= 1
    (raw / "ind.cora.ty").write_bytes(content)
    monkeypatch.setenv("GRAPHATTN_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"ind.cora.ty is not the file of data set 'cora'"):
        load_network_dataset("cora")


def test_a_scaffold_split_without_its_file_is_computed_and_the_same(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_molecules("esol").split
    (tmp_path / "esol").mkdir()
    (tmp_path / "esol" / "delaney-processed.csv").write_bytes((own_data / "esol/delaney-processed.csv").read_bytes())
    monkeypatch.setenv("GRAPHATTN_DATA", str(tmp_path))
    split = load_molecules("esol").split
    assert split is not None
    assert expected is not None
    assert {part: rows.tolist() for part, rows in split.items()} == {part: r.tolist() for part, r in expected.items()}


def test_another_split_without_its_file_is_none(own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = "amazon_photo/Photo/raw/amazon_electronics_photo.npz"
    (tmp_path / graph).parent.mkdir(parents=True)
    (tmp_path / graph).write_bytes((own_data / graph).read_bytes())
    monkeypatch.setenv("GRAPHATTN_DATA", str(tmp_path))
    assert load_network_dataset("amazon_photo").split is None
