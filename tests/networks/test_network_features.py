"""Features as sparse columns, worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from graphattn.errors import InputError
from graphattn.networks import FeatureEncoding, fit_columns, fit_ids

IDS = ["a", "b", "c"]


def test_ids_are_multi_hot_and_sparse() -> None:
    features = {"a": [10, 2, 10], "c": ["x", "2"], "stranger": [99]}
    encoding = fit_ids(features, IDS)
    assert encoding.vocabulary == ("2", "10", "x")
    x, report = encoding.encode(features, IDS)
    assert x is not None
    assert x.layout == torch.sparse_csr
    assert x.dtype == torch.float32
    assert x.to_dense().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert len(x.values()) == 4
    assert report == {"features_of_unknown_nodes": 1, "nodes_without_features": 1}


def test_unknown_ids_are_counted_once_each_and_ignored() -> None:
    encoding = fit_ids({"a": [1, 2]}, ["a"])
    x, report = encoding.encode({"n": [2, 7, 7, 8], "m": [7]}, ["n", "m"])
    assert x is not None
    assert x.to_dense().tolist() == [[0, 1], [0, 0]]
    assert report == {"unknown_features": 2, "nodes_without_features": 1}


def test_columns_are_scaled_or_one_hot() -> None:
    table = pd.DataFrame(
        {
            "age": ["1", " 3 ", ""],
            "role": ["web", "", "ml "],
            "same": ["0.1", "0.1", "0.1"],
            "none": ["", "nan", ""],
        },
        dtype=str,
    )
    encoding = fit_columns(table, ["age", "role", "same", "none"])
    assert encoding.names == ["age", "role=ml", "role=web", "same", "none"]
    x, report = encoding.encode(table, IDS)
    assert x is not None
    np.testing.assert_allclose(x.to_dense(), [[-1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], atol=1e-6)
    assert report == {"missing_features": 5}

    later = pd.DataFrame({"age": ["4", "old"], "role": ["boss", "ml"], "same": ["0.1", "1.1"], "none": ["", ""]})
    x, report = encoding.encode(later, ["d", "e"])
    assert x is not None
    np.testing.assert_allclose(x.to_dense(), [[2, 0, 0, 0, 0], [0, 1, 0, 1, 0]], atol=1e-6)
    assert report == {"unknown_features": 1, "missing_features": 3}


def test_without_features_there_is_no_x() -> None:
    assert FeatureEncoding().encode(None, IDS) == (None, {})
    assert FeatureEncoding().names == []


@pytest.mark.parametrize(
    "encoding",
    [
        FeatureEncoding(),
        fit_ids({"a": [3, "ü"]}, ["a"]),
        fit_columns(pd.DataFrame({"n": ["1", "2.7"], "t": ["x", "y"]}), ["t", "n"]),
    ],
)
def test_an_encoding_survives_json(encoding: FeatureEncoding) -> None:
    assert FeatureEncoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


@pytest.mark.parametrize(
    "values",
    [{}, {"kind": "magic"}, {"kind": "ids"}, {"kind": "ids", "vocabulary": 3}, {"kind": "columns", "columns": [{}]}, []],
)
def test_a_damaged_encoding_is_a_clear_error(values: object) -> None:
    with pytest.raises(InputError, match="feature encoding"):
        FeatureEncoding.from_dict(values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"a": 3}, "features of node 'a' is int; expected a list"),
        ({"a": None}, "features of node 'a' is NoneType"),
        ({"a": "12"}, "features of node 'a' is str"),
        ({"a": [1], "b": [1.5]}, "features of node 'b' holds float; expected ids"),
        ({"a": [True]}, "features of node 'a' holds bool"),
        ({"a": [[1]]}, "features of node 'a' holds list"),
        ({"z": [1]}, "no id of the network: it holds 'z', …; expected ids such as 'a'"),
        ({"a": []}, "no node of the network a feature"),
        ({}, "no node of the network a feature"),
    ],
)
def test_bad_lists_of_ids_are_clear_errors(features: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_ids(features, IDS)


def test_features_of_another_kind_are_refused() -> None:
    table = pd.DataFrame({"n": ["1"]})
    with pytest.raises(InputError, match="fitted without any"):
        FeatureEncoding().encode(table, ["a"])
    with pytest.raises(InputError, match="fitted on lists of feature ids"):
        fit_ids({"a": [1]}, ["a"]).encode(None, ["a"])
    with pytest.raises(InputError, match="fitted on columns of a node table; give a table with n"):
        fit_columns(table, ["n"]).encode({"a": [1]}, ["a"])
    with pytest.raises(InputError, match="no column 'n'; its columns are: 'm'"):
        fit_columns(table, ["n"]).encode(pd.DataFrame({"m": ["1"]}), ["a"])


@pytest.mark.parametrize("columns", [[], ["n", "n"]])
def test_feature_columns_are_some_and_different(columns: list[str]) -> None:
    with pytest.raises(InputError, match="expected one or more different names"):
        fit_columns(pd.DataFrame({"n": ["1"]}), columns)
