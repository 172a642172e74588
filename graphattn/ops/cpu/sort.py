"""Groups edges by node on the CPU: a counting sort, in time linear in edges and nodes, and the items of work of the result.

Items are what the kernels share out between threads. They depend on the graph alone, never on the number of threads, so
that sums are always taken in the same order. A row of degree d weighs d + 2, for its edges and for being begun and finished.
The size of an item is 1 / 192 of the weight of all rows, but at least 2048. Rows in order are gathered into an item until
they weigh its size; a row of degree above two sizes, a hub, is cut into items of its own, one size each, the last shorter.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from graphattn.ops.cpu import specialise, threads

SMALLEST_ITEM = 2048
MOST_ITEMS = 192


def group_edges(
    row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Pointers, neighbours, edges and items as in `graphattn.ops.layout.EdgeLayout`, or None if an index is out of range.

    Args:
        row, neighbour: the two ends of each edge, int64, shape [edges].
        num_rows, num_neighbours: number of nodes at either end.
        bits: 32 or 64, the type of the result.
    """
    num_edges = row.shape[0]
    row, neighbour = row.contiguous(), neighbour.contiguous()
    dtype = torch.int32 if bits == 32 else torch.int64
    pointers, neighbours, edges = (torch.empty(size, dtype=dtype) for size in (num_rows + 1, num_edges, num_edges))
    addresses = (tensor.data_ptr() for tensor in (row, neighbour, pointers, neighbours, edges))
    items = _run("group_edges", bits, num_edges + 2 * num_rows, num_edges, num_rows, num_neighbours, *addresses)
    return None if items is None else (pointers, neighbours, edges, items)


def group_blocks(ptr: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Pointers, neighbours and items of full attention on graphs; None if `ptr` does not rise from 0 to `num_nodes`."""
    ptr = ptr.contiguous()
    pointers, neighbours = (torch.empty(size, dtype=torch.int64) for size in (num_nodes + 1, num_nodes))
    addresses = (tensor.data_ptr() for tensor in (ptr, pointers, neighbours))
    # As one graph, the nodes would weigh the most.
    items = _run("group_blocks", 64, num_nodes * (num_nodes + 2), ptr.shape[0] - 1, num_nodes, *addresses)
    return None if items is None else (pointers, neighbours, items)


def _run(function: str, bits: int, weight: int, *arguments: int) -> Tensor | None:
    """Calls a kernel on rows that weigh at most `weight`; returns the items, or None where it refuses its arguments."""
    # A item of whole rows that weighs less than a size comes before a hub, or last. A hub weighs more than two sizes, and its
    # last part may be short. So there are at most 2 · weight / size + 1 items.
    table = torch.empty(min(2 * weight // SMALLEST_ITEM, 2 * MOST_ITEMS) + 1, 5, dtype=torch.int64)
    found = ctypes.c_int64()
    kernel = specialise.address(specialise.Kernel(("group_edges",), function, (("INDEX_BITS", bits),)))
    threads.run(kernel, (0, SMALLEST_ITEM, MOST_ITEMS, table.data_ptr(), ctypes.addressof(found), *arguments), 1)
    return None if found.value < 0 else table[: found.value]
