"""From tensors to a run of the kernels for full attention: tiles by the size of graphs, a launch for each size there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphattn.ops.inputs import Gradients, Inputs
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.triton import schedule
from graphattn.ops.triton.kernels import blocks, tiles
from graphattn.ops.triton.tiles import power_of_two

# Channels of a head, of keys or values, that a tile can hold.
MOST_CHANNELS = 128
# Nodes at a time where a tile is not taken at once, and channels in float32, whose products go through a thread's registers.
_PART = 32


class _Size(NamedTuple):
    """Graphs that run with one size of tile: so many lines of the table of tiles from `begin` on, of `span` nodes at most."""

    begin: int
    lines: int
    span: int
    is_whole: bool


def serves(inputs: Inputs) -> bool:
    """Whether these kernels take a call: dot products on blocks, in a type that has matrix products, of heads not too wide."""
    query, _, value = inputs.tables
    of_blocks = inputs.blocks and inputs.score == "dot" and query.dtype != torch.float64
    return of_blocks and max(query.shape[2], value.shape[2]) <= MOST_CHANNELS


def forward(inputs: Inputs, out: Tensor, statistics: Tensor) -> None:
    """Writes the output and, under softmax, each target's largest score and inverse sum."""
    tables, form, heads = _tables(inputs), _form(inputs), out.shape[1]
    wide = out.dtype == torch.float32
    for size in _sizes(inputs):
        rows, columns = min(size.span, _PART) if wide else size.span, min(size.span, _PART)
        blocks.forward[size.lines * heads, size.span // rows](
            inputs.tiles, size.begin, inputs.row_pointers, *tables, out, statistics,
            **form, ROWS=rows, COLUMNS=columns, **_resources(rows, columns, form, wide),
        )  # fmt: skip


def backward(inputs: Inputs, gradient: Tensor, out: Tensor, statistics: Tensor, gradients: Gradients) -> None:
    """Writes the gradients of query, key, value and bias; where values are the keys, both in one."""
    tables, form, heads = _tables(inputs), _form(inputs), out.shape[1]
    wide = out.dtype == torch.float32
    of_query, of_key, of_value, _, of_bias, *_ = gradients
    if inputs.key is None:
        of_query, of_key, of_value = of_query.unbind(1)
    of_values = (None, 0) if inputs.key is not None and inputs.value is None else (of_value, of_value.stride(0))
    of_sources = of_key, of_key.stride(0), *of_values, of_bias if of_bias.numel() else None
    needs_delta = normaliser_of(inputs.normaliser).needs_delta
    means = gradient.new_empty(gradient.shape[:2] if needs_delta else (0,), dtype=torch.float32)
    for size in _sizes(inputs):
        given = inputs.tiles, size.begin, inputs.row_pointers, *tables
        if size.is_whole and size.span <= _most_at_once(inputs, form, wide):
            blocks.backward[(size.lines * heads,)](
                *given, gradient, statistics, of_query, of_query.stride(0), *of_sources,
                **form, NODES=size.span, **_resources(size.span, size.span, form, wide),
            )  # fmt: skip
            continue
        rows = min(size.span, _PART if wide else schedule.TILE)
        columns = min(rows, _PART // 2 if wide else _PART)
        grid = size.lines * heads, size.span // rows
        options = form | _resources(rows, columns, form, wide) | {"ROWS": rows, "COLUMNS": columns}
        tiles.backward_rows[grid](*given, out, gradient, statistics, means, of_query, of_query.stride(0), **options)
        tiles.backward_columns[grid](*given, gradient, statistics, means, *of_sources, **options)


def _sizes(inputs: Inputs) -> Iterator[_Size]:
    """The sizes that there are; of graphs larger than every span, tiles that are not the whole graph."""
    assert inputs.tile_ends is not None
    begin, spans = 0, (schedule.TILE, *schedule.SPANS)
    for number, end in enumerate(inputs.tile_ends.tolist()):
        if end > begin:
            yield _Size(begin, end - begin, spans[number], is_whole=number > 0)
        begin = end


def _tables(inputs: Inputs) -> tuple[Any, ...]:
    """What all kernels read of nodes and pairs."""
    query, key, value = inputs.tables
    tables = query, query.stride(0), key, key.stride(0), value, value.stride(0)
    return *tables, inputs.extras[1], inputs.seed, math.ceil(inputs.dropout * 2**32)


def _form(inputs: Inputs) -> dict[str, Any]:
    """What the kernels are compiled for."""
    query, _, value = inputs.tables
    return {
        "HEADS": query.shape[1],
        "KEY_CHANNELS": query.shape[2],
        "VALUE_CHANNELS": value.shape[2],
        "NORMALISER": inputs.normaliser,
        # As constants, because an argument would be rounded to float32.
        "SCALE": inputs.scale,
        "FACTOR": 1 / (1 - inputs.dropout),
        # A matrix product has 16 of everything at least.
        "KEY_PADDED": max(power_of_two(query.shape[2]), 16),
        "VALUE_PADDED": max(power_of_two(value.shape[2]), 16),
        "PART": _PART if query.dtype == torch.float32 else MOST_CHANNELS,
    }


def _most_at_once(inputs: Inputs, form: dict[str, Any], wide: bool) -> int:
    """Nodes of the largest graph all of whose weights and slopes the registers of a program hold."""
    if wide:
        return 32
    keeps_state = normaliser_of(inputs.normaliser).keeps_state
    crowded = inputs.seed is not None or not keeps_state or max(form["KEY_PADDED"], form["VALUE_PADDED"]) > 64
    return 64 if crowded else 128


def _resources(rows: int, columns: int, form: dict[str, Any], wide: bool) -> dict[str, int]:
    """Warps, so many that each of their 32 threads holds 16 numbers of a tile, or 32 in a large one of half precision, which
    groups of four warps multiply; and whether loads run ahead by a turn."""
    numbers = rows * max(columns, form["KEY_PADDED"], form["VALUE_PADDED"])
    warps = max(numbers // 512, rows // 16) if wide or rows < 64 else max(numbers // 1024, 4)
    return {"num_warps": min(warps, 8), "num_stages": 1 if wide else 2}
