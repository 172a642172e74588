"""From tensors to a run of the Triton kernels: outputs are made, tiles chosen, programs counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from graphattn.ops.inputs import Gradients, Inputs, compute_type, empty_gradients, empty_outputs
from graphattn.ops.triton import launch_blocks
from graphattn.ops.triton.kernels import forward as forward_kernels
from graphattn.ops.triton.kernels.backward_columns import backward_columns, merge_columns
from graphattn.ops.triton.kernels.backward_rows import backward_rows, merge_rows
from graphattn.ops.triton.start import nodes_and_pairs, start, with_stride
from graphattn.ops.triton.tiles import Tile, power_of_two, tile_heads, tiles
from graphattn.ops.triton.tune import fastest

# Programs that keep a sum of their own of the gradients of an additive score's weights: some for each multiprocessor of any
# GPU, and always the same number, for the same sums.
_MOST_SUMS = 2048
_MOST_OF_SUMS = 2**23  # numbers of all of them together
_NODES_OF_A_BLOCK = 32
_COMPUTE = {torch.float32: tl.float32, torch.float64: tl.float64}


def forward(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features."""
    query, _, value = inputs.tables
    outputs = empty_outputs(inputs, query, value)
    out, statistics, feature_sums = outputs
    if launch_blocks.serves(inputs):
        launch_blocks.forward(inputs, out, statistics)
        return outputs
    form, items = _form(inputs, query, value), inputs.row_items
    states = _states(items, inputs.row_pointers, form, 2 + form["VALUE_CHANNELS"] + form["EDGE_CHANNELS"])
    arguments = _of_rows(inputs) | form
    arguments |= {"out": out, "statistics": statistics, "feature_sums": feature_sums, "states": states}

    def run(tile: Tile) -> None:
        start(forward_kernels.forward, _grid(items, tile, form), arguments | _of_tile(form, tile), num_warps=tile.warps)

    if items.shape[0]:
        tile = _run("forward", inputs, form, items, run)
        if states is not None:
            start(forward_kernels.merge, _merges(states, tile, form), arguments | _of_tile(form, tile), num_warps=1)
    return outputs


def backward(
    inputs: Inputs,
    gradient: Tensor,
    feature_gradient: Tensor | None,
    out: Tensor,
    kept: Tensor,
    feature_sums: Tensor,
    needs: list[bool],
) -> tuple[Tensor, ...]:
    """The gradients of the inputs, see `graphattn.ops.inputs.Gradients`."""
    gradient = gradient.contiguous()
    compute = compute_type(inputs.query.dtype)
    if inputs.edge_value and inputs.attr is not None:
        if feature_gradient is None:  # nobody looked at those sums
            feature_gradient = gradient.new_zeros((*gradient.shape[:2], inputs.attr.shape[1]), dtype=compute)
        feature_gradient = feature_gradient.contiguous()
    else:
        feature_gradient = None
    gradients = empty_gradients(inputs, needs)
    if launch_blocks.serves(inputs):
        launch_blocks.backward(inputs, gradient, out, kept, gradients)
        return gradients
    statistics = gradient.new_empty((gradient.shape[0], 3, gradient.shape[1]), dtype=compute)
    _backward_rows(inputs, out, gradient, feature_gradient, kept, statistics, gradients)
    of_weight = _backward_columns(inputs, gradient, feature_gradient, statistics, gradients, needs)
    return gradients if of_weight is None else gradients._replace(weight=of_weight)


def _backward_rows(
    inputs: Inputs, out: Tensor, gradient: Tensor, feature_gradient: Tensor | None, kept: Tensor, statistics: Tensor,
    gradients: Gradients,
) -> None:  # fmt: skip
    """Gradients of query and edge_key, and the statistics of targets that `_backward_columns` wants."""
    query, _, value = inputs.tables
    of_query, of_edge_key = gradients.query, gradients.edge_key
    if inputs.key is None:
        of_query = of_query.select(1, 0)
    form, items = _form(inputs, query, value), inputs.row_items
    states = _states(items, inputs.row_pointers, form, 2 + 2 * form["KEY_CHANNELS"] + 2 * form["EDGE_CHANNELS"])
    arguments = _of_rows(inputs) | form
    arguments |= {"out": out, "gradient": gradient, "feature_gradient": feature_gradient, "kept": kept, "states": states}
    arguments |= {"statistics": statistics, "of_edge_key": of_edge_key} | with_stride("of_query", of_query)

    def run(tile: Tile) -> None:
        start(backward_rows, _grid(items, tile, form), arguments | _of_tile(form, tile), num_warps=tile.warps)

    if items.shape[0]:
        tile = _run("backward_rows", inputs, form, items, run)
        if states is not None:
            start(merge_rows, _merges(states, tile, form), arguments | _of_tile(form, tile), num_warps=1)


