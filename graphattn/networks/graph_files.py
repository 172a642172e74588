"""Files of graphs that NetworkX reads: GraphML, GML, GEXF and Pajek."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import chain
from numbers import Number
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd

from graphattn.errors import InputError
from graphattn.tables import text_frame
from graphattn.tables.open import MOST_BYTES, decompressed, open_binary, refuse_others

if TYPE_CHECKING:
    import networkx as nx

_COMPRESSION = (".gz", ".bz2", ".xz", ".zip")
_NAMES = {".graphml": "GraphML", ".gml": "GML", ".gexf": "GEXF", ".net": "Pajek", ".paj": "Pajek"}


def _ending(path: str | Path) -> str:
    name = PurePath(path)
    return (PurePath(name.stem) if name.suffix.lower() in _COMPRESSION else name).suffix.lower()


def is_graph_file(path: str | Path) -> bool:
    """Whether a file's name ends like those of graphs, also before the ending of a compressed file."""
    return _ending(path) in _NAMES


def read_graph(path: str | Path, directed: bool, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Reads a file of a graph.

    Args:
        path: the file.
        directed: whether directions will be kept.
        notes: gets sentences on what was found.

    Returns:
        A table of its nodes: `id`, which is the node's name, and a column of text for each attribute; and the ids of its edges:
        source, target, source, target, ….

    Raises:
        InputError: where it cannot be read.
    """
    kind = _NAMES[_ending(path)]
    graph = _read(path, kind, notes)
    if graph.number_of_nodes() == 0:
        raise InputError(f"{path} has no nodes; expected at least one")
    if graph.is_directed() and not directed and kind != "Pajek":
        notes.append(f"the edges of {path} have a direction, which is not kept (--directed keeps it)")
    if graph.number_of_edges() and any("weight" in attributes for _, _, attributes in graph.edges(data=True)):
        notes.append(f"the edges of {path} have weights, which are not read")
    ids = [str(node) for node in graph]
    if len(set(ids)) < len(ids):
        raise InputError(f"{path} has different nodes that are the same as text")
    return _attributes(graph, ids, path, notes), list(
        map(str, chain.from_iterable((edge[0], edge[1]) for edge in graph.edges()))
    )


def _attributes(graph: nx.Graph, ids: list[str], path: str | Path, notes: list[str]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {"id": ids}
    names = dict.fromkeys(key for _, attributes in graph.nodes(data=True) for key in attributes)
    for name in names:
        values = [attributes.get(name) for _, attributes in graph.nodes(data=True)]
        if all(value is None or isinstance(value, (str, Number)) for value in values):
            columns["id (attribute)" if name == "id" else str(name)] = values
        else:
            notes.append(f"the node attribute {name!r} of {path} holds neither numbers nor text, and is not read")
    return text_frame(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))


def _read(path: str | Path, kind: str, notes: list[str]) -> nx.Graph:
    import networkx as nx

    readers: dict[str, Callable[[Any], nx.Graph]] = {
        "GraphML": nx.read_graphml,
        "GML": nx.read_gml,
        "GEXF": nx.read_gexf,
        "Pajek": nx.read_pajek,
    }
    with open_binary(path) as binary:
        stream = decompressed(binary, path, notes)
        refuse_others(stream.peek(512)[:512], path)
        if not stream.peek(1):
            raise InputError(f"{path} is empty")
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} holds more than {MOST_BYTES:,} bytes of text, the most that is read at once")
    try:
        try:
            return readers[kind](io.BytesIO(content))
        except nx.NetworkXError as error:
            if kind != "GML" or "label" not in str(error):
                raise
            # Not every GML file names its nodes; then their ids are their names.
            return nx.read_gml(io.BytesIO(content), label="id")
    except Exception as error:  # the parsers below raise whatever the text makes of them
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as {kind}: {reason[:200]}") from None
