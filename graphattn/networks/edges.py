"""Edges from wherever they come, as pairs of ids: edge lists, adjacency matrices, frames, and files of graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from graphattn.errors import InputError
from graphattn.networks.graph_files import is_graph_file, read_graph
from graphattn.networks.saved import is_saved, read_saved
from graphattn.tables import find_columns, iter_table, name_of, numbers, read_table, text_frame

_ROWS = 1 << 18
_SHOWN = 5
Columns = tuple[str, str] | None


class Edges(NamedTuple):
    """Edges as they come.

    Args:
        name: what messages call them.
        chunks: ids, source, target, source, target, …, a chunk at a time.
        header: whether the first two ids may be a header.
        ids: all nodes, where the source says so.
        table: what the source says of the nodes, with a column `id`, a row for each of `ids`.
    """

    name: str
    chunks: Iterator[list[str]]
    header: bool = False
    ids: list[str] | None = None
    table: pd.DataFrame | None = None


def read_edges(
    edges: str | Path | pd.DataFrame,
    columns: Columns,
    *,
    adjacency_matrix: bool,
    directed: bool,
    ids: Sequence[str] | None,
    notes: list[str],
) -> Edges:
    """Opens edges.

    Args:
        edges: a file, or a frame with a row for each edge.
        columns: the columns of an edge list with the ends; default: the first two.
        adjacency_matrix: whether it is a matrix with a row and a column for each node.
        directed: whether directions will be kept.
        ids: the nodes, where a table names them: those of a matrix that does not.
        notes: gets sentences on what was found.

    Raises:
        InputError: where they cannot be read.
    """
    if isinstance(edges, pd.DataFrame):
        if adjacency_matrix:
            labelled = text_frame(edges).set_axis([str(column) for column in edges.columns], axis=1)
            return _matrix(_with_header(labelled), "edges", ids)
        frame = text_frame(edges)
        return Edges("edges", _ends(iter([frame]), "edges", columns, True, notes))
    if is_graph_file(edges) or is_saved(edges):
        if adjacency_matrix or columns is not None:
            raise InputError(f"{edges} holds a graph, which needs neither names of columns nor --adjacency-matrix")
        read = read_graph if is_graph_file(edges) else read_saved
        table, pairs = read(edges, directed, notes)
        return Edges(str(edges), iter([pairs]), False, table["id"].tolist(), table)
    if adjacency_matrix:
        if columns is not None:
            raise InputError("an adjacency matrix has no source and target column; leave their names out")
        return _matrix(read_table(edges, header=False, whitespace=True, notes=notes), name_of(edges), ids)
    chunks = iter_table(edges, _ROWS, header=columns is not None, whitespace=True, notes=notes)
    return Edges(name_of(edges), _ends(chunks, name_of(edges), columns, False, notes), columns is None)


def _ends(chunks: Iterator[pd.DataFrame], name: str, columns: Columns, named: bool, notes: list[str]) -> Iterator[list[str]]:
    """The ids of each chunk of an edge list: source, target, source, target, …."""
    found: list[str] | None = None
    for number, chunk in enumerate(chunks):
        if columns is not None:
            found = find_columns(chunk, columns, name, notes) if found is None else found
            chunk = chunk[found]
        elif chunk.shape[1] < 2:
            raise InputError(f"{name} has one column; expected two, the ends of an edge, between ',', ';', tabs or spaces")
        elif number == 0:
            _check_no_matrix(chunk, name)
            if chunk.shape[1] > 2:
                example = chunk.columns[2] if named or chunk.empty else chunk.iloc[0, 2]
                notes.append(
                    f"{name} has {chunk.shape[1]} columns; the first two are the ends of an edge, and others, such as "
                    f"{example!r}, are not read: edges have no weight or time"
                )
        ends = zip(chunk.iloc[:, 0], chunk.iloc[:, 1], strict=True)
        yield [cell.strip() for cell in chain.from_iterable(ends)]


def _check_no_matrix(chunk: pd.DataFrame, name: str) -> None:
    """Refuses an adjacency matrix, which has as many rows as columns: of 0 and 1, or symmetric, or with names on both sides."""
    rows, width = chunk.shape
    if width < 3 or not width - 1 <= rows <= width + 1:
        return
    values, labelled = _split(chunk)
    if values.shape[0] != values.shape[1]:
        return
    numeric, unusable = numbers(values.to_numpy().ravel().tolist())
    if "not a number" in unusable:
        return
    square = numeric.reshape(values.shape)
    binary = bool(np.isin(square, (0, 1)).all())
    symmetric = len(square) > 3 and np.array_equal(square, square.T) and bool((square == 0).any())
    if binary or symmetric or labelled:
        raise InputError(
            f"{name} looks like an adjacency matrix of {len(square):,} nodes, not like a list of edges; read it with "
            "--adjacency-matrix, or name the columns of a list of edges with --source-column and --target-column"
        )


def _split(table: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """The cells of a matrix without names, and whether there are names on both sides, the same in the same order."""
    top = [cell.strip() for cell in table.iloc[0]]
    left = [cell.strip() for cell in table.iloc[:, 0]]
    rows, width = table.shape
    both = rows == width and top[1:] == left[1:] and (not _are_numbers(top[:1]) or not _are_numbers(top[1:]))
    if both:
        return table.iloc[1:, 1:], True
    if rows == width + 1:
        return table.iloc[1:], False
    return (table.iloc[:, 1:] if width == rows + 1 else table), False


def _matrix(table: pd.DataFrame, name: str, ids: Sequence[str] | None) -> Edges:
    """Edges where cells are not 0 and not empty."""
    values, both = _split(table)
    nodes = len(values)
    if values.shape[1] != nodes:
        raise InputError(
            f"{name} has {len(table):,} rows and {table.shape[1]:,} columns; an adjacency matrix has as many of both"
        )
    found, unusable = numbers(values.to_numpy().ravel().tolist())
    if "not a number" in unusable or "not finite" in unusable:
        raise InputError(f"{name} has cells that are no numbers; expected an adjacency matrix, 0 where there is no edge")
    if both or len(table) > nodes:
        names = [cell.strip() for cell in table.iloc[0]][-nodes:]
    elif table.shape[1] > nodes:
        names = [cell.strip() for cell in table.iloc[:, 0]]
    else:
        names = [str(node) for node in range(nodes)] if ids is None else list(ids)
        if len(names) != nodes:
            raise InputError(f"{name} is a matrix of {nodes:,} nodes without names, and the node table has {len(names):,}")
    twice = [node for node, count in pd.Series(names).value_counts().items() if count > 1]
    if twice:
        raise InputError(f"{name} names the node {twice[0]!r} more than once")
    pairs = np.argwhere(np.nan_to_num(found.reshape(nodes, nodes)) != 0)
    return Edges(name, iter([[names[node] for node in pairs.ravel()]]), False, names, pd.DataFrame({"id": names}, dtype=str))


def _with_header(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose first row is its header."""
    top = pd.DataFrame([list(frame.columns)], dtype=str)
    return pd.concat([top, frame.set_axis(range(frame.shape[1]), axis=1)], ignore_index=True)


