"""What a network may be given as: masks, labels and features in the forms that people have them, or a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch_geometric.data import Data

from graphattn import InputError, NodeClassifier, NodeRegressor
from graphattn.estimators.sources.network import as_network, nodes_of_mask

ALL = np.ones(6, dtype=bool)
OPTIONS: dict[str, Any] = {"channels": 8, "num_layers": 1, "heads": 2, "epochs": 3, "seed": 0, "device": "cpu"}


def network(**changes: Any) -> Data:
    edges = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]])
    values = {"x": torch.eye(6), "edge_index": edges, "y": torch.tensor([0, 1, 0, 1, 0, 1]), **changes}
    return Data(**values)


MASK = np.array([True, False, True, False, False, True])


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        torch.from_numpy(MASK),
        MASK.astype(np.uint8),
        MASK.astype(np.int64),
        MASK.astype(np.float32),
        torch.from_numpy(MASK).long(),
        MASK.tolist(),
        MASK.astype(int).tolist(),
        pd.Series(MASK),
        pd.array(MASK, dtype="boolean"),
        [0, 2, 5],
        range(0, 6, 2),
        (5, 0, 2),
    ],
    ids=lambda mask: f"{type(mask).__name__}-{getattr(mask, 'dtype', '')}",
)
def test_masks_and_node_numbers(mask: Any) -> None:
    expected = [0, 2, 4] if isinstance(mask, range) else [0, 2, 5]
    assert sorted(nodes_of_mask(mask, 6, "mask", ALL)) == expected
    labelled = ALL.copy()
    labelled[0] = False
    assert 0 not in nodes_of_mask(mask, 6, "mask", labelled)
    assert len(nodes_of_mask(None, 6, "mask", ALL)) == len(nodes_of_mask([], 6, "mask", ALL)) == 0


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1, 2, 1, 5, 2], "mask must name each node once, but names 2 more often, such as node 1"),
        ([0.0, 2.0], "mask must be bool, 0 and 1 for each of 6 nodes, or node numbers, got float64"),
        ([0, 6], "mask must hold node numbers from 0 to 5, got values from 0 to 6"),
        ([-1, 2], "mask must hold node numbers from 0 to 5, got values from -1 to 2"),
        (np.ones(5, dtype=bool), "mask must have shape [6], got [5]"),
        (np.ones((6, 1)), "mask must be bool of shape [6], or node numbers below 6, got float64 [6, 1]"),
        (["train"] * 6, "mask must be bool of shape [6], or node numbers below 6, got <U5 [6]"),
        (pd.array([True, None] * 3, dtype="boolean"), "mask must be bool of shape [6]"),
    ],
)
def test_what_is_neither(mask: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        nodes_of_mask(mask, 6, "mask", ALL)
    assert str(error.value).startswith(message)


def test_a_mask_of_numbers_trains_and_scores_as_a_mask_of_bool() -> None:
    data, mask = network(), np.array([1, 1, 1, 1, 0, 0], dtype=np.uint8)
    ours, theirs = NodeClassifier(**OPTIONS).fit(data, mask), NodeClassifier(**OPTIONS).fit(data, mask.astype(bool))
    assert np.array_equal(ours.predict_proba(data), theirs.predict_proba(data))
    assert ours.score(data, 1 - mask) == theirs.score(data, ~mask.astype(bool))


X = torch.eye(6)


@pytest.mark.parametrize(
    "x",
    [
        X.numpy(),
        X.tolist(),
        X.long(),
        X.bool(),
        X.to_sparse_coo(),
        X.to_sparse_csr(),
        X.to_sparse_csc(),
        sparse.coo_array(X.numpy()),
        sparse.csc_array(X.numpy()),
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'layout', '')}-{getattr(x, 'dtype', '')}",
)
def test_features_in_any_form(x: Any) -> None:
    expected = NodeClassifier(**OPTIONS).fit(network()).predict_proba(network())
    data = network(x=x, edge_index=network().edge_index.numpy())
    found = NodeClassifier(**OPTIONS).fit(data).predict_proba(data)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert isinstance(data.edge_index, np.ndarray)  # as it was


def test_one_number_a_node_is_one_feature() -> None:
    assert as_network(network(x=torch.arange(6.0))).x.tolist() == [[0], [1], [2], [3], [4], [5]]


def test_labels_in_any_form() -> None:
    expected = NodeClassifier(**OPTIONS).fit(network())
    for y, classes in (
        (np.array([0, 1] * 3), [0, 1]),
        ([0, 1] * 3, [0, 1]),
        (torch.tensor([False, True] * 3), [False, True]),
        (np.array(["a", "b"] * 3), ["a", "b"]),
        (pd.Series(["a", "b"] * 3), ["a", "b"]),
    ):
        found = NodeClassifier(**OPTIONS).fit(network(y=y))
        assert found.classes_.tolist() == classes
        assert np.array_equal(found.predict_proba(network()), expected.predict_proba(network()))
        assert set(found.predict(network()).tolist()) <= set(classes)
    missing = NodeClassifier(**OPTIONS).fit(network(y=pd.array(["a", pd.NA, None, "b", "", "a"])))
    assert missing.classes_.tolist() == ["a", "b"]
    numbers = NodeRegressor(**OPTIONS).fit(network(y=np.array([1, None, 3, pd.NA, "4", ""], dtype=object)))
    assert numbers.mean_ == pytest.approx(8 / 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "data must be a torch_geometric Data with edge_index, got NoneType"),
        (network(edge_index=None), "data.edge_index must be integers of shape [2, edges], got None"),
        (
            network(edge_index=torch.zeros(2, 3)),
            "data.edge_index must be integers of shape [2, edges], got torch.float32 [2, 3]",
        ),
        (network(edge_index="a b"), "data.edge_index must be a tensor or an array of numbers, got a str of others"),
        (network(x=np.array([["a"]] * 6)), "data.x must be a tensor or an array of numbers, got a ndarray of others"),
        (network(y=np.array([1.5, "a", None, 2, 3, 4], dtype=object)), "data.y must hold text or whole numbers, got values of"),
        (network(y=torch.tensor([0.5] * 6)), "data.y must be integers of shape [6], got torch.float32 [6]"),
    ],
)
def test_what_cannot_be_read(data: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        NodeClassifier(**OPTIONS).fit(data)
    assert str(error.value).startswith(message)


def test_text_is_no_number() -> None:
    with pytest.raises(InputError, match=r"^data\.y must hold numbers, got values such as 'high'$"):
        NodeRegressor(**OPTIONS).fit(network(y=np.array(["high", "1", "2", "3", "4", "5"])))
