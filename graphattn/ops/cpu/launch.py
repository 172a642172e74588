"""From tensors to a run of the kernels: outputs are made, addresses gathered, items of work handed out.

Arguments are passed by name: a kernel's own line that unpacks them gives their order. A step of a small graph takes
microseconds in the kernels, so this file is frugal with what it does in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from operator import itemgetter

import torch
from torch import Tensor

from graphattn.ops.cpu.form import BYTES, STORAGE, Form
from graphattn.ops.cpu.specialise import Kernel, address, argument_names
from graphattn.ops.cpu.threads import float_bits, run
from graphattn.ops.inputs import Inputs, compute_type, empty_gradients, empty_outputs
from graphattn.ops.memory import empty
from graphattn.ops.normaliser import normaliser_of

# The address of a kernel, and what picks its arguments, in its order, from those by name.
Entry = tuple[int, Callable[[dict[str, int]], tuple[int, ...]]]

# The address of a table's first row and the distance of its rows, in bytes; and those of two tables.
Rows = tuple[int, int]
Pair = tuple[Rows, Rows]

# Nodes of a graph up to which full attention is a small dense product; larger graphs go edge by edge.
MOST_DENSE_NODES = 1024


@cache
def _dense_kernel(form: Form, function: str) -> Entry:
    return _entry(form.dense_kernel(function))


@cache
def _kernel(form: Form, function: str, columns: bool) -> Entry:
    return _entry(form.kernel(function, columns))


def _entry(kernel: Kernel) -> Entry:
    return address(kernel), itemgetter(*argument_names(kernel))


def _call(entry: Entry, arguments: dict[str, int], num_items: int) -> None:
    kernel, pick = entry
    arguments["_"] = 0  # the counter of items, and what a kernel does not read
    run(kernel, pick(arguments), num_items)


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


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _rows(tensor: Tensor) -> Rows:
    return tensor.data_ptr(), tensor.stride(0) * tensor.element_size()


def _tables(query: Tensor, key: Tensor, value: Tensor) -> dict[str, int]:
    (queries, query_stride), (keys, key_stride), (values, value_stride) = _rows(query), _rows(key), _rows(value)
    return {
        "queries": queries,
        "query_stride": query_stride,
        "keys": keys,
        "key_stride": key_stride,
        "values": values,
        "value_stride": value_stride,
    }


def _options(inputs: Inputs, extras: tuple[Tensor | None, ...]) -> dict[str, int]:
    """The arguments that all kernels on edges share."""
    weight, bias, attr, edge_key = extras
    dropout = inputs.seed is not None
    return {
        "weight": _address(weight),
        "bias": _address(bias),
        "attr": _address(attr),
        "edge_keys": _address(edge_key),
        "seed": 0 if inputs.seed is None else int(inputs.seed),
        "threshold": math.ceil(inputs.dropout * 2**32) if dropout else 0,
        "factor_bits": float_bits(1 / (1 - inputs.dropout)) if dropout else 0,
        "scale_bits": float_bits(inputs.scale),
    }


def forward(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features, through the general kernels or those of small dense blocks."""
    query, key, value = inputs.tables
    form, items = _form(inputs, query, value), inputs.row_items
    out, statistics, feature_sums = outputs = empty_outputs(inputs, query, value)
    arguments = _tables(query, key, value) | {
        "out": out.data_ptr(),
        "statistics": statistics.data_ptr(),
    }
    if form.dense and _fits(inputs):
        _run_dense(form, "blocks_forward", inputs, arguments)
        return outputs
    extras = inputs.extras  # alive until the kernel has run
    states = _states(items, form.heads * (2 + form.value_channels + form.edge_channels * form.edge_value), query.dtype)
    arguments |= _options(inputs, extras) | {
        "num_items": items.shape[0],
        "items": items.data_ptr(),
        "pointers": inputs.row_pointers.data_ptr(),
        "neighbours": inputs.row_neighbours.data_ptr(),
        "edge_list": _address(inputs.row_edges),
        "feature_sums": feature_sums.data_ptr(),
        "states": _address(states),
    }
    _call(_kernel(form, "forward", False), arguments, items.shape[0])
    if states is not None:
        _call(_kernel(form, "forward_merge", False), arguments, 1)
    return outputs


def _fits(inputs: Inputs) -> bool:
    """Whether all graphs are small enough for their keys and scores to stay in a core's cache."""
    graphs = inputs.graphs
    return graphs is not None and graphs.shape[0] > 0 and int(graphs[0, 1]) <= MOST_DENSE_NODES


