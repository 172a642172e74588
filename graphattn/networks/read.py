"""Reads a network from files: a list of edges, a table of nodes, and lists of features."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.networks.features import FeatureEncoding, Features, fit_columns, fit_ids
from graphattn.networks.network import LabelKind, Network, build_network
from graphattn.tables import iter_table, numbers, open_text, read_table, require_columns

_ROWS = 1 << 18
_SHOWN = 5


def load_network(
    edges: str | Path,
    nodes: str | Path | None = None,
    features: str | Path | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    source_column: str | None = None,
    target_column: str | None = None,
    feature_columns: Sequence[str] = (),
    directed: bool = False,
    ignore_unknown_edges: bool = False,
    encoding: FeatureEncoding | None = None,
    class_names: Sequence[str] | None = None,
    label_kind: LabelKind = "classes",
) -> Network:
    """Reads a network from files.

    Ids are text, exactly as written but for white space around them: they may be numbers with gaps, or names. Tables
    may be delimited by `,` `;` or tab, start with a byte order mark, and be gzip. Repeated edges, self-loops and nodes
    without edges, features or label are fine.

    The edge list may have a header line. It has one if `source_column` and `target_column` name its columns. Otherwise
    its first line is a header if neither of its first two cells is an id found elsewhere (in the node table, or
    without one in the rest of the edge list), unless both cells are numbers and so are those of the second line.

    Args:
        edges: CSV file with one edge a row, in its first two columns unless `source_column` and `target_column` name
            others; further columns are ignored.
        nodes: CSV file with a header and one node a row. Without it the nodes are the ids in `edges`, in order of first
            appearance.
        features: JSON file that holds one object, node id → list of feature ids (whole numbers or text).
        id_column: The column of `nodes` with the id; by default the first.
        label_column: The column of `nodes` with the label; an empty cell, or NaN, is an unlabelled node.
        source_column: The column of `edges` with the node that an edge starts from; goes with `target_column`.
        target_column: The column of `edges` with the node that an edge leads to.
        feature_columns: Columns of `nodes` to use as features, instead of `features`.
        directed: Whether an edge keeps its direction (its target attends to its source); otherwise it stands both ways.
        ignore_unknown_edges: Whether edges with an id that is not in `nodes` are dropped and counted; otherwise they
            are an error.
        encoding: The encoding of the network that a model was trained on, for predicting on this one; by default it is
            fitted on this network's features.
        class_names: The classes in order; by default the labels that occur, sorted, numbers by value. A label outside
            them is counted and its node treated as unlabelled.
        label_kind: "classes", or "values" where the label is a number.

    Raises:
        InputError: if a file or column is missing or cannot be read, an id in `nodes` is empty or occurs twice, an edge
            has an unknown id, or the arguments do not fit together.
    """
    if nodes is None and (id_column is not None or label_column is not None or feature_columns):
        raise InputError("id_column, label_column and feature_columns are columns of the node table; give nodes as well")
    if features is not None and feature_columns:
        raise InputError("features and feature_columns were both given; expected one of them")
    if (source_column is None) != (target_column is None):
        raise InputError("source_column and target_column go together; only one of them was given")
    if source_column is not None and source_column == target_column:
        raise InputError(f"source_column and target_column are both '{source_column}'; expected two columns")
    columns = None if source_column is None or target_column is None else (source_column, target_column)
    table, dropped = None, 0
    if nodes is None:
        rows, ids = _edges_and_ids(edges, columns)
    else:
        table, ids = _read_nodes(nodes, id_column, label_column)
        rows, dropped, unknown = _edges_of(edges, columns, ids)
        if dropped and not ignore_unknown_edges:
            column = table.columns[0] if id_column is None else id_column
            advice = "ignore_unknown_edges (--ignore-unknown-edges) drops them"
            if len(rows[0]) == 0:
                advice = f"no edge has both ends in the id column '{column}': is it the right one (--id-column)?"
            raise InputError(f"{edges} has {dropped:,} edges with an id that is not in {nodes}: {_some(unknown)}; {advice}")
    raw, encoding = _choose_features(ids, table, features, feature_columns, encoding)
    return build_network(
        ids,
        rows,
        directed=directed,
        features=raw,
        encoding=encoding,
        labels=None if table is None or label_column is None else table[label_column].tolist(),
        class_names=class_names,
        label_kind=label_kind,
        unknown_edges=dropped,
    )


def _choose_features(
    ids: list[str],
    table: pd.DataFrame | None,
    features: str | Path | None,
    feature_columns: Sequence[str],
    encoding: FeatureEncoding | None,
) -> tuple[Features | None, FeatureEncoding]:
    """Gives the raw features that the arguments ask for, and their encoding, fitted if there is none yet."""
    if features is not None:
        lists = _read_features(features)
        return lists, fit_ids(lists, ids) if encoding is None else encoding
    if encoding is None:
        if table is None or not feature_columns:
            return None, FeatureEncoding()
        return table, fit_columns(table, feature_columns)
    names = [column.name for column in encoding.columns]
    if feature_columns and list(feature_columns) != names:
        raise InputError(f"feature_columns are {list(feature_columns)}; the encoding was fitted on {names}")
    return table if encoding.kind == "columns" else None, encoding


def _read_nodes(path: str | Path, id_column: str | None, label_column: str | None) -> tuple[pd.DataFrame, list[str]]:
    table = read_table(path)
    if id_column is None:
        id_column = str(table.columns[0])
    require_columns(table, [id_column] if label_column is None else [id_column, label_column], path)
    if table.empty:
        raise InputError(f"{path} has a header and no rows; expected at least one node")
    ids = table[id_column].str.strip()
    empty = (np.flatnonzero(ids == "") + 1).tolist()
    if empty:
        raise InputError(f"{path} has {len(empty)} empty cells in the id column '{id_column}': rows {_some(empty)}")
    twice = ids[ids.duplicated()].unique().tolist()
    if twice:
        raise InputError(f"{path} has {len(twice)} ids more than once in the column '{id_column}': {_some(twice)}")
    return table, ids.tolist()


def _edges_of(path: str | Path, columns: tuple[str, str] | None, ids: list[str]) -> tuple[np.ndarray, int, list[str]]:
    """Reads edges between known nodes.

    Returns:
        The edges as rows of nodes, int64, [2, edges]; how many edges were left out because an id is unknown; and the
        first of those ids.
    """
    index = {node: row for row, node in enumerate(ids)}
    parts: list[np.ndarray] = []
    unknown: dict[str, None] = {}
    for number, cells in enumerate(_edge_cells(path, columns)):
        if number == 0 and columns is None and _may_be_header(cells) and not index.keys() & cells[:2]:
            _check_header(cells, path)
            del cells[:2]
        parts.append(_rows_of(cells, index))
        if len(unknown) < _SHOWN:
            unknown |= {cells[place]: None for place in np.flatnonzero(parts[-1].ravel() < 0)}
    rows = np.concatenate(parts)
    known = (rows >= 0).all(axis=1)
    return np.ascontiguousarray(rows[known].T), int((~known).sum()), list(unknown)


def _edges_and_ids(path: str | Path, columns: tuple[str, str] | None) -> tuple[np.ndarray, list[str]]:
    """Reads edges and the nodes they name; returns rows of nodes, int64, [2, edges], and ids by first appearance."""
    index: dict[str, int] = {}
    parts: list[np.ndarray] = []
    may_be_header = False
    for number, cells in enumerate(_edge_cells(path, columns)):
        if number == 0 and columns is None:
            may_be_header = _may_be_header(cells)
        for cell in cells:
            index.setdefault(cell, len(index))
        parts.append(_rows_of(cells, index))
    ids, rows = list(index), np.concatenate(parts)
    if may_be_header:
        # The first line's cells have the smallest rows: it is a header if no later line uses them.
        width = len(set(rows[0]))
        if rows[1:].min(initial=width) >= width:
            _check_header(ids[:width], path)
            ids, rows = ids[width:], rows[1:] - width
    if not ids:
        raise InputError(f"{path} has no edges; without a node table there must be at least one")
    if "" in index:
        raise InputError(f"{path} has a row with an empty id; expected two ids in every row")
    return np.ascontiguousarray(rows.T), ids


def _edge_cells(path: str | Path, columns: tuple[str, str] | None) -> Iterator[list[str]]:
    """Yields the ids of a chunk of the edge list: source, target, source, target, …."""
    for chunk in iter_table(path, _ROWS, header=columns is not None):
        if columns is not None:
            require_columns(chunk, columns, path)
            chunk = chunk[list(columns)]
        elif chunk.shape[1] < 2:
            raise InputError(f"{path} has one column; expected two, the ends of an edge, between ',', ';' or tabs")
        ends = zip(chunk.iloc[:, 0], chunk.iloc[:, 1], strict=True)
        yield [cell.strip() for cell in chain.from_iterable(ends)]


def _rows_of(cells: list[str], index: dict[str, int]) -> np.ndarray:
    return np.fromiter(map(index.get, cells, repeat(-1)), np.int64, len(cells)).reshape(-1, 2)


def _may_be_header(cells: list[str]) -> bool:
    """Whether the first line differs from an edge between two numbers, over another such edge if there is one."""
    return not _are_numbers(cells[:2]) or (len(cells) > 2 and not _are_numbers(cells[2:4]))


def _are_numbers(cells: list[str]) -> bool:
    return not numbers(pd.Series(cells, dtype=str))[1]


def _check_header(names: list[str], path: str | Path) -> None:
    # A table saved with its row numbers has a nameless first column, which is no end of an edge.
    if "" in names[:2]:
        raise InputError(f"{path} has a first or second column without a name; give source_column and target_column")


def _read_features(path: str | Path) -> dict[str, Any]:
    with open_text(path) as file:
        text = file.read()
    try:
        features = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(features, dict):
        kind = type(features).__name__
        raise InputError(f"{path} holds {kind}; expected one JSON object, node id → list of feature ids")
    return features


def _some(values: Sequence[Any]) -> str:
    """Shows the first few of some values."""
    shown = ", ".join(repr(str(value)) for value in values[:_SHOWN])
    return shown + (", …" if len(values) > _SHOWN else "")
