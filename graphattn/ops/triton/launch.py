"""From tensors to a run of the Triton kernels: outputs are made, tiles chosen, programs counted."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from graphattn.ops.inputs import Inputs, compute_type, empty_gradients, empty_outputs
from graphattn.ops.triton.kernels import backward as backward_kernels
from graphattn.ops.triton.kernels import forward as forward_kernels
from graphattn.ops.triton.tiles import Tile, power_of_two, tile_heads, tiles

# Programs that keep a sum of their own of the gradients of an additive score's weights: some for each multiprocessor of any
# GPU, and always the same number, for the same sums.
_MOST_SUMS = 2048
_COMPUTE = {torch.float32: tl.float32, torch.float64: tl.float64}


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features."""
    inputs = Inputs(*arguments)
    query, key, value = inputs.tables
    outputs = empty_outputs(inputs, query, value)
    out, statistics, feature_sums = outputs
    form = _form(inputs, query, value)
    pieces, tile = inputs.row_pieces, _tile(inputs, query, value, inputs.row_pieces, inputs.row_pointers)
    padded = _padded(form, tile)
    weight, bias, attr, edge_key = inputs.extras
    states = _states(inputs.row_pointers, pieces, form, 2 + form["VALUE_CHANNELS"] + form["EDGE_CHANNELS"], query)
    if pieces.shape[0]:
        forward_kernels.forward[_grid(pieces, tile, form)](
            pieces, pieces.shape[0], inputs.row_pointers, inputs.row_neighbours, inputs.row_edges,
            query, query.stride(0), key, key.stride(0), value, value.stride(0),
            weight, bias, attr, edge_key, *_dropout(inputs), out, statistics, feature_sums, states,
            **form, **padded, ROWS=tile.rows, EDGES=tile.edges, num_warps=tile.warps,
        )  # fmt: skip
    if states is not None:
        chosen = _chosen(form, "HEADS", "VALUE_CHANNELS", "EDGE_CHANNELS", "NORMALISER", "COMPUTE", "EDGE_VALUE")
        forward_kernels.merge[_merges(states, tile, form)](
            pieces, inputs.row_pointers, out, statistics, feature_sums, states,
            **chosen, **_chosen(padded, "TILE_HEADS", "VALUE_PADDED", "EDGE_PADDED"), num_warps=1,
        )  # fmt: skip
    return outputs


