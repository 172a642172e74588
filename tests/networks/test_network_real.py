"""The real networks load whole: counts as their publishers give them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphattn.networks import load_network

# folder, name of the files, options of the node table, nodes, edges between two nodes, self-loops, features that occur, classes
NETWORKS = [
    ("facebook_page_page", "facebook", {"label_column": "page_type"}, 22_470, 170_823, 179, 4_714, 4),
    ("github_social", "musae_git", {"label_column": "ml_target"}, 37_700, 289_003, 0, 4_005, 2),
    ("twitch/DE", "musae_DE", {"id_column": "new_id", "label_column": "mature"}, 9_498, 153_138, 0, 2_514, 2),
    ("twitch/ENGB", "musae_ENGB", {"id_column": "new_id", "label_column": "mature"}, 7_126, 35_324, 0, 2_545, 2),
]


@pytest.mark.parametrize(
    ("folder", "name", "options", "nodes", "pairs", "loops", "width", "classes"), NETWORKS, ids=[row[1] for row in NETWORKS]
)
def test_a_real_network(
    real_data: Path, folder: str, name: str, options: dict, nodes: int, pairs: int, loops: int, width: int, classes: int
) -> None:
    features = "facebook.json" if name == "facebook" else f"{name}_features.json"
    files = [real_data / folder / file for file in (f"{name}_edges.csv", f"{name}_target.csv", features)]
    network = load_network(*files, **options)
    data = network.data
    assert network.report == {"nodes": nodes, "edges": pairs + loops} | ({"self_loops": loops} if loops else {})
    assert data.edge_index.shape == (2, 2 * pairs + loops)
    assert data.num_nodes == len(network.ids) == nodes
    assert data.x.layout == torch.sparse_csr
    assert data.x.shape == (nodes, width)
    assert len(data.class_names) == classes
    assert len(data.y.unique()) == classes
    assert int(data.y.min()) == 0


def test_github_classes_and_homophily(real_data: Path) -> None:
    folder = real_data / "github_social"
    data = load_network(folder / "musae_git_edges.csv", folder / "musae_git_target.csv", label_column="ml_target").data
    assert data.y.bincount().tolist() == [27_961, 9_739]
    same = data.y[data.edge_index[0]] == data.y[data.edge_index[1]]
    assert round(float(same.float().mean()), 3) == 0.845


def test_edges_alone_give_the_same_network(real_data: Path) -> None:
    network = load_network(real_data / "facebook_page_page" / "facebook_edges.csv")
    assert network.report == {"nodes": 22_470, "edges": 171_002, "self_loops": 179}
    assert network.ids[:2] == ["0", "18427"]