def _backward_columns(
    inputs: Inputs, gradient: Tensor, feature_gradient: Tensor | None, statistics: Tensor, gradients: Gradients,
    needs: list[bool],
) -> Tensor | None:  # fmt: skip
    """Gradients of key, value, bias and attr; returns that of weight, where it is wanted."""
    query, _, value = inputs.tables
    of_key, of_value, of_bias, of_attr = gradients.key, gradients.value, gradients.bias, gradients.attr
    if inputs.key is None:
        _, of_key, of_value = gradients.query.unbind(1)
    form, items = _form(inputs, query, value), inputs.column_items
    weight = inputs.weight
    states = _states(items, inputs.column_pointers, form, form["KEY_CHANNELS"] + form["VALUE_CHANNELS"])
    sums = None
    if weight is not None and needs[3]:
        most = max(min(_MOST_SUMS, _MOST_OF_SUMS // weight.numel()), 1)
        sums = torch.empty((min(items.shape[0], most), *weight.shape), dtype=weight.dtype, device=weight.device)
    arguments = _of_columns(inputs) | form
    arguments |= {"gradient": gradient, "feature_gradient": feature_gradient, "statistics": statistics, "states": states}
    arguments |= with_stride("of_key", of_key) | with_stride("of_value", None if form["SHARED"] else of_value)
    arguments |= {"of_bias": of_bias if of_bias.numel() else None, "of_attr": of_attr if of_attr.numel() else None}
    arguments["of_weight"] = sums

    def run(tile: Tile) -> None:
        programs, groups = _grid(items, tile, form)
        if sums is not None:
            programs = min(programs, sums.shape[0])
            sums.zero_()
        start(backward_columns, (programs, groups), arguments | _of_tile(form, tile), num_warps=tile.warps)

    if items.shape[0]:
        tile = _run("backward_columns", inputs, form, items, run)
        if states is not None:
            start(merge_columns, _merges(states, tile, form), arguments | _of_tile(form, tile), num_warps=1)
    return None if sums is None else sums.sum(0)


def _run(name: str, inputs: Inputs, form: dict[str, Any], items: Tensor, run: Callable[[Tile], None]) -> Tile:
    """Runs a kernel in the tile that serves it best, and returns that."""
    channels = max(form["KEY_CHANNELS"], form["VALUE_CHANNELS"], form["EDGE_CHANNELS"])
    # Heads must not be shared out where all of them add to the gradient of an edge's features.
    heads = tile_heads(form["HEADS"], channels, together=inputs.attr is not None)
    # Full attention does not list its pairs; their number is data, and molecules are about so large.
    edges = items.shape[0] * _NODES_OF_A_BLOCK if inputs.blocks else inputs.row_neighbours.shape[0]
    degree = power_of_two(max(edges // items.shape[0], 1))
    kind = (name, inputs.query.dtype, items.dtype, inputs.bias is None, inputs.seed is None, degree, *form.items())
    crowded = (inputs.attr is not None) + (inputs.query.dtype == torch.float64)
    tile = fastest(kind, tiles(heads, channels, degree, crowded), edges * form["HEADS"] * channels, run)
    run(tile)
    return tile


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


def _of_tile(form: dict[str, Any], tile: Tile) -> dict[str, int]:
    """The constants of a kernel that a tile decides."""
    return {
        "ROWS": tile.rows,
        "EDGES": tile.edges,
        "TILE_HEADS": tile.heads,
        "KEY_PADDED": power_of_two(form["KEY_CHANNELS"]),
        "VALUE_PADDED": power_of_two(form["VALUE_CHANNELS"]),
        "EDGE_PADDED": power_of_two(form["EDGE_CHANNELS"]),
    }


def _grid(items: Tensor, tile: Tile, form: dict[str, Any]) -> tuple[int, int]:
    return -(-items.shape[0] // tile.rows), -(-form["HEADS"] // tile.heads)


def _merges(states: Tensor, tile: Tile, form: dict[str, Any]) -> tuple[int, int]:
    return states.shape[0], -(-form["HEADS"] // tile.heads)


def _states(items: Tensor, pointers: Tensor, form: dict[str, Any], length: int) -> Tensor | None:
    """Room for the states of parts, which come first among the items. A cut row has two or more, so they are at most twice
    as many as the items in excess of rows."""
    more = items.shape[0] - pointers.shape[0] + 1
    if not more:
        return None
    dtype = torch.float64 if form["COMPUTE"] == tl.float64 else torch.float32
    return torch.empty((min(2 * more, items.shape[0]), form["HEADS"], length), dtype=dtype, device=items.device)


def _of_rows(inputs: Inputs) -> dict[str, Any]:
    """What a kernel reads that goes over the edges by target, by the names of its arguments."""
    return _of_edges(inputs, inputs.row_items, inputs.row_pointers, inputs.row_neighbours, inputs.row_edges)


def _of_columns(inputs: Inputs) -> dict[str, Any]:
    """The same for a kernel that goes over the edges by source."""
    return _of_edges(inputs, inputs.column_items, inputs.column_pointers, inputs.column_neighbours, inputs.column_edges)


def _of_edges(inputs: Inputs, items: Tensor, pointers: Tensor, neighbours: Tensor, edges: Tensor | None) -> dict[str, Any]:
    weight, bias, attr, edge_key = inputs.extras
    of_edges = {"items": items, "num_items": items.shape[0], "pointers": pointers, "neighbours": neighbours, "edges": edges}
    return nodes_and_pairs(inputs) | of_edges | {"weight": weight, "bias": bias, "attr": attr, "edge_keys": edge_key}