def _run_dense(form: Form, function: str, inputs: Inputs, arguments: dict[str, int]) -> None:
    """Full attention graph by graph; each thread gets room for a graph's transposed tables and four queries' scores."""
    graphs, backward = inputs.graphs, function == "blocks_backward"
    assert graphs is not None
    size = BYTES[form.compute]
    lanes = 64 // size
    padded = -(-int(graphs[0, 1]) // lanes) * lanes
    width = form.key_channels + 4 + (form.value_channels + 4 if backward else 0)
    room_of_thread = form.heads * width * padded * size
    threads = min(torch.get_num_threads(), graphs.shape[0])
    room = torch.empty(threads * room_of_thread, dtype=torch.uint8)
    bias = None if inputs.bias is None else inputs.bias.contiguous()
    arguments |= {
        "num_graphs": graphs.shape[0],
        "graphs": graphs.data_ptr(),
        "pointers": inputs.row_pointers.data_ptr(),
        "bias": _address(bias),
        "scale_bits": float_bits(inputs.scale),
        "room": room.data_ptr(),
        "room_of_thread": room_of_thread,
    }
    # No more threads than have room, even if their number is raised meanwhile.
    _call(_dense_kernel(form, function), arguments, threads)


def _states(items: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
    """Room for the states of parts of a row, where there are any; only theirs is ever touched."""
    if items.shape[0] < 2 or not bool(items[:, 4].any()):
        return None
    return torch.empty((items.shape[0], length), dtype=compute_type(dtype))


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
    query, key, value = inputs.tables
    form = _form(inputs, query, value)
    gradient = gradient.contiguous()
    if inputs.edge_value:
        feature_gradient = torch.zeros_like(feature_sums) if feature_gradient is None else feature_gradient.contiguous()
    gradients = empty_gradients(inputs, needs)
    of_query, of_key, of_value = gradients[:3]
    if inputs.key is None:
        of_query, of_key, of_value = of_query.unbind(1)
    if form.dense and _fits(inputs):
        (queries, query_stride), (keys, key_stride), (values, value_stride) = _rows(of_query), _rows(of_key), _rows(of_value)
        arguments = _tables(query, key, value) | {
            "gradient": gradient.data_ptr(),
            "statistics": kept.data_ptr(),
            "of_queries": queries,
            "of_query_stride": query_stride,
            "of_keys": keys,
            "of_key_stride": key_stride,
            "of_values": values,
            "of_value_stride": value_stride,
            "bias_gradient": gradients.bias.data_ptr(),
        }
        _run_dense(form, "blocks_backward", inputs, arguments)
        return gradients
    compute = compute_type(query.dtype)
    # Where Σ α g is needed all statistics of a target are written, else the first alone.
    statistics = empty((query.shape[0], 3, form.heads), compute, query.device)
    if not normaliser_of(form.normaliser).needs_delta:
        statistics.zero_()
    extras = inputs.extras  # alive until the kernels have run
    weight = extras[0]
    sums = None if weight is None else torch.empty((inputs.row_items.shape[0], *weight.shape), dtype=compute)
    length = form.heads * (form.key_channels + form.value_channels + form.edge_channels)
    shared = _options(inputs, extras) | {
        "feature_gradient": _address(feature_gradient),
        "feature_sums": feature_sums.data_ptr(),
        "out": out.data_ptr(),
        "kept": kept.data_ptr(),
        "statistics": statistics.data_ptr(),
        "bias_gradient": gradients.bias.data_ptr(),
        "attr_gradient": gradients.attr.data_ptr(),
        "edge_key_out": gradients.edge_key.data_ptr(),
        "sums": _address(sums),
    }

    def sweep(
        columns: bool, layout: dict[str, int], items: Tensor, own: Pair, other: Pair, own_out: Rows, value_out: Rows
    ) -> None:
        states = _states(items, length, query.dtype)
        (own_keys, own_key_stride), (own_values, own_value_stride) = own
        (other_keys, other_key_stride), (other_values, other_value_stride) = other
        arguments = {
            **shared,
            **layout,
            "num_items": items.shape[0],
            "items": items.data_ptr(),
            "own_keys": own_keys,
            "own_key_stride": own_key_stride,
            "own_values": own_values,
            "own_value_stride": own_value_stride,
            "other_keys": other_keys,
            "other_key_stride": other_key_stride,
            "other_values": other_values,
            "other_value_stride": other_value_stride,
            "own_out": own_out[0],
            "own_out_stride": own_out[1],
            "value_out": value_out[0],
            "value_out_stride": value_out[1],
            "states": _address(states),
        }
        _call(_kernel(form, "backward", columns), arguments, items.shape[0])
        if states is not None or (sums is not None and not columns):
            _call(_kernel(form, "backward_merge", columns), arguments, 1)

    of_targets, of_sources = (_rows(query), _rows(gradient)), (_rows(key), _rows(value))
    rows = {
        "pointers": inputs.row_pointers.data_ptr(),
        "neighbours": inputs.row_neighbours.data_ptr(),
        "edge_list": _address(inputs.row_edges),
    }
    sweep(False, rows, inputs.row_items, of_targets, of_sources, _rows(of_query), (0, 0))
    columns = {
        "pointers": inputs.column_pointers.data_ptr(),
        "neighbours": inputs.column_neighbours.data_ptr(),
        "edge_list": _address(inputs.column_edges),
    }
    of_values = (0, 0) if form.shared else _rows(of_value)
    sweep(True, columns, inputs.column_items, of_sources, of_targets, _rows(of_key), of_values)
    if sums is None:
        return gradients
    # A copy: a view of the first would keep the sums of all items alive.
    return gradients._replace(weight=sums[0].clone() if sums.shape[0] else gradients.weight.zero_())
