"""The sums of linear attention for many small graphs in one call: a matrix product for each would be mostly calls."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from graphattn.ops.cpu import specialise, threads
from graphattn.ops.cpu.form import STORAGE

# The table of a tile of value channels is kept on the stack.
MOST_CHANNELS = 512
_TILE_BYTES = 64


def serves(key: Tensor, value: Tensor) -> bool:
    """Whether the kernel takes these: float32 or float64 with not too many channels."""
    is_float = key.dtype == value.dtype and key.dtype in (torch.float32, torch.float64)
    return is_float and key.shape[2] <= MOST_CHANNELS and 0 not in (*key.shape[1:], value.shape[2])


def linear_sums(query: Tensor, key: Tensor, value: Tensor, graphs: Tensor, out: Tensor) -> None:
    """out_i = q_i · Σ_j k_j v_jᵀ over the nodes j of the graph of i; each sum is taken in the order of the nodes.

    Args:
        query, key: [nodes, heads, channels].
        value: [nodes, heads, value channels].
        graphs: first node and number of nodes of each graph, int64, [graphs, 2]. Where the largest come first, threads end
            together.
        out: [nodes, heads, value channels], contiguous; rows of other graphs stay as they are.
    """
    tile = min(_TILE_BYTES // value.element_size(), 1 << (value.shape[2].bit_length() - 1))
    tables = [_with_whole_rows(table) for table in (query, key, value)]
    addresses = (word for table in tables for word in (table.data_ptr(), table.stride(0) * table.element_size()))
    sizes = (value.shape[1], key.shape[2], value.shape[2])
    words = (0, graphs.shape[0], graphs.data_ptr(), *sizes, *addresses, out.data_ptr())
    threads.run(_kernel(tile, STORAGE[value.dtype]), words, graphs.shape[0] * value.shape[1])


def kernel(tile: int, storage: str) -> specialise.Kernel:
    """The kernel for tiles of so many value channels."""
    return specialise.Kernel(
        ("linear_sums",), "linear_sums", (("MOST_CHANNELS", MOST_CHANNELS), ("VALUE_TILE", tile), ("STORAGE", storage))
    )


_kernel = cache(lambda tile, storage: specialise.address(kernel(tile, storage)))


def _with_whole_rows(table: Tensor) -> Tensor:
    """Heads and channels of a node must lie one after the other."""
    return table if table.stride()[1:] == (table.shape[2], 1) else table.contiguous()
