"""Label propagation on graphs whose answer is known."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.networks import from_networkx, label_propagation


def path_of_three() -> Data:
    """0 - 1 - 2, and 3 alone; the ends are labelled."""
    return Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), y=torch.tensor([0, -1, 1, -1]), num_nodes=4)


def test_a_path_by_hand() -> None:
    # At the fixed point the ends' scores differ by 1 − α and add up to (1 − α) / (1 − α²): the larger share is 0.595.
    result = label_propagation(path_of_three(), torch.tensor([0, 2]), 2)
    expected = [[0.595, 0.405], [0.5, 0.5], [0.405, 0.595], [1.0, 0.0]]
    torch.testing.assert_close(result, torch.tensor(expected), atol=1e-3, rtol=0)


def test_one_label_fills_its_component_and_the_majority_the_rest() -> None:
    data = path_of_three()
    data.y = torch.tensor([0, 1, 1, 2])
    expected = [[0, 1, 0]] * 4
    assert label_propagation(data, torch.tensor([2]), 3).tolist() == expected
    assert label_propagation(data, torch.tensor([False, False, True, False]), 3).tolist() == expected


def test_without_edges_everyone_else_gets_the_majority() -> None:
    data = Data(edge_index=torch.empty(2, 0, dtype=torch.long), y=torch.tensor([1, 1, 0, 0, 0]), num_nodes=5)
    result = label_propagation(data, torch.tensor([0, 1, 2]), 2)
    assert result.tolist() == [[0, 1], [0, 1], [1, 0], [0, 1], [0, 1]]


def test_other_labels_are_not_looked_at() -> None:
    data = from_networkx(nx.karate_club_graph(), label="club").data
    before = label_propagation(data, torch.tensor([0, 33]), 2)
    right = before.argmax(dim=1) == data.y
    assert int(right.sum()) >= 32
    data.y[1:33] = -1
    assert torch.equal(label_propagation(data, torch.tensor([0, 33]), 2), before)


def test_bad_training_nodes_are_clear_errors() -> None:
    with pytest.raises(InputError, match="train_index is empty"):
        label_propagation(path_of_three(), torch.zeros(4, dtype=torch.bool), 2)
    with pytest.raises(InputError, match="not one of the 2 classes"):
        label_propagation(path_of_three(), torch.tensor([1]), 2)
    with pytest.raises(InputError, match="not one of the 1 classes"):
        label_propagation(path_of_three(), torch.tensor([2]), 1)