def backward(
    gradient: Tensor, feature_gradient: Tensor | None, out: Tensor, kept: Tensor, feature_sums: Tensor, needs: list[bool],
    *arguments: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of query, key, value, weight, bias, attr and edge_key; [0] where there is none, or none is wanted."""
    inputs = Inputs(*arguments)
    query, key, value = inputs.tables
    gradient = gradient.contiguous()
    heads, compute = query.shape[1], compute_type(query.dtype)
    if inputs.edge_value and inputs.attr is not None:
        shape = (query.shape[0], heads, inputs.attr.shape[1])
        feature_gradient = (
            gradient.new_zeros(shape, dtype=compute) if feature_gradient is None else feature_gradient.contiguous()
        )
    else:
        feature_gradient = None
    gradients = empty_gradients(inputs, needs)
    of_query, of_key, of_value, of_weight, of_bias, of_attr, of_edge_key = gradients
    if inputs.key is None:
        of_query, of_key, of_value = of_query.unbind(1)
    form = _form(inputs, query, value)
    weight, bias, attr, edge_key = inputs.extras
    dropout = _dropout(inputs)
    statistics = torch.empty((query.shape[0], 3, heads), dtype=compute, device=query.device)

    pieces, tile = inputs.row_pieces, _tile(inputs, query, value, inputs.row_pieces, inputs.row_pointers)
    padded = _padded(form, tile)
    states = _states(inputs.row_pointers, pieces, form, 2 + 2 * form["KEY_CHANNELS"] + 2 * form["EDGE_CHANNELS"], query)
    if pieces.shape[0]:
        backward_kernels.backward_rows[_grid(pieces, tile, form)](
            pieces, pieces.shape[0], inputs.row_pointers, inputs.row_neighbours, inputs.row_edges,
            query, query.stride(0), key, key.stride(0), value, value.stride(0), weight, bias, attr, edge_key, *dropout,
            out, gradient, feature_gradient, kept, statistics, of_query, of_query.stride(0), of_edge_key, states,
            **form, **padded, ROWS=tile.rows, EDGES=tile.edges, num_warps=tile.warps,
        )  # fmt: skip
    if states is not None:
        chosen = _chosen(
            form,
            "HEADS",
            "KEY_CHANNELS",
            "VALUE_CHANNELS",
            "EDGE_CHANNELS",
            "SCORE",
            "NORMALISER",
            "COMPUTE",
            "EDGE_KEY",
            "SCALE",
        )
        backward_kernels.merge_rows[_merges(states, tile, form)](
            pieces, inputs.row_pointers, weight, out, gradient, kept, statistics,
            of_query, of_query.stride(0), of_edge_key, states, **chosen, **padded, num_warps=1,
        )  # fmt: skip

    pieces, tile = inputs.column_pieces, _tile(inputs, query, value, inputs.column_pieces, inputs.column_pointers)
    padded = _padded(form, tile)
    states = _states(inputs.column_pointers, pieces, form, form["KEY_CHANNELS"] + form["VALUE_CHANNELS"], query)
    grid = _grid(pieces, tile, form)
    sums = None
    if weight is not None and needs[3]:
        grid = (min(grid[0], _MOST_SUMS), grid[1])
        sums = torch.zeros((grid[0], *weight.shape), dtype=compute, device=query.device)
    if pieces.shape[0]:
        backward_kernels.backward_columns[grid](
            pieces, pieces.shape[0], inputs.column_pointers, inputs.column_neighbours, inputs.column_edges,
            key, key.stride(0), value, value.stride(0), query, query.stride(0), weight, bias, attr, edge_key, *dropout,
            gradient, feature_gradient, statistics, of_key, of_key.stride(0),
            *((None, 0) if form["SHARED"] else (of_value, of_value.stride(0))),
            of_bias if bias is not None and needs[4] else None, of_attr if attr is not None and needs[5] else None,
            sums, states,
            **form, **padded, ROWS=tile.rows, EDGES=tile.edges, num_warps=tile.warps,
        )  # fmt: skip
    if states is not None:
        chosen = _chosen(form, "HEADS", "KEY_CHANNELS", "VALUE_CHANNELS", "SCORE", "SHARED", "COMPUTE", "SCALE")
        backward_kernels.merge_columns[_merges(states, tile, form)](
            pieces, inputs.column_pointers, weight, of_key, of_key.stride(0),
            *((None, 0) if form["SHARED"] else (of_value, of_value.stride(0))), states,
            **chosen, **_chosen(padded, "TILE_HEADS", "KEY_PADDED", "VALUE_PADDED"), num_warps=1,
        )  # fmt: skip
    if sums is not None:
        of_weight = sums.sum(0)
    return (*gradients[:3], of_weight, *gradients[4:])


def _form(inputs: Inputs, query: Tensor, value: Tensor) -> dict[str, Any]:
    """What the kernels are compiled for."""
    return {
        "HEADS": query.shape[1],
        "KEY_CHANNELS": query.shape[2],
        "VALUE_CHANNELS": value.shape[2],
        "EDGE_CHANNELS": 0 if inputs.attr is None else inputs.attr.shape[1],
        "SCORE": inputs.score,
        "NORMALISER": inputs.normaliser,
        "BLOCKS": inputs.blocks,
        "SHARED": inputs.key is not None and inputs.value is None,
        "COMPUTE": _COMPUTE[compute_type(query.dtype)],
        "EDGE_KEY": inputs.edge_key is not None or (inputs.weight is not None and inputs.weight.shape[0] > 1),
        "EDGE_VALUE": inputs.edge_value,
        # As constants, because an argument would be rounded to float32.
        "SCALE": inputs.scale,
        "FACTOR": 1 / (1 - inputs.dropout),
    }


def _padded(form: dict[str, Any], tile: Tile) -> dict[str, int]:
    return {
        "TILE_HEADS": tile.heads,
        "KEY_PADDED": power_of_two(form["KEY_CHANNELS"]),
        "VALUE_PADDED": power_of_two(form["VALUE_CHANNELS"]),
        "EDGE_PADDED": power_of_two(form["EDGE_CHANNELS"]),
    }


def _tile(inputs: Inputs, query: Tensor, value: Tensor, pieces: Tensor, pointers: Tensor) -> Tile:
    channels = max(query.shape[2], value.shape[2])
    edges = inputs.row_neighbours.shape[0]
    heads = tile_heads(query.shape[1], channels, together=inputs.attr is not None)
    return tiles(heads, channels, edges / max(pieces.shape[0], 1))[0]


def _grid(pieces: Tensor, tile: Tile, form: dict[str, Any]) -> tuple[int, int]:
    return -(-pieces.shape[0] // tile.rows), -(-form["HEADS"] // tile.heads)


def _merges(states: Tensor, tile: Tile, form: dict[str, Any]) -> tuple[int, int]:
    return states.shape[0], -(-form["HEADS"] // tile.heads)


def _states(pointers: Tensor, pieces: Tensor, form: dict[str, Any], length: int, query: Tensor) -> Tensor | None:
    """Room for the states of parts, which come first among the pieces. A cut row has two or more, so they are at most twice
    as many as the pieces in excess of rows."""
    more = pieces.shape[0] - pointers.shape[0] + 1  # pieces than rows
    if not more:
        return None
    parts = min(2 * more, pieces.shape[0])
    return torch.empty((parts, form["HEADS"], length), dtype=compute_type(query.dtype), device=query.device)


def _dropout(inputs: Inputs) -> tuple[Tensor | None, int]:
    """Seed, and the threshold that a random word must reach for its weight to be kept."""
    return inputs.seed, math.ceil(inputs.dropout * 2**32)


def _chosen(constants: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: constants[name] for name in names}
