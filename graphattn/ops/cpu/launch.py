"""From tensors to a run of the kernels: outputs are made, addresses gathered, pieces of work handed out.

A step of a small graph takes microseconds in the kernels, so this file is frugal with what it does in Python.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from graphattn.ops.cpu.form import STORAGE, Form
from graphattn.ops.cpu.specialise import address
from graphattn.ops.cpu.threads import float_bits, run
from graphattn.ops.inputs import Inputs, compute_type, empty_gradients, empty_outputs
from graphattn.ops.memory import empty

# Nodes of a graph up to which full attention is a small dense product; larger graphs go edge by edge.
MOST_DENSE_NODES = 1024

_dense_kernel = cache(lambda form, function: address(form.dense_kernel(function)))
_kernel = cache(lambda form, function, columns: address(form.kernel(function, columns)))


def _form(inputs: Inputs, query: Tensor, value: Tensor) -> Form:
    return Form(
        heads=query.shape[1],
        key_channels=query.shape[2],
        value_channels=value.shape[2],
        edge_channels=1 if inputs.attr is None else inputs.attr.shape[1],
        storage=STORAGE[query.dtype],
        index_bits=64 if inputs.row_pointers.dtype == torch.int64 else 32,
        score=inputs.score,
        normaliser=inputs.normaliser,
        blocks=inputs.blocks,
        dropout=inputs.seed is not None,
        edge_key=inputs.edge_key is not None or (inputs.weight is not None and inputs.weight.shape[0] > 1),
        edge_value=inputs.edge_value,
        shared=inputs.key is not None and inputs.value is None,
    )


def _options(inputs: Inputs) -> tuple[int, int, int, int]:
    """Seed, threshold of dropout, factor of the weights that are kept, and scale."""
    scale = float_bits(inputs.scale)
    if inputs.seed is None:
        return 0, 0, 0, scale
    return int(inputs.seed), math.ceil(inputs.dropout * 2**32), float_bits(1 / (1 - inputs.dropout)), scale


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _rows(table: Tensor) -> tuple[int, int]:
    """Address and distance of rows in bytes."""
    return table.data_ptr(), table.stride(0) * table.element_size()


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features, through the general kernels or those of small dense blocks."""
    inputs = Inputs(*arguments)
    query, key, value = inputs.tables
    form, pieces, extras = _form(inputs, query, value), inputs.row_pieces, inputs.extras
    outputs = empty_outputs(inputs, query, value)
    if form.dense and _fits(inputs):
        tables = (*_rows(query), *_rows(key), *_rows(value))
        _run_dense(form, "blocks_forward", inputs, tables, (outputs[0].data_ptr(), outputs[1].data_ptr()))
        return outputs
    states = _states(pieces, form.heads * (2 + form.value_channels + form.edge_channels * form.edge_value), query.dtype)
    rows = (inputs.row_pointers, inputs.row_neighbours, inputs.row_edges)
    words = (
        *(0, pieces.shape[0], pieces.data_ptr(), *map(_address, rows)),
        *(*_rows(query), *_rows(key), *_rows(value), *map(_address, extras)),
        *(*_options(inputs), *map(_address, outputs), _address(states)),
    )
    run(_kernel(form, "forward", False), words, pieces.shape[0])
    if states is not None:
        run(_kernel(form, "forward_merge", False), words, 1)
    return outputs


def _fits(inputs: Inputs) -> bool:
    """Whether all graphs are small enough for their keys and scores to stay in a core's cache."""
    graphs = inputs.row_edges
    return graphs.shape[0] > 0 and int(graphs[0, 1]) <= MOST_DENSE_NODES


