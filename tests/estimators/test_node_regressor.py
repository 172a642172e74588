from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from graphattn import InputError, NodeRegressor

SMALL = {"channels": 16, "heads": 2, "epochs": 5, "dropout": 0.0}


def two_cliques(scale=1.0):
    """Two cliques of six with one edge between them; the value follows from a node's own feature and its side."""
    graph = nx.disjoint_union(nx.complete_graph(6), nx.complete_graph(6))
    graph.add_edge(0, 6)
    x = torch.linspace(-1, 1, 12).unsqueeze(1).repeat(1, 3)
    side = torch.tensor([0.0] * 6 + [1.0] * 6)
    return Data(x=x, edge_index=from_networkx(graph).edge_index, y=scale * (10 + 3 * side + x[:, 0]), num_nodes=12)


def test_a_small_network_is_learnt_to_near_zero_error():
    data = two_cliques(scale=100.0)
    model = NodeRegressor(**{**SMALL, "channels": 32, "epochs": 300}).fit(data)
    assert np.abs(model.predict(data) - data.y.numpy()).max() < 0.05 * data.y.std()
    assert model.score(data) > 0.99
    assert model.mean_ == pytest.approx(data.y.mean().item())


def test_nodes_without_a_value_are_unlabelled():
    data, other = two_cliques(), two_cliques()
    data.y[[1, 7]] = float("nan")
    other.y[[1, 7]] = torch.tensor([1e6, -1e6])
    masked = NodeRegressor(**SMALL).fit(data)
    chosen = NodeRegressor(**SMALL).fit(other, [node for node in range(12) if node not in (1, 7)])
    assert np.isfinite(masked.predict(data)).all()
    assert np.array_equal(masked.predict(data), chosen.predict(data))
    assert np.isfinite(masked.score(data))


def test_validation_stops_by_rmse():
    model = NodeRegressor(**SMALL).fit(two_cliques(), [0, 1, 2, 6, 7, 8], [3, 9])
    assert all("valid_rmse" in row for row in model.history_)
    errors = model.predict(two_cliques())[[3, 9]] - two_cliques().y.numpy()[[3, 9]]
    assert np.sqrt((errors**2).mean()) == pytest.approx(min(row["valid_rmse"] for row in model.history_), rel=1e-4)


def test_it_survives_the_disk(tmp_path):
    data = two_cliques()
    model = NodeRegressor(**SMALL, seed=3).fit(data)
    model.save_pretrained(tmp_path)
    again = NodeRegressor.from_pretrained(tmp_path)
    assert np.array_equal(again.predict(data), model.predict(data))
    assert (again.mean_, again.std_) == (model.mean_, model.std_)
    assert again.get_params() == clone(model).get_params() == model.get_params()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.full((12,), float("nan")), "needs labelled nodes to train on, got none"),
        (torch.full((12,), float("inf")), "must be finite, and NaN where a node is unlabelled, got 12 infinite"),
        (torch.zeros(12, 2), r"data.y must have shape \[12\], one label a node, got \[12, 2\]"),
        (torch.zeros(12, dtype=torch.bool), "data.y must hold numbers, got torch.bool"),
        (None, "data.y is missing"),
    ],
)
def test_bad_values(y, message):
    data = two_cliques()
    data.y = y
    with pytest.raises(InputError, match=message):
        NodeRegressor(**SMALL).fit(data)


def test_classes_are_no_numbers():
    data = two_cliques()
    data.class_names = ["left", "right"]
    with pytest.raises(InputError, match=r"data\.class_names says that it holds 2 classes"):
        NodeRegressor(**SMALL).fit(data)
