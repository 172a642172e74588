"""Node features as the columns of a sparse matrix, and how to make the same columns for another network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from numbers import Integral
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.tables import is_missing, numbers, require_columns

Features = Mapping[str, Sequence[int | str]] | pd.DataFrame


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers, encoded as (value − mean) / std; an unusable cell is 0, which is the mean."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class TextColumn:
    """A column of text, encoded one-hot over `values`; an empty cell or an unknown value is all zeros."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FeatureEncoding:
    """How raw features become the columns of `x`, fitted on one network and used again on others.

    Made by `fit_ids` (a list of feature ids for each node, multi-hot) or `fit_columns` (columns of a node table). The
    default has no features: structure alone.

    Attributes:
        kind: "ids", "columns" or "none".
        vocabulary: The feature ids in the order of their columns; empty unless `kind` is "ids".
        columns: The columns of the node table in order; empty unless `kind` is "columns".
    """

    kind: Literal["none", "ids", "columns"] = "none"
    vocabulary: tuple[str, ...] = ()
    columns: tuple[NumericColumn | TextColumn, ...] = ()

    @property
    def names(self) -> list[str]:
        """What each column of `x` stands for, [width]: a feature id, a column's name, or `name=value`."""
        names = list(self.vocabulary)
        for column in self.columns:
            if isinstance(column, TextColumn):
                names += [f"{column.name}={value}" for value in column.values]
            else:
                names.append(column.name)
        return names

    def encode(self, features: Features | None, ids: Sequence[str]) -> tuple[Tensor | None, dict[str, int]]:
        """Encodes the features of nodes.

        Args:
            features: For the kind "ids", node id → feature ids; for "columns", a table of text with one row a node, in
                the order of `ids`; for "none", None.
            ids: The nodes, in the order of the rows of the result, [nodes].

        Returns:
            A sparse CSR tensor, float32, [nodes, width], or None for the kind "none"; and counts, where not zero:
            "unknown_features" (distinct feature ids, or values of a text column, that the encoding does not know; they
            are ignored), "missing_features" (cells of the table without a usable value), "features_of_unknown_nodes"
            (ids in the mapping that are not nodes), "nodes_without_features" (rows of the result that are empty).

        Raises:
            InputError: if the features are not of this encoding's kind, a column is missing, or no id fits a node.
        """
        if self.kind == "none":
            if features is not None:
                raise InputError("features were given, but this encoding was fitted without any")
            return None, {}
        if self.kind == "ids":
            if not isinstance(features, Mapping):
                raise InputError("this encoding was fitted on lists of feature ids; give features as node id → ids")
            (rows, columns), report = self._encode_ids(features, ids)
            values = np.ones(len(rows))
        else:
            if not isinstance(features, pd.DataFrame):
                names = ", ".join(column.name for column in self.columns)
                raise InputError(f"this encoding was fitted on columns of a node table; give a table with {names}")
            rows, columns, values, report = self._encode_columns(features)
        x = sparse_features(rows, columns, values, (len(ids), len(self.names)))
        report["nodes_without_features"] = int((x.crow_indices().diff() == 0).sum())
        return x, {reason: count for reason, count in report.items() if count}

    def _encode_ids(
        self, features: Mapping[str, Sequence[int | str]], ids: Sequence[str]
    ) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, int]]:
        rows, flat = _flatten(features, ids)
        place = {feature: i for i, feature in enumerate(self.vocabulary)}
        columns = np.fromiter((place.get(feature, -1) for feature in flat), np.int64, len(flat))
        known = columns >= 0
        report = {
            "unknown_features": len({flat[i] for i in np.flatnonzero(~known)}),
            "features_of_unknown_nodes": len(features.keys() - set(ids)),
        }
        return (rows[known], columns[known]), report

    def _encode_columns(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, int]]:
        require_columns(table, [column.name for column in self.columns], "the node table")
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        offset = unknown = missing = 0
        for column in self.columns:
            cells = table[column.name]
            if isinstance(column, TextColumn):
                text = _text(cells)
                place = pd.Index(column.values, dtype=str).get_indexer(pd.Index(text))
                rows = np.flatnonzero(place >= 0)
                parts.append((rows, offset + place[rows], np.ones(len(rows))))
                unknown += text[(place < 0) & (text != "")].nunique()
                missing += int((text == "").sum())
                offset += len(column.values)
            else:
                values = (numbers(cells)[0] - column.mean) / column.std
                rows = np.flatnonzero(~np.isnan(values))
                parts.append((rows, np.full(len(rows), offset), values[rows]))
                missing += len(values) - len(rows)
                offset += 1
        rows, columns, entries = (np.concatenate(part) for part in zip(*parts, strict=True))
        return rows, columns, entries, {"unknown_features": unknown, "missing_features": missing}

    def to_dict(self) -> dict[str, Any]:
        """Gives the encoding as plain values that JSON can hold; `from_dict` reads them back."""
        if self.kind == "ids":
            return {"kind": "ids", "vocabulary": list(self.vocabulary)}
        if self.kind == "columns":
            return {"kind": "columns", "columns": [asdict(column) for column in self.columns]}
        return {"kind": "none"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FeatureEncoding:
        """Makes an encoding from what `to_dict` gave.

        Raises:
            InputError: if the values are not such a dictionary.
        """
        try:
            if values["kind"] == "none":
                return cls()
            if values["kind"] == "ids":
                return cls("ids", vocabulary=tuple(map(str, values["vocabulary"])))
            if values["kind"] == "columns":
                return cls("columns", columns=tuple(map(_column_from_dict, values["columns"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the feature encoding is damaged: {type(error).__name__} {error}") from None
        raise InputError(f"the feature encoding has the kind {values['kind']!r}; expected none, ids or columns")


def fit_ids(features: Mapping[str, Sequence[int | str]], ids: Sequence[str]) -> FeatureEncoding:
    """Fits a multi-hot encoding: one column for each feature id that a node of the network has.

    Args:
        features: Node id → feature ids, whole numbers or text; 5 and "5" are the same id. Others' ids are ignored.
        ids: The nodes of the network.

    Returns:
        The encoding. Its vocabulary is sorted, whole numbers by value and before text.

    Raises:
        InputError: if a node's features are not such a list, or no node has any.
    """
    vocabulary = set(_flatten(features, ids)[1])
    if not vocabulary:
        raise InputError("features gives no node of the network a feature; expected at least one")
    whole = {feature for feature in vocabulary if feature.isascii() and feature.isdigit()}
    order = [*sorted(whole, key=lambda feature: (int(feature), feature)), *sorted(vocabulary - whole)]
    return FeatureEncoding("ids", vocabulary=tuple(order))


def fit_columns(table: pd.DataFrame, columns: Sequence[str]) -> FeatureEncoding:
    """Fits an encoding of columns of a node table.

    A column whose cells are all numbers, nan, inf or empty is numeric and scaled to mean 0 and standard deviation 1 over its
    usable cells (a constant column becomes 0); any other is text and one-hot over the values it holds, sorted.

    Args:
        table: The node table, its cells text, one row a node.
        columns: The columns to use, in this order.

    Raises:
        InputError: if a column is not there, is named twice, or none is named.
    """
    require_columns(table, columns, "the node table")
    if not columns or len(set(columns)) != len(columns):
        raise InputError(f"feature columns are {list(columns)}; expected one or more different names")
    return FeatureEncoding("columns", columns=tuple(_fit_column(table[name], name) for name in columns))


def _text(cells: pd.Series) -> pd.Series:
    """Cells without the white space around them; empty where they hold a marker of missing values, such as NA."""
    text = cells.str.strip()
    return text.mask(text.map(is_missing), "")


def _fit_column(cells: pd.Series, name: str) -> NumericColumn | TextColumn:
    values, unusable = numbers(cells)
    if "not a number" in unusable:
        text = _text(cells)
        return TextColumn(name, tuple(sorted(set(text) - {""})))
    usable = values[~np.isnan(values)]
    mean, std = (float(usable.mean()), float(usable.std())) if len(usable) else (0.0, 1.0)
    # The spread of equal values is a rounding error, not always exactly zero.
    constant = std <= 1e-12 * abs(mean)
    return NumericColumn(name, mean, 1.0 if constant else std)


def _column_from_dict(values: Mapping[str, Any]) -> NumericColumn | TextColumn:
    if "values" in values:
        return TextColumn(str(values["name"]), tuple(map(str, values["values"])))
    mean, std = float(values["mean"]), float(values["std"])
    if not (np.isfinite(mean) and np.isfinite(std) and std > 0):
        raise ValueError(f"mean {mean} and std {std} of {values['name']!r}, which must be finite, and std positive")
    return NumericColumn(str(values["name"]), mean, std)


def _flatten(features: Mapping[str, Sequence[int | str]], ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Gives the row of each feature and the feature as text, one after another: two sequences of equal length."""
    lists = [features.get(node, []) for node in ids]
    for kind in set(map(type, lists)) - {list, tuple}:
        node = ids[[type(entry) for entry in lists].index(kind)]
        raise InputError(f"features of node '{node}' is {kind.__name__}; expected a list of feature ids")
    for kind in set(map(type, chain.from_iterable(lists))):
        if kind is bool or not issubclass(kind, Integral | str):
            node = next(node for node, entry in zip(ids, lists, strict=True) if kind in map(type, entry))
            raise InputError(f"features of node '{node}' holds {kind.__name__}; expected ids, whole numbers or text")
    if features and lists and not any(node in features for node in ids):
        given, expected = next(iter(features)), ids[0]
        raise InputError(f"features has no id of the network: it holds '{given}', …; expected ids such as '{expected}'")
    rows = np.repeat(np.arange(len(lists)), [len(entry) for entry in lists])
    return rows, list(map(str, chain.from_iterable(lists)))


def sparse_features(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Makes a CSR tensor, float32, of its entries' rows, columns and values; an entry given twice counts once."""
    places, first = np.unique(rows * shape[1] + columns, return_index=True)
    counts = np.bincount(rows[first], minlength=shape[0])
    with warnings.catch_warnings():
        # torch announces once in a process that its CSR support is in beta.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(np.concatenate([[0], counts.cumsum()])),
            torch.from_numpy(places % shape[1]),
            torch.from_numpy(values[first]).float(),
            size=shape,
            check_invariants=True,
        )
