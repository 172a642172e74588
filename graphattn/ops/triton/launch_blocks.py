"""From tensors to a run of the kernels for full attention: tiles by the size of the graphs, one launch for each size there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphattn.ops.inputs import Inputs
from graphattn.ops.triton.kernels import blocks, tiles
from graphattn.ops.triton.schedule import SPANS, TILE
from graphattn.ops.triton.tiles import power_of_two

# Channels of a head, of keys or values, that a tile can hold.
_MOST_CHANNELS = 128
# Nodes, or channels, at a time where not all at once: then no thread holds more numbers than it has registers.
_PART = 32


class _Size(NamedTuple):
    """Graphs that run with tiles of one size: lines of the table of tiles from `begin` on, each of up to `span` nodes."""

    begin: int
    lines: int
    span: int
    is_whole: bool


def serves(inputs: Inputs, query: Tensor, value: Tensor) -> bool:
    """Whether these kernels take a call: blocks with dot products, in a type that matrix products have, of narrow heads."""
    of_blocks = inputs.blocks and inputs.score == "dot" and query.dtype != torch.float64
    return of_blocks and max(query.shape[2], value.shape[2]) <= _MOST_CHANNELS


def forward(inputs: Inputs, query: Tensor, key: Tensor, value: Tensor, out: Tensor, statistics: Tensor) -> None:
    """Writes the output, and what a target's softmax has for a statistic."""
    tables, form = _tables(inputs, query, key, value), _form(inputs, query, value)
    for size in _sizes(inputs):
        rows, columns = min(size.span, _PART if _is_wide(query) else size.span), min(size.span, _PART)
        blocks.forward[_grid(size, rows, query)](
            inputs.row_edges, size.begin, inputs.row_pointers, *tables, out, statistics,
            **form, ROWS=rows, COLUMNS=columns, **_resources(rows, columns, form),
        )  # fmt: skip


def backward(
    inputs: Inputs, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor, out: Tensor, statistics: Tensor,
    of_query: Tensor, of_key: Tensor, of_value: Tensor | None, of_bias: Tensor | None,
) -> None:  # fmt: skip
    """Writes the gradients; those of values go to the keys where there is no `of_value`, because values are the keys."""
    tables, form = _tables(inputs, query, key, value), _form(inputs, query, value)
    of_sources = of_key, of_key.stride(0), of_value, 0 if of_value is None else of_value.stride(0), of_bias
    means = None
    for size in _sizes(inputs):
        head = inputs.row_edges, size.begin, inputs.row_pointers, *tables
        if size.is_whole and size.span <= _most_whole(inputs, query, value):
            blocks.backward[_grid(size, size.span, query)](
                *head, gradient, statistics, of_query, of_query.stride(0), *of_sources,
                **form, NODES=size.span, **_resources(size.span, size.span, form),
            )  # fmt: skip
            continue
        if means is None and inputs.normaliser == "softmax":
            means = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)
        rows = min(size.span, _PART if _is_wide(query) else TILE)
        columns = min(rows, _PART // 2 if _is_wide(query) else _PART)
        options = {**form, "ROWS": rows, "COLUMNS": columns, **_resources(rows, columns, form)}
        grid = _grid(size, rows, query)
        tiles.backward_rows[grid](*head, out, gradient, statistics, means, of_query, of_query.stride(0), **options)
        tiles.backward_columns[grid](*head, gradient, statistics, means, *of_sources, **options)


def _sizes(inputs: Inputs) -> Iterator[_Size]:
    assert inputs.block_ends is not None
    begin = 0
    for span, end in zip((None, *SPANS), inputs.block_ends.tolist(), strict=True):
        if end > begin:
            yield _Size(begin, end - begin, span or TILE, span is not None)
        begin = end


def _form(inputs: Inputs, query: Tensor, value: Tensor) -> dict[str, Any]:
    """What the kernels are compiled for."""
    return {
        "HEADS": query.shape[1],
        "KEY_CHANNELS": query.shape[2],
        "VALUE_CHANNELS": value.shape[2],
        "NORMALISER": inputs.normaliser,
        # As constants, because an argument would be rounded to float32.
        "SCALE": inputs.scale,
        "FACTOR": 1 / (1 - inputs.dropout),
        "KEY_PADDED": _padded(query.shape[2]),
        "VALUE_PADDED": _padded(value.shape[2]),
        "PART": _PART if _is_wide(query) else _MOST_CHANNELS,
    }


def _tables(inputs: Inputs, query: Tensor, key: Tensor, value: Tensor) -> tuple[Any, ...]:
    """What forward and backward both read of the nodes and pairs."""
    tables = query, query.stride(0), key, key.stride(0), value, value.stride(0)
    return *tables, inputs.extras[1], inputs.seed, math.ceil(inputs.dropout * 2**32)


def _padded(channels: int) -> int:
    return max(power_of_two(channels), 16)  # a matrix product has 16 at least


def _is_wide(query: Tensor) -> bool:
    return query.dtype == torch.float32


def _grid(size: _Size, rows: int, query: Tensor) -> tuple[int, int]:
    return size.lines * query.shape[1], size.span // rows


def _most_whole(inputs: Inputs, query: Tensor, value: Tensor) -> int:
    """Nodes of the largest graph whose weights and slopes a program holds all at once."""
    if _is_wide(query):
        return 32
    crowded = inputs.seed is not None or (inputs.bias is not None and max(query.shape[2], value.shape[2]) > 64)
    return 64 if crowded else 128


def _resources(rows: int, columns: int, form: dict[str, Any]) -> dict[str, int]:
    """Warps, 32 threads each, so many that a thread holds 16 numbers of a tile; of half precision, in tiles for a group of four
    warps, 32. And whether a turn's loads run ahead by one."""
    numbers = rows * max(columns, form["KEY_PADDED"], form["VALUE_PADDED"])
    narrow = form["PART"] == _MOST_CHANNELS
    warps = max(numbers // 1024, 4) if narrow and rows >= 64 else max(numbers // 512, 1)
    return {"num_warps": min(warps, 8), "num_stages": 2 if narrow else 1}