def between(edges: Edges, ids: list[str]) -> tuple[np.ndarray, int, list[str]]:
    """Reads edges between known nodes.

    Returns:
        The edges as rows of nodes, int64, [2, edges]; how many edges were left out because an id is unknown; and the
        first of those ids.
    """
    index = {node: row for row, node in enumerate(ids)}
    parts: list[np.ndarray] = [np.empty((0, 2), dtype=np.int64)]
    unknown: dict[str, None] = {}
    for number, cells in enumerate(edges.chunks):
        if number == 0 and edges.header and _may_be_header(cells) and not index.keys() & cells[:2]:
            _check_header(cells, edges.name)
            del cells[:2]
        parts.append(_rows_of(cells, index))
        if len(unknown) < _SHOWN:
            unknown |= {cells[place]: None for place in np.flatnonzero(parts[-1].ravel() < 0)}
    rows = np.concatenate(parts)
    known = (rows >= 0).all(axis=1)
    return np.ascontiguousarray(rows[known].T), int((~known).sum()), list(unknown)


def with_ids(edges: Edges) -> tuple[np.ndarray, list[str]]:
    """Reads edges and the nodes they name; returns rows of nodes, int64, [2, edges], and ids by first appearance."""
    if edges.ids is not None:
        return between(edges, edges.ids)[0], edges.ids
    index: dict[str, int] = {}
    parts: list[np.ndarray] = []
    may_be_header = False
    for number, cells in enumerate(edges.chunks):
        if number == 0 and edges.header:
            may_be_header = _may_be_header(cells)
        for cell in cells:
            index.setdefault(cell, len(index))
        parts.append(_rows_of(cells, index))
    ids, rows = list(index), np.concatenate(parts)
    if may_be_header:
        # The first line's cells have the smallest rows: it is a header if no later line uses them.
        width = len(set(rows[0]))
        if rows[1:].min(initial=width) >= width:
            _check_header(ids[:width], edges.name)
            ids, rows = ids[width:], rows[1:] - width
    if not ids:
        raise InputError(f"{edges.name} has no edges; without a node table there must be at least one")
    if "" in index:
        raise InputError(f"{edges.name} has a row with an empty id; expected two ids in every row")
    return np.ascontiguousarray(rows.T), ids


def _rows_of(cells: list[str], index: dict[str, int]) -> np.ndarray:
    return np.fromiter(map(index.get, cells, repeat(-1)), np.int64, len(cells)).reshape(-1, 2)


def _may_be_header(cells: list[str]) -> bool:
    """Whether the first line differs from an edge between two numbers, over another such edge if there is one."""
    return not _are_numbers(cells[:2]) or (len(cells) > 2 and not _are_numbers(cells[2:4]))


def _are_numbers(cells: list[str]) -> bool:
    return not numbers(cells)[1]


def _check_header(names: list[str], path: str) -> None:
    # A table saved with its row numbers has a nameless first column, which is no end of an edge.
    if "" in names[:2]:
        raise InputError(f"{path} has a first or second column without a name; give source_column and target_column")
