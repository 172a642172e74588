from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.transforms.structure import Graphs, StructuralTransform


class AddDistance(StructuralTransform):
    """Adds `data.distance_pair` [pairs]: the length of the shortest path from source j to target i, in buckets, uint8.

    The spatial encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021). Bucket 0 is
    the node itself, 1 … `longest` the number of edges, `longest` + 1 any longer path, `longest` + 2 no path. A path follows
    the direction of edges; on an undirected graph, which has both, the distance is symmetric. Multi-edges and self-loops
    change nothing. One byte a pair, flat as `BlockDiagonalMask` says.

    Args:
        longest: the longest distance with a bucket of its own, in [1, 253].

    Raises:
        InputError: on a `longest` outside its range, or where the pairs would not fit in memory.
    """

    def __init__(self, longest: int = 8) -> None:
        if not 1 <= longest <= 253:
            raise InputError(f"longest must lie in [1, 253], got {longest}")
        self.longest = longest

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        pairs = int(graphs.pair_ptr[-1])
        refuse_too_many_pairs("distances", pairs, pairs)
        source, target = graphs.edge_index.cpu().numpy()
        out = np.full(pairs, self.longest + 2, dtype=np.uint8)
        row_ptr = np.zeros(graphs.num_nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(target, minlength=graphs.num_nodes), out=row_ptr[1:])
        sources = source[np.argsort(target, kind="stable")]
        _breadth_first(graphs.ptr.cpu().numpy(), graphs.pair_ptr.cpu().numpy(), row_ptr, sources, self.longest, out)
        return {"distance_pair": torch.from_numpy(out).to(graphs.ptr.device)}


@njit
def _breadth_first(
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
