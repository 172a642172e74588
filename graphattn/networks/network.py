"""A network as one graph: nodes with names, edges, features and labels; and the way there from NetworkX."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from numbers import Number
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, to_undirected

from graphattn.errors import InputError
from graphattn.networks.features import FeatureEncoding, Features, fit_columns
from graphattn.tables import is_missing, meaning, numbers
from graphattn.tables import labels as read_labels

if TYPE_CHECKING:
    import networkx as nx

LabelKind = Literal["classes", "values"]


@dataclass(frozen=True)
class Network:
    """A network, ready for attention.

    Attributes:
        data: The graph. `edge_index`, int64, [2, edges], sorted by source, each edge once; `num_nodes`; `x`, a sparse
            CSR tensor, float32, [nodes, features], absent without features; `y`, int64, [nodes], −1 where a node is
            unlabelled, and `class_names`, list of str, both absent without labels. Labels that are numbers: `y`, float64,
            [nodes], NaN where a node is unlabelled, and no `class_names`; `ids`, as below, by which a trained model knows nodes
            again.
        ids: The name of each node, in the order of the rows of `x` and `y`.
        encoding: How `x` was made; give it to the next network to get the same columns.
        report: "nodes"; "edges" (distinct edges; without direction, distinct pairs); and, where not zero, what was odd:
            "self_loops", "duplicate_edges" (those that repeat an edge), "unknown_edges", "isolated" (nodes with no edge
            to another node), "unlabelled" (no label given), "unknown_labels" (not in `class_names`, or no finite
            number), and the counts of
            `FeatureEncoding.encode`.
        notes: Sentences on what was read in one of several ways: files, columns, numbers and labels.
    """

    data: Data
    ids: list[str]
    encoding: FeatureEncoding
    report: dict[str, int]
    notes: list[str] = field(default_factory=list)


def build_network(
    ids: list[str],
    edges: np.ndarray,
    *,
    directed: bool,
    features: Features | None,
    encoding: FeatureEncoding,
    labels: Sequence[str] | None,
    class_names: Sequence[str] | None,
    label_kind: LabelKind = "classes",
    unknown_edges: int = 0,
) -> Network:
    """Puts the parts of a network together.

    Args:
        ids: The name of each node, [nodes].
        edges: Rows of nodes, source above target, int64, [2, edges]; may repeat.
        directed: Whether edges keep their direction; otherwise each stands both ways.
        features: What `encoding` encodes.
        encoding: How features become columns.
        labels: The label of each node, empty where it has none, [nodes]; None for a network without labels.
        class_names: The classes in order; by default those that occur, sorted, numbers by value.
        label_kind: Whether labels are classes or numbers.
        unknown_edges: How many edges were left out, for the report.
    """
    edge_index = torch.from_numpy(edges)
    edge_index = coalesce(edge_index, num_nodes=len(ids)) if directed else to_undirected(edge_index, num_nodes=len(ids))
    loops = edge_index[0] == edge_index[1]
    self_loops = int(loops.sum())
    distinct = edge_index.size(1) if directed else (edge_index.size(1) + self_loops) // 2
    data = Data(edge_index=edge_index, num_nodes=len(ids), ids=ids)
    x, oddities = encoding.encode(features, ids)
    notes: list[str] = []
    if x is not None:
        data.x = x
    if labels is not None:
        if label_kind == "classes":
            data.y, data.class_names, label_oddities, notes = _encode_labels(labels, class_names)
        else:
            data.y, label_oddities = _encode_values(labels)
        oddities |= label_oddities
    oddities |= {
        "self_loops": self_loops,
        "duplicate_edges": edges.shape[1] - distinct,
        "unknown_edges": unknown_edges,
        "isolated": len(ids) - len(edge_index[:, ~loops].unique()),
    }
    report = {"nodes": len(ids), "edges": distinct} | {reason: count for reason, count in oddities.items() if count}
    return Network(data, ids, encoding, report, notes)


def from_networkx(
    graph: nx.Graph,
    *,
    label: str | None = None,
    features: Sequence[str] = (),
    encoding: FeatureEncoding | None = None,
    class_names: Sequence[str] | None = None,
) -> Network:
    """Turns a NetworkX graph into a network.

    Directed graphs keep their edges' direction; of parallel edges one is kept; edge attributes are ignored.

    Args:
        graph: Any of NetworkX's four kinds of graph. Its nodes' ids are `str(node)`, in the graph's order.
        label: The node attribute that holds the label; a node without it, or with None or NaN, is unlabelled.
        features: Node attributes to use as features, numbers, text, or vectors of numbers, all of one length, whose entries
            become columns named `attribute.0`, `attribute.1`, …; they may be missing on some nodes.
        encoding: The encoding of the network that a model was trained on; by default it is fitted on `features`.
        class_names: The classes in order; by default those that occur, sorted, numbers by value.

    Raises:
        InputError: if the graph has no nodes, two nodes are the same as text, or no node has an attribute that is named.
    """
    rows = {node: i for i, node in enumerate(graph)}
    ids = [str(node) for node in rows]
    if not ids:
        raise InputError("graph has no nodes; expected at least one")
    if len(set(ids)) != len(ids):
        twice = pd.Series(ids)[pd.Series(ids).duplicated()].unique()[:5]
        raise InputError(f"graph has different nodes that are the same as text: {', '.join(map(repr, twice))}")
    given = features if encoding is None or features else [column.name for column in encoding.columns]
    if label is not None and label in {name if name == label else _attribute_of(name, [label]) for name in given}:
        raise InputError(f"attribute '{label}' is the label and also among the features, which would give it away")
    names = list(features) if encoding is None else [column.name for column in encoding.columns]
    if encoding is not None and encoding.kind == "ids":
        raise InputError("encoding was fitted on lists of feature ids; from_networkx encodes node attributes")
    if encoding is not None and features and {_attribute_of(name, features) for name in names} != set(features):
        raise InputError(f"features are {list(features)}; the encoding was fitted on {names}")
    table = _feature_table(graph, names) if names else None
    if encoding is None:
        encoding = FeatureEncoding() if table is None else fit_columns(table, list(table.columns))
    edges = np.array([[rows[source], rows[target]] for source, target in graph.edges()], dtype=np.int64)
    return build_network(
        ids,
        np.ascontiguousarray(edges.reshape(-1, 2).T),
        directed=graph.is_directed(),
        features=table,
        encoding=encoding,
        labels=None if label is None else _attribute(graph, label),
        class_names=class_names,
    )


def _feature_table(graph: nx.Graph, names: Sequence[str]) -> pd.DataFrame:
    """Node attributes as columns of text; those of vectors have a column for each entry."""
    known = {str(key) for _, attributes in graph.nodes(data=True) for key in attributes}
    columns: dict[str, list[str]] = {}
    for name in dict.fromkeys(_attribute_of(name, known) for name in names):
        values = _values(graph, name)
        vectors = [value for value in values if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value)]
        if not vectors:
            columns[name] = _as_text(values, name)
            continue
        lengths = {len(vector) for vector in vectors}
        numeric = all(np.ndim(vector) == 1 and np.asarray(vector).dtype.kind in "biuf" for vector in vectors)
        if len(lengths) > 1 or not numeric or len(vectors) < sum(value is not None for value in values):
            raise InputError(f"attribute '{name}' must hold numbers, text, or vectors of numbers of one length on all nodes")
        for place in range(lengths.pop()):
            entries = [None if value is None else np.asarray(value)[place].item() for value in values]
            columns[f"{name}.{place}"] = _as_text(entries, name)
    return pd.DataFrame(columns, dtype=str)


def _attribute_of(column: str, attributes: Collection[str]) -> str:
    """The attribute that a column was made of: `x.3` is of `x`, where there is no attribute `x.3`."""
    base = column.rpartition(".")[0]
    return base if column not in attributes and base in attributes else column


def _attribute(graph: nx.Graph, name: str) -> list[str]:
    """Gives an attribute of every node as text, empty where it is missing."""
    return _as_text(_values(graph, name), name)


def _values(graph: nx.Graph, name: str) -> list[Any]:
    found = [attributes.get(name) for _, attributes in graph.nodes(data=True)]
    values: list[Any] = [None if value is pd.NA else value for value in found]
    if all(value is None for value in values):
        there = sorted({str(key) for _, attributes in graph.nodes(data=True) for key in attributes})
        raise InputError(f"no node of graph has the attribute '{name}'; its attributes are: {', '.join(there)}")
    return values


def _as_text(values: Sequence[Any], name: str) -> list[str]:
    """Numbers and text as text; None and NaN, the one value that differs from itself, are empty."""
    for value in values:
        if value is not None and not isinstance(value, (str, Number, np.generic)):
            raise InputError(f"attribute '{name}' must hold numbers or text, got {type(value).__name__}")
    return ["" if value is None or value != value else str(value) for value in values]


def _encode_labels(
    labels: Sequence[str], class_names: Sequence[str] | None
) -> tuple[torch.Tensor, list[str], dict[str, int], list[str]]:
    found, notes = read_labels(labels, "the label column", names_rows=class_names is not None)
    labelled = np.array([label is not None for label in found], dtype=bool)
    given = dict.fromkeys(label for label in found if label is not None)
    names = _sort_classes(list(given)) if class_names is None else list(class_names)
    place = {meaning(name): number for number, name in enumerate(names)} | {name: number for number, name in enumerate(names)}
    number = {None: -1} | {label: place.get(label, place.get(meaning(label), -1)) for label in given}
    y = np.array([number[label] for label in found], dtype=np.int64)
    oddities = {"unlabelled": int((~labelled).sum()), "unknown_labels": int((labelled & (y < 0)).sum())}
    return torch.from_numpy(y), names, oddities, notes


def _encode_values(labels: Sequence[str]) -> tuple[torch.Tensor, dict[str, int]]:
    values, unusable = numbers(labels)
    unlabelled = sum(is_missing(label.strip()) for label in labels)
    return torch.from_numpy(values), {"unlabelled": unlabelled, "unknown_labels": sum(unusable.values()) - unlabelled}


def _sort_classes(names: Sequence[str]) -> list[str]:
    """Sorts class names: by value where all are numbers, otherwise as text."""
    values, unusable = numbers(pd.Series(names, dtype=str))
    if unusable:
        return sorted(names)
    return [name for _, name in sorted(zip(values.tolist(), names, strict=True))]