def _run_dense(form: Form, function: str, inputs: Inputs, tables: tuple[int, ...], others: tuple[int, ...]) -> None:
    """Full attention graph by graph; each thread gets room for a graph's transposed tables and four queries' scores."""
    graphs, backward = inputs.row_edges, function == "blocks_backward"
    size = 8 if form.storage == "float64" else 4
    lanes = 64 // size
    padded = -(-int(graphs[0, 1]) // lanes) * lanes
    width = form.key_channels + 4 + (form.value_channels + 4 if backward else 0)
    room_of_thread = form.heads * width * padded * size
    threads = min(torch.get_num_threads(), graphs.shape[0])
    room = torch.empty(threads * room_of_thread, dtype=torch.uint8)
    bias = None if inputs.bias is None else inputs.bias.contiguous()
    words = (
        *(0, 0, graphs.shape[0], graphs.data_ptr(), inputs.row_pointers.data_ptr(), *tables),
        *(_address(bias), float_bits(inputs.scale), *others, room.data_ptr(), room_of_thread),
    )
    # No more threads than have room, even if their number is raised meanwhile.
    run(_dense_kernel(form, function), words, threads)


def _states(pieces: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
    """Room for the states of parts of a row, where there are any; only theirs is ever touched."""
    if pieces.shape[0] < 2 or not bool(pieces[:, 4].any()):
        return None
    return torch.empty((pieces.shape[0], length), dtype=compute_type(dtype))


def backward(
    gradient: Tensor, feature_gradient: Tensor | None, out: Tensor, kept: Tensor, feature_sums: Tensor, needs: list[bool],
    *arguments: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of query, key, value, weight, bias, attr and edge_key; [0] where there is none, or none is wanted."""
    inputs = Inputs(*arguments)
    query, key, value = inputs.tables
    form, extras = _form(inputs, query, value), inputs.extras
    gradient = gradient.contiguous()
    if inputs.edge_value:
        feature_gradient = torch.zeros_like(feature_sums) if feature_gradient is None else feature_gradient.contiguous()
    gradients = empty_gradients(inputs, needs)
    of_query, of_key, of_value, of_weight, of_bias, of_attr, of_edge_key = gradients
    if inputs.key is None:
        of_query, of_key, of_value = of_query.unbind(1)
    if form.dense and _fits(inputs):
        tables = (*_rows(query), *_rows(key), *_rows(value))
        words = (gradient.data_ptr(), kept.data_ptr(), *_rows(of_query), *_rows(of_key), *_rows(of_value))
        _run_dense(form, "blocks_backward", inputs, tables, (*words, _address(of_bias)))
        return gradients
    compute = compute_type(query.dtype)
    # Softmax writes all statistics of a target, the others the first alone.
    statistics = empty((query.shape[0], 3, form.heads), compute, query.device)
    if form.normaliser != "softmax":
        statistics.zero_()
    weight = extras[0]
    sums = None if weight is None else torch.empty((inputs.row_pieces.shape[0], *weight.shape), dtype=compute)
    length = form.heads * (form.key_channels + form.value_channels + form.edge_channels)
    shared = (
        *map(_address, (*extras, feature_gradient, feature_sums)),
        *(*_options(inputs), out.data_ptr(), kept.data_ptr(), statistics.data_ptr()),
    )
    last = tuple(map(_address, (of_bias, of_attr, of_edge_key)))

    def sweep(columns: bool, pieces: Tensor, grouped: tuple[Tensor, ...], tables: tuple[int, ...]) -> None:
        states = _states(pieces, length, query.dtype)
        own = _rows(of_key) + ((0, 0) if form.shared else _rows(of_value)) if columns else (*_rows(of_query), 0, 0)
        words = (
            *(0, pieces.shape[0], pieces.data_ptr(), *map(_address, grouped)),
            *(*tables, *shared, *own, *last, _address(states), _address(sums)),
        )
        run(_kernel(form, "backward", columns), words, pieces.shape[0])
        if states is not None or (sums is not None and not columns):
            run(_kernel(form, "backward_merge", columns), words, 1)

    of_targets, of_sources = (*_rows(query), *_rows(gradient)), (*_rows(key), *_rows(value))
    rows = (inputs.row_pointers, inputs.row_neighbours, inputs.row_edges)
    sweep(False, inputs.row_pieces, rows, (*of_targets, *of_sources))
    columns = (inputs.column_pointers, inputs.column_neighbours, inputs.column_edges)
    sweep(True, inputs.column_pieces, columns, (*of_sources, *of_targets))
    if sums is not None:
        # A copy: a view of the first would keep the sums of all pieces alive.
        of_weight = sums[0].clone() if sums.shape[0] else of_weight.zero_()
    return (*gradients[:3], of_weight, *gradients[4:])
