"""From tensors to a run of the kernels for full attention: tiles by the size of graphs, a launch for each size there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphattn.ops.inputs import Gradients, Inputs
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.triton import schedule
from graphattn.ops.triton.kernels import blocks, tiles
from graphattn.ops.triton.start import nodes_and_pairs, start, with_stride
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
    form, heads = _form(inputs), out.shape[1]
    wide = out.dtype == torch.float32
    arguments = _arguments(inputs) | form | {"out": out, "statistics": statistics}
    for size in _sizes(inputs):
        rows, columns = min(size.span, _PART) if wide else size.span, min(size.span, _PART)
        of_size = {"begin": size.begin, "ROWS": rows, "COLUMNS": columns}
        grid = size.lines * heads, size.span // rows
        start(blocks.forward, grid, arguments | of_size, **_resources(rows, columns, form, wide))


def backward(inputs: Inputs, gradient: Tensor, out: Tensor, statistics: Tensor, gradients: Gradients) -> None:
    """Writes the gradients of query, key, value and bias; where values are the keys, both in one."""
    form, heads = _form(inputs), out.shape[1]
    wide = out.dtype == torch.float32
    of_query, of_key, of_value, _, of_bias, *_ = gradients
    if inputs.key is None:
        of_query, of_key, of_value = of_query.unbind(1)
    is_shared = inputs.key is not None and inputs.value is None
    needs_delta = normaliser_of(inputs.normaliser).needs_delta
    means = gradient.new_empty(gradient.shape[:2] if needs_delta else (0,), dtype=torch.float32)
    arguments = _arguments(inputs) | form | {"out": out, "gradient": gradient, "statistics": statistics, "means": means}
    arguments |= with_stride("of_query", of_query) | with_stride("of_key", of_key)
    arguments |= with_stride("of_value", None if is_shared else of_value)
    arguments["of_bias"] = of_bias if of_bias.numel() else None
    for size in _sizes(inputs):
        arguments["begin"] = size.begin
        if size.is_whole and size.span <= _most_at_once(inputs, form, wide):
            resources = _resources(size.span, size.span, form, wide)
            start(blocks.backward, (size.lines * heads,), arguments | {"NODES": size.span}, **resources)
            continue
        rows = min(size.span, _PART if wide else schedule.TILE)
        columns = min(rows, _PART // 2 if wide else _PART)
        for kernel in (tiles.backward_rows, tiles.backward_columns):
            constants = {"ROWS": rows, "COLUMNS": columns}
            grid = size.lines * heads, size.span // rows
            start(kernel, grid, arguments | constants, **_resources(rows, columns, form, wide))


def _sizes(inputs: Inputs) -> Iterator[_Size]:
    """The sizes that there are; of graphs larger than every span, tiles that are not the whole graph."""
    assert inputs.tile_ends is not None
    begin, spans = 0, (schedule.TILE, *schedule.SPANS)
    for number, end in enumerate(inputs.tile_ends.tolist()):
        if end > begin:
            yield _Size(begin, end - begin, spans[number], is_whole=number > 0)
        begin = end


def _arguments(inputs: Inputs) -> dict[str, Any]:
    """What all kernels read, by the names of their arguments."""
    return nodes_and_pairs(inputs) | {"table": inputs.tiles, "pointers": inputs.row_pointers}


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
