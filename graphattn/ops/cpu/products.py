"""Products over rows in kernels of our own: the same bits for any number of threads.

Torch's matrix products are those of a BLAS library, which may cut and order a sum by the number of threads.
"""

from __future__ import annotations

from functools import cache, lru_cache

import torch
from torch import Tensor

from graphattn.ops.cpu import specialise, threads
from graphattn.ops.cpu.form import STORAGE
from graphattn.ops.memory import empty
from graphattn.ops.settings import requested_backend

# Rows of a chunk whose products are one item of work, and terms of a sum that are kept on the stack.
_ROWS, MOST_TERMS = 256, 256
# Rows that are summed in one go; there are at most so many sums to keep.
_SUMMED_ROWS, _MOST_SUMS = 1024, 512
# Large graphs whose matrices are kept at a time.
_AT_ONCE = 64
_TILE_BYTES = 64


def serves(*tensors: Tensor) -> bool:
    """Whether the kernels take these: float32 or float64, of one type, on a CPU, not empty, with no other backend asked for."""
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device.type == "cpu" and 0 not in tensor.shape[1:] for tensor in tensors)
        and requested_backend() in ("auto", "cpu")
    )


def row_products(x: Tensor, matrix: Tensor, chunks: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """out[n, h] = Σ_c x[n, h, c] · matrix[m, h, c] with the matrix m of the chunk that row n is in.

    Args:
        x: [rows, heads, channels].
        matrix: [matrices, heads, channels, width].
        chunks: as `chunks_of` gives them; default: all rows, with one matrix.
        out: [rows, heads, width], contiguous; rows in no chunk stay as they are. Default: a new one.
    """
    x, matrix = _with_whole_rows(x), matrix.contiguous()
    _, heads, channels, width = matrix.shape
    chunks = _chunks_of(x.shape[0], _ROWS) if chunks is None else chunks
    out = empty((x.shape[0], heads, width), x.dtype, x.device) if out is None else out
    words = (0, chunks.shape[0], chunks.data_ptr(), heads, channels, width, *_rows(x), matrix.data_ptr(), *_rows(out))
    threads.run(_kernel("row_products", width, x.dtype), words, chunks.shape[0] * heads)
    return out


def row_sums(x: Tensor, y: Tensor, chunks: Tensor | None = None, num_sums: int = 1) -> Tensor:
    """Σ_n x[n, h, c] · y[n, h] over the rows n of each sum, [sums, heads, channels, width].

    Args:
        x: [rows, heads, channels].
        y: [rows, heads, width].
        chunks: as `chunks_of` gives them; default: all rows in one sum.
        num_sums: number of sums.
    """
    x, y = _with_whole_rows(x), _with_whole_rows(y)
    (rows, heads, channels), width = x.shape, y.shape[2]
    chunks = _chunks_of(rows, _summed_rows(rows)) if chunks is None else chunks
    sums = x.new_empty(chunks.shape[0], heads, channels, width)
    words = (0, chunks.shape[0], chunks.data_ptr(), heads, channels, width, *_rows(x), *_rows(y), sums.data_ptr())
    threads.run(_kernel("chunk_sums", width, x.dtype), words, chunks.shape[0] * heads)
    if chunks.shape[0] == num_sums:
        return sums
    totals, length = x.new_empty(num_sums, heads, channels, width), heads * channels * width
    of_totals = (0, chunks.shape[0], chunks.data_ptr(), num_sums, length, sums.data_ptr(), totals.data_ptr())
    threads.run(_kernel("total_sums", length, x.dtype), of_totals, -(-length // tile_length(length, x.dtype)))
    return totals


def linear_sums(query: Tensor, key: Tensor, value: Tensor, graphs: Tensor, out: Tensor) -> None:
    """out_i = q_i · Σ_j k_j v_jᵀ over the nodes j of the graph of i.

    All small graphs go in one call, where matrix products for each would be mostly calls; the others in chunks.

    Args:
        query, key: [nodes, heads, channels].
        value: [nodes, heads, value channels].
        graphs: first node and number of nodes of each graph, int64, [graphs, 2], the largest first: threads end together.
        out: [nodes, heads, value channels], contiguous; rows of other graphs stay as they are.
    """
    query, key, value = (_with_whole_rows(rows) for rows in (query, key, value))
    heads, channels, width = value.shape[1], key.shape[2], value.shape[2]
    # A matrix with more rows does not fit on the stack; there all graphs but those without nodes go in chunks.
    fits = channels <= MOST_TERMS
    large, small = graphs[graphs[:, 1] > (_ROWS if fits else 0)], graphs[graphs[:, 1] <= _ROWS]
    for first in range(0, large.shape[0], _AT_ONCE):
        spans = large[first : first + _AT_ONCE].tolist()
        state = row_sums(key, value, _chunks(spans, None), len(spans))
        row_products(query, state, _chunks(spans, _ROWS), out)
    if small.shape[0] and fits:
        words = (
            *(0, small.shape[0], small.data_ptr(), heads, channels, width),
            *(*_rows(query), *_rows(key), *_rows(value), out.data_ptr()),
        )
        threads.run(_kernel("linear_sums", width, value.dtype), words, small.shape[0] * heads)


def kernel(function: str, tile: int, storage: str) -> specialise.Kernel:
    """The kernel of this name for tiles of so many columns."""
    return specialise.Kernel(("products",), function, (("MOST_TERMS", MOST_TERMS), ("TILE", tile), ("STORAGE", storage)))


_address = cache(lambda function, tile, storage: specialise.address(kernel(function, tile, storage)))


def _kernel(function: str, width: int, dtype: torch.dtype) -> int:
    return _address(function, tile_length(width, dtype), STORAGE[dtype])


def tile_length(width: int, dtype: torch.dtype) -> int:
    """Columns of a tile: a power of two that is no wider than the columns themselves."""
    return min(_TILE_BYTES // dtype.itemsize, 1 << (width.bit_length() - 1))


def _summed_rows(rows: int) -> int:
    return max(_SUMMED_ROWS, -(-rows // _MOST_SUMS))


@lru_cache(64)
def _chunks_of(rows: int, size: int) -> Tensor:
    return _chunks([[0, rows]], size)


def _chunks(spans: list[list[int]], size: int | None) -> Tensor:
    """First row, number of rows and number of the span of each chunk, int64, [chunks, 3].

    Args:
        spans: first row and number of rows of each.
        size: rows of a chunk; None for those of a sum, which follow from the span's own rows.
    """
    chunks = []
    for number, (start, rows) in enumerate(spans):
        step = _summed_rows(rows) if size is None else size
        chunks += [(start + first, min(step, rows - first), number) for first in range(0, rows, step)]
    return torch.tensor(chunks, dtype=torch.int64).view(-1, 3)


def _rows(x: Tensor) -> tuple[int, int]:
    """Address, and distance of rows in bytes."""
    return x.data_ptr(), x.stride(0) * x.element_size()


def _with_whole_rows(x: Tensor) -> Tensor:
    """Heads and channels of a row must lie one after the other."""
    return x if x.stride()[1:] == (x.shape[2], 1) else x.contiguous()
