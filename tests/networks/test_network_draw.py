"""Pictures: they are written, are what they say, and refuse what they cannot show."""

from __future__ import annotations

import sys
from pathlib import Path

import networkx as nx
import pytest
import torch
from matplotlib.image import imread
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.networks import draw_network, from_networkx

BLUE, ORANGE = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)


def pixels(path: Path, colour: tuple[int, int, int]) -> int:
    """Counts the pixels of a colour."""
    picture = torch.from_numpy(imread(path)[..., :3]).mul(255).round().long()
    return int((picture == torch.tensor(colour)).all(dim=2).sum())


def test_karate_club_shows_its_classes_rings_and_mistakes(tmp_path: Path) -> None:
    had_pyplot = "matplotlib.pyplot" in sys.modules
    network = from_networkx(nx.karate_club_graph(), label="club")
    data, path = network.data, tmp_path / "plain.png"
    draw_network(data, data.y, path, ids=network.ids)
    assert path.read_bytes().startswith(b"\x89PNG")
    blue, orange, black = (pixels(path, colour) for colour in (BLUE, ORANGE, (0, 0, 0)))
    assert blue > 1000
    assert 0.8 < blue / orange < 1.25

    ringed, crossed = tmp_path / "ringed.png", tmp_path / "crossed.png"
    draw_network(data, data.y, ringed, train_index=torch.tensor([0, 33]), ids=network.ids)
    assert pixels(ringed, (0, 0, 0)) > black + 100
    wrong = data.y.clone()
    wrong[:8] = 1 - wrong[:8]
    draw_network(data, wrong, crossed, ids=network.ids, title="karate club")
    assert pixels(crossed, (0, 0, 0)) > black + 100
    assert pixels(crossed, ORANGE) > orange
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_unlabelled_nodes_are_not_mistakes(tmp_path: Path) -> None:
    data = from_networkx(nx.path_graph(4)).data
    draw_network(data, [0, 1, 0, 1], tmp_path / "none.png")
    data.y = torch.tensor([0, -1, -1, 1])
    draw_network(data, [0, 1, 0, 1], tmp_path / "some.png")
    assert (tmp_path / "none.png").read_bytes() == (tmp_path / "some.png").read_bytes()


def test_the_same_network_looks_the_same(tmp_path: Path) -> None:
    data = from_networkx(nx.path_graph(5)).data
    for name in ("a.png", "b.png"):
        draw_network(data, [0, 1, 2, 3, 9], tmp_path / name, class_names=list("abcdefghij"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("nodes", [0, 1])
def test_the_smallest_networks(tmp_path: Path, nodes: int) -> None:
    data = Data(edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=nodes)
    draw_network(data, torch.zeros(nodes, dtype=torch.long), tmp_path / "a.png", ids=["$x$ 中"] * nodes)
    assert (tmp_path / "a.png").stat().st_size > 0


def test_what_cannot_be_shown_is_a_clear_error(tmp_path: Path) -> None:
    data = from_networkx(nx.path_graph(3)).data
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match="data has 501 nodes; a picture can show at most 500"):
        draw_network(from_networkx(nx.path_graph(501)).data, [0] * 501, path)
    with pytest.raises(InputError, match="labels has the shape"):
        draw_network(data, [0, 1], path)
    with pytest.raises(InputError, match="ids has 1 entries"):
        draw_network(data, [0, 1, 1], path, ids=["a"])
    with pytest.raises(InputError, match="labels runs from -1 to 1; expected classes from 0 to 1"):
        draw_network(data, [0, -1, 1], path)
    with pytest.raises(InputError, match="expected classes from 0 to 0"):
        draw_network(data, [0, 1, 1], path, class_names=["one"])
    assert not path.exists()
