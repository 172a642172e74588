"""Shortest paths between all nodes of each graph."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit
def breadth_first(
    ptr: np.ndarray, pair_ptr: np.ndarray, row_ptr: np.ndarray, sources: np.ndarray, longest: int, out: np.ndarray
) -> None:
    """From every target against the edges. The bucket of "no path", with which `out` comes filled, marks what is unseen."""
    unseen = longest + 2
    queue = np.empty(len(row_ptr), dtype=np.int64)
    for graph in range(len(ptr) - 1):
        first, size = ptr[graph], ptr[graph + 1] - ptr[graph]
        for target in range(size):
            begin = pair_ptr[graph] + target * size
            row = out[begin : begin + size]
            row[target] = 0
            queue[0] = target
            done, found = 0, 1
            while done < found:
                node = queue[done]
                done += 1
                bucket = min(row[node] + 1, longest + 1)
                for edge in range(row_ptr[first + node], row_ptr[first + node + 1]):
                    source = sources[edge] - first
                    if row[source] == unseen:
                        row[source] = bucket
                        queue[found] = source
                        found += 1
