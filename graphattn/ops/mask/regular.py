"""Random regular graphs, drawn graph by graph: the loops of `graphattn.ops.expander`, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

# SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (27, 30, 31, 32))

# Attempts to exchange the ends of two edges, for each edge of a graph.
_EXCHANGES = 10


@njit
def hash_graphs(edges: np.ndarray, edge_ptr: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A hash of each graph's number of nodes and its edges in their order, uint64, [graphs].

    Args:
        edges: source and target of the edges, graph by graph, nodes numbered inside each graph, [2, edges].
        edge_ptr: the first edge of each graph and the end of the last, [graphs + 1].
        sizes: nodes of each graph, [graphs].
    """
    hashes = np.empty(len(sizes), dtype=np.uint64)
    for graph in range(len(sizes)):
        value = _mix(np.uint64(sizes[graph]))
        for edge in range(edge_ptr[graph], edge_ptr[graph + 1]):
            value = _mix(value ^ np.uint64(edges[0, edge]))
            value = _mix(value ^ np.uint64(edges[1, edge]))
        hashes[graph] = value
    return hashes


@njit
def draw_regular(
    neighbours: np.ndarray, ptr: np.ndarray, graphs: np.ndarray, seeds: np.ndarray, draw: int, degree: int
) -> None:
    """Draws a connected random graph of so many neighbours a node, or one less for one node, for each of `graphs`.

    Args:
        neighbours: where the neighbours of each node are written, numbered inside its graph; -1 where it has fewer than
            others, [nodes, degree].
        ptr: the first node of each graph and the end of the last, [all graphs + 1].
        graphs: the numbers of the graphs to draw.
        seeds: the seed of each graph, uint64, [all graphs].
        draw: which of many drawings with the same seed.
        degree: the number of neighbours; graphs of no more than degree + 1 nodes are complete.
    """
    for graph in graphs:
        first, nodes = ptr[graph], ptr[graph + 1] - ptr[graph]
        rows = neighbours[first : first + nodes]
        if nodes <= degree + 1:
            for i in range(nodes):
                for slot in range(nodes - 1):
                    rows[i, slot] = slot + (slot >= i)
        else:
            state = np.full(1, _mix(seeds[graph] ^ _mix(np.uint64(draw))))
            edges = _ring(rows, state)
            _exchange(rows, edges, state)
            while not _is_connected(rows):
                _exchange(rows, edges, state)


@njit
def _mix(value: np.uint64) -> np.uint64:
    value += _STEP
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@njit
def _below(bound: int, state: np.ndarray) -> int:
    """A random number in [0, bound), for bounds below 2³²."""
    state[0] += _STEP
    return int(((_mix(state[0]) >> _S32) * np.uint64(bound)) >> _S32)


@njit
def _ring(rows: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Nodes in random order round a ring, each with the next ones on both sides; an odd degree joins opposite nodes."""
    nodes, degree = rows.shape
    half = degree // 2
    opposite = nodes // 2 if degree % 2 else 0
    order = np.arange(nodes)
    for last in range(nodes - 1, 0, -1):
        other = _below(last + 1, state)
        order[last], order[other] = order[other], order[last]
    edges = np.empty((nodes * half + opposite, 2), dtype=np.int64)
    for i in range(nodes):
        rows[i, degree - 1] = -1
    count = 0
    for offset in range(1, half + 1):
        for place in range(nodes):
            i, j = order[place], order[(place + offset) % nodes]
            rows[i, 2 * offset - 2], rows[j, 2 * offset - 1] = j, i
            edges[count, 0], edges[count, 1] = i, j
            count += 1
    for place in range(opposite):
        i, j = order[place], order[place + opposite]
        rows[i, degree - 1], rows[j, degree - 1] = j, i
        edges[count, 0], edges[count, 1] = i, j
        count += 1
    return edges


@njit
def _exchange(rows: np.ndarray, edges: np.ndarray, state: np.ndarray) -> None:
    """Takes two edges a-b and c-d at random and makes a-d and c-b of them, wherever these are two new edges; many times."""
    for _ in range(_EXCHANGES * len(edges)):
        one, two, side = _below(len(edges), state), _below(len(edges), state), _below(2, state)
        a, b, c, d = edges[one, 0], edges[one, 1], edges[two, side], edges[two, 1 - side]
        if a == d or b == c or _slot(rows, a, d) >= 0 or _slot(rows, c, b) >= 0:
            continue
        rows[a, _slot(rows, a, b)] = d
        rows[b, _slot(rows, b, a)] = c
        rows[c, _slot(rows, c, d)] = b
        rows[d, _slot(rows, d, c)] = a
        edges[one, 1], edges[two, 0], edges[two, 1] = d, c, b


@njit
def _slot(rows: np.ndarray, i: int, j: int) -> int:
    """Where j stands among the neighbours of i; -1 if it is none."""
    for slot in range(rows.shape[1]):
        if rows[i, slot] == j:
            return slot
    return -1


@njit
def _is_connected(rows: np.ndarray) -> bool:
    seen = np.zeros(len(rows), dtype=np.bool_)
    queue = np.empty(len(rows), dtype=np.int64)
    seen[0], queue[0], count = True, 0, 1
    for place in range(len(rows)):
        if place == count:
            return False
        for slot in range(rows.shape[1]):
            j = rows[queue[place], slot]
            if j >= 0 and not seen[j]:
                seen[j], queue[count], count = True, j, count + 1
    return True
