"""Everyone within some steps: the mask of the k-hop neighbourhoods."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graphattn.errors import InputError
from graphattn.ops.mask import AdjacencyMask

if TYPE_CHECKING:
    from scipy import sparse

# Walks of one chunk of rows, which bound the pairs that are held at once while they are sought.
_CHUNK = 2**22
# Bytes of an edge in the mask: source, target and type.
_EDGE_BYTES = 24


def k_hop(mask: AdjacencyMask, k: int, *, first: int = 1, max_edges: int = 2**25) -> AdjacencyMask:
    """The mask of k-hop neighbourhoods: target i attends to every node j from which the shortest path to i has up to k edges.

    Each pair is one edge, also where there are multi-edges, and no node is its own neighbour, also where there are self-loops.
    Paths follow the edges' direction. The type of an edge is its distance less `first`. Edges stand target by target, for each
    by distance, then by the number of the source: their order does not depend on that of the mask's edges. A step of
    preprocessing: it cannot be traced, and its time is that of the walks of length k.

    Args:
        mask: the edges; as many sources as targets. Their types are not read.
        k: the longest distance.
        first: the shortest distance. With 2 the neighbours themselves are left out: `mask | k_hop(mask, 3, first=2)` keeps the
            mask's own edges as they are, with their multi-edges and features, and adds the nodes beyond.
        max_edges: the most edges to make; by default so many that they take 0.8 GB.

    Raises:
        InputError: on a bipartite mask, distances that are not 1 ≤ first ≤ k, or more than `max_edges` edges.

    Example:
        >>> path = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 2]]))
        >>> beyond = k_hop(path, 2)
        >>> torch.stack([beyond.source, beyond.target, beyond.edge_type]).tolist()
        [[0, 1, 0], [1, 2, 2], [0, 0, 1]]
    """
    nodes = mask.num_targets
    if mask.num_sources != nodes:
        raise InputError(f"mask must have as many sources as targets, got {mask.num_sources} sources and {nodes} targets")
    if not 1 <= first <= k:
        raise InputError(f"k and first must be whole numbers with 1 ≤ first ≤ k, got k={k} and first={first}")
    adjacency = _adjacency(mask)
    pairs: list[np.ndarray] = []
    total = 0
    for start, end in pairwise(_chunk_ends(adjacency, k)):
        pairs.append(_reach(adjacency, np.arange(start, end), first, k))
        total += pairs[-1].shape[1]
        if total > max_edges:
            about = total * nodes // end  # as if the rows so far were like the others
            raise InputError(
                f"k={k} joins about {about:,} pairs of nodes, which take {about * _EDGE_BYTES / 1e9:.1f} GB, but max_edges is "
                f"{max_edges:,}: take a smaller k, or expander edges or virtual nodes instead"
            )
    table = torch.from_numpy(np.concatenate([np.empty((3, 0), dtype=np.int64), *pairs], axis=1))
    target, source, edge_type = table.to(mask.source.device).unbind(0)
    return AdjacencyMask(source, target, nodes, nodes, edge_type, k - first + 1)


def _adjacency(mask: AdjacencyMask) -> sparse.csr_array:
    """A[i, j] is true where i attends to another node j."""
    from scipy import sparse

    source, target = mask.source.cpu().numpy(), mask.target.cpu().numpy()
    other = source != target
    shape = (mask.num_targets, mask.num_targets)
    return sparse.csr_array((np.ones(int(other.sum()), dtype=bool), (target[other], source[other])), shape=shape)


def _chunk_ends(adjacency: sparse.csr_array, k: int) -> list[int]:
    """Cuts the rows into chunks of about as many walks, and gives their bounds, from 0 to the number of rows."""
    nodes = adjacency.shape[0]
    walks = total = np.ones(nodes)
    for _ in range(k):
        # More pairs than there are nodes no row can have.
        walks = np.minimum(adjacency @ walks, nodes)
        total = total + walks
    chunk = np.floor(np.cumsum(total) / _CHUNK)
    return [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), nodes] if nodes else [0]


def _reach(adjacency: sparse.csr_array, rows: np.ndarray, first: int, k: int) -> np.ndarray:
    """The pairs of some rows: row, column and distance - first, [3, pairs], sorted by row, distance and column."""
    from scipy import sparse

    own = np.ones(len(rows), dtype=bool), (np.arange(len(rows)), rows)
    seen: Any = sparse.csr_array(own, shape=(len(rows), adjacency.shape[0]))
    frontier, found = seen, []
    for distance in range(1, k + 1):
        frontier = (frontier @ adjacency) > seen
        seen = seen + frontier
        if distance >= first:
            row, column = frontier.nonzero()
            found.append(np.stack([rows[row], column, np.full_like(row, distance - first)]).astype(np.int64))
    pairs = np.concatenate(found, axis=1)
    return pairs[:, np.lexsort((pairs[1], pairs[2], pairs[0]))]
