"""Reads a network from files: a list of edges, a table of nodes, and lists of features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.networks.edges import Edges, between, read_edges, with_ids
from graphattn.networks.features import FeatureEncoding, Features, NumericColumn, fit_columns, fit_ids
from graphattn.networks.network import LabelKind, Network, build_network
from graphattn.tables import (
    about_numbers,
    find_column,
    find_columns,
    first_not_number,
    is_missing,
    line_of_row,
    name_of,
    numbers,
    open_text,
    read_table,
    text_frame,
    with_missing,
)

_SHOWN = 5


def load_network(
    edges: str | Path | pd.DataFrame,
    nodes: str | Path | pd.DataFrame | None = None,
    features: str | Path | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    source_column: str | None = None,
    target_column: str | None = None,
    feature_columns: Sequence[str] = (),
    adjacency_matrix: bool = False,
    directed: bool = False,
    ignore_unknown_edges: bool = False,
    na_values: Sequence[str] = (),
    label_optional: bool = False,
    encoding: FeatureEncoding | None = None,
    class_names: Sequence[str] | None = None,
    label_kind: LabelKind = "classes",
) -> Network:
    """Reads a network from files, or frames.

    Ids are text, exactly as written but for white space around them: they may be numbers with gaps, or names. Tables are
    read as `graphattn.tables.iter_table` says. Repeated edges, self-loops and nodes without edges, features or label are fine.

    The edge list may have a header line. It has one if `source_column` and `target_column` name its columns. Otherwise
    its first line is a header if neither of its first two cells is an id found elsewhere (in the node table, or
    without one in the rest of the edge list), unless both cells are numbers and so are those of the second line.

    Args:
        edges: Table with one edge a row, in its first two columns unless `source_column` and `target_column` name
            others; further columns are ignored. White space may separate the ends, and lines with `#` or `%` before them are
            comments, as in SNAP's files. Or a file of a graph: GraphML, GML, GEXF or Pajek; a torch_geometric `Data` or a
            dictionary of tensors that torch has saved (.pt); or `edge_index`, `x` and `y` in a NumPy archive (.npz). What
            such a file says of nodes is the node table unless `nodes` is given.
        nodes: Table with a header and one node a row. Without it the nodes are the ids in `edges`, in order of first
            appearance.
        features: JSON file that holds one object, node id → list of feature ids (whole numbers or text).
        id_column: The column of `nodes` with the id; by default the first.
        label_column: The column of `nodes` with the label; an empty cell, or NaN, is an unlabelled node.
        source_column: The column of `edges` with the node that an edge starts from; goes with `target_column`.
        target_column: The column of `edges` with the node that an edge leads to.
        feature_columns: Columns of `nodes` to use as features, instead of `features`; `x` also stands for `x.0`, `x.1`, ….
        adjacency_matrix: Whether `edges` is a matrix with a row and a column for each node, with their names or in the order of
            `nodes`, where an edge is what is not 0.
        directed: Whether an edge keeps its direction (its target attends to its source); otherwise it stands both ways.
        ignore_unknown_edges: Whether edges with an id that is not in `nodes` are dropped and counted; otherwise they
            are an error.
        na_values: What counts as a missing label or feature beyond the usual markers.
        label_optional: Whether the label column may be missing.
        encoding: The encoding of the network that a model was trained on, for predicting on this one; by default it is
            fitted on this network's features.
        class_names: The classes in order; by default the labels that occur, sorted, numbers by value. A label outside
            them is counted and its node treated as unlabelled.
        label_kind: "classes", or "values" where the label is a number.

    Raises:
        InputError: if a file or column is missing or cannot be read, an id in `nodes` is empty or occurs twice, an edge
            has an unknown id, no edge has known ids, the label is also a feature, or the arguments do not fit together.
    """
    if features is not None and feature_columns:
        raise InputError("features and feature_columns were both given; expected one of them")
    if (source_column is None) != (target_column is None):
        raise InputError("source_column and target_column go together; only one of them was given")
    if source_column is not None and source_column == target_column:
        raise InputError(f"source_column and target_column are both '{source_column}'; expected two columns")
    columns = None if source_column is None or target_column is None else (source_column, target_column)
    if columns is None and isinstance(edges, (str, Path)) and isinstance(nodes, (str, Path)) and Path(edges) == Path(nodes):
        raise InputError(f"edges and nodes are both {edges}; name the ends of an edge (--source-column, --target-column)")
    notes: list[str] = []
    table: pd.DataFrame | None = None
    name = "the node table" if nodes is None or isinstance(nodes, pd.DataFrame) else name_of(nodes)
    if nodes is not None:
        table = text_frame(nodes) if isinstance(nodes, pd.DataFrame) else read_table(nodes, notes=notes)
        id_column = str(table.columns[0]) if id_column is None else find_column(table, id_column, name, notes)
        ids = _ids_of(table, id_column, name)
    known = None if nodes is None else ids
    source = read_edges(edges, columns, adjacency_matrix=adjacency_matrix, directed=directed, ids=known, notes=notes)
    if nodes is None:
        table, name = source.table, source.name
        if id_column is not None or (table is None and (feature_columns or (label_column is not None and not label_optional))):
            raise InputError("id_column, label_column and feature_columns are columns of the node table; give nodes as well")
        rows, ids = with_ids(source)
        dropped = 0
    else:
        rows, dropped = _known_edges(source, ids, id_column, name, ignore_unknown_edges)
    labels = None
    if table is not None:
        if label_column is not None:
            label_column = _label_of(table, label_column, label_optional, name, notes)
        wanted = _expanded(table, feature_columns, name, notes)
        if encoding is not None:
            trained = find_columns(table, [column.name for column in encoding.columns], name, notes)
            if wanted and wanted != trained:
                raise InputError(f"feature_columns are {wanted}; the encoding was fitted on {trained}")
            wanted = trained
        _check_apart(label_column, id_column, wanted, name)
        feature_columns = wanted if encoding is None else [column.name for column in encoding.columns]
        labels = None if label_column is None else with_missing(table[label_column], na_values).tolist()
        cells = [with_missing(table[column], na_values) for column in wanted]
        table = pd.DataFrame(dict(zip(feature_columns, cells, strict=True)), index=table.index, dtype=str)
    raw, encoding = _choose_features(ids, table, features, feature_columns, encoding)
    path = nodes if isinstance(nodes, (str, Path)) else None
    if isinstance(raw, pd.DataFrame):
        notes += _about_columns(raw, encoding, path)
    if labels is not None and label_kind == "values":
        notes += _about_labels(labels, str(label_column), path)
    network = build_network(
        ids,
        rows,
        directed=directed,
        features=raw,
        encoding=encoding,
        labels=labels,
        class_names=class_names,
        label_kind=label_kind,
        unknown_edges=dropped,
    )
    return replace(network, notes=notes + network.notes)


def _known_edges(
    source: Edges, ids: list[str], id_column: str | None, name: str, ignore_unknown_edges: bool
) -> tuple[np.ndarray, int]:
    """The edges between nodes, and how many others there are."""
    rows, dropped, unknown = between(source, ids)
    if dropped and (not ignore_unknown_edges or len(rows[0]) == 0):
        advice = "ignore_unknown_edges (--ignore-unknown-edges) drops them"
        if len(rows[0]) == 0:
            advice = f"no edge has both ends in the id column '{id_column}': is it the right one (--id-column)?"
        raise InputError(f"{source.name} has {dropped:,} edges with an id that is not in {name}: {_some(unknown)}; {advice}")
    return rows, dropped


def _expanded(table: pd.DataFrame, columns: Sequence[str], name: str, notes: list[str]) -> list[str]:
    """Columns by the names that they have in the table; those of a vector for its name."""
    there = [str(column) for column in table.columns]
    found: list[str] = []
    for column in columns:
        parts = [one for one in there if one.startswith(f"{column}.") and one[len(column) + 1 :].isdigit()]
        if column in there or not parts:
            parts = [find_column(table, column, name, notes)]
        found += parts
    return found


def _label_of(table: pd.DataFrame, column: str, optional: bool, name: str, notes: list[str]) -> str | None:
    try:
        return find_column(table, column, name, notes)
    except InputError:
        if optional and list(table.columns).count(column) < 2:
            return None
        raise


def _check_apart(label: str | None, identity: str | None, features: Sequence[str], name: str) -> None:
    """Refuses a label that the model would be given, or that is no label.

    Raises:
        InputError: naming the column.
    """
    if label is None:
        return
    if label in features:
        raise InputError(f"column {label!r} of {name} is the label and also among the features, which would give it away")
    if label == identity:
        raise InputError(f"column {label!r} of {name} is the id and also the label; expected two columns")


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
    return table if encoding.kind == "columns" else None, encoding


def _about_columns(table: pd.DataFrame, encoding: FeatureEncoding, path: str | Path | None) -> list[str]:
    """Sentences on numbers of feature columns that are not written plainly, and on numbers that are read as text."""
    notes: list[str] = []
    for column in encoding.columns:
        if column.name not in table.columns:
            continue
        cells = table[column.name]
        if isinstance(column, NumericColumn):
            notes += about_numbers(cells, f"feature column {column.name!r}")
        elif (odd := first_not_number(cells)) is not None:
            unusable = numbers(cells)[1].get("not a number", 0)
            filled = sum(not is_missing(cell.strip()) for cell in cells)
            if 2 * unusable < filled:
                notes.append(
                    f"feature column {column.name!r} is one-hot: {unusable:,} of its {filled:,} filled cells are no numbers, "
                    f"such as {odd[1][:60]!r} in {_place(path, odd[0])}"
                )
    return notes


def _about_labels(labels: list[str], name: str, path: str | Path | None) -> list[str]:
    notes = about_numbers(labels, f"label column {name!r}")
    odd = first_not_number(labels)
    if odd is not None:
        count = numbers(labels)[1]["not a number"]
        first = f"{odd[1][:60]!r} in {_place(path, odd[0])}"
        notes.append(f"{count:,} cells of the label column {name!r} are no numbers; the first is {first}")
    return notes


def _place(path: str | Path | None, row: int) -> str:
    line = None if path is None else line_of_row(path, row)
    return f"row {row + 1}" if line is None else f"line {line}"


def _ids_of(table: pd.DataFrame, id_column: str, name: str) -> list[str]:
    if table.empty:
        raise InputError(f"{name} has a header and no rows; expected at least one node")
    if list(table.columns).count(id_column) > 1:
        raise InputError(f"{name} has several columns {id_column!r}; expected one, so rename the others")
    ids = table[id_column].str.strip()
    empty = (np.flatnonzero(ids == "") + 1).tolist()
    if empty:
        raise InputError(f"{name} has {len(empty)} empty cells in the id column '{id_column}': rows {_some(empty)}")
    twice = ids[ids.duplicated()].unique().tolist()
    if twice:
        raise InputError(f"{name} has {len(twice)} ids more than once in the column '{id_column}': {_some(twice)}")
    return ids.tolist()


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
