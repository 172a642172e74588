"""From tensors to a run of the kernels: outputs are made, addresses gathered, pieces of work handed out.

A step of a small graph takes microseconds in the kernels, so this file is frugal with what it does in Python.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphattn.ops.cpu.form import STORAGE, Form
from graphattn.ops.cpu.memory import empty
from graphattn.ops.cpu.specialise import address
from graphattn.ops.cpu.threads import float_bits, run

# Nodes of a graph up to which full attention is a small dense product; larger graphs go edge by edge.
MOST_DENSE_NODES = 1024
NUM_TENSORS = 16  # the tensors among the inputs, which come first


class Inputs(NamedTuple):
    """The arguments of `graphattn::fused_attention`, for N targets, M sources, H heads, D and V channels and E edges.

    Args:
        query, key, value: [N, H, D], [M, H, D], [M, H, V], rows with any stride; or shared or packed,
            see `graphattn.ops.cpu.operator`.
        weight: of an additive score: its vector [1, H, D] and, after it, the map of the edge features [edge channels, H, D].
        bias: [E, H].
        attr: edge features [E, edge channels].
        edge_key: of the dot product: W_kᵀ q, [N, H, edge channels].
        seed: int64 scalar; dropout is on where it is given.
        row_…, column_…: the edges by target and by source, see `graphattn.ops.layout.GroupedEdges` (and there for blocks).
        score: "dot", "leaky_relu" or "tanh".
        edge_value: whether the weighted sums of edge features are wanted, [N, H, edge channels].
        scale: of the dot product; the slope of the leaky ReLU.
    """

    query: Tensor
    key: Tensor | None
    value: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    attr: Tensor | None
    edge_key: Tensor | None
    seed: Tensor | None
    row_pointers: Tensor
    row_neighbours: Tensor
    row_edges: Tensor
    row_pieces: Tensor
    column_pointers: Tensor
    column_neighbours: Tensor
    column_edges: Tensor
    column_pieces: Tensor
    score: str
    normaliser: str
    blocks: bool
    edge_value: bool
    scale: float
    dropout: float

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each with rows that are dense."""
        if self.key is None:
            query, key, value = _dense_rows(self.query).unbind(1)
            return query, key, value
        key = _dense_rows(self.key)
        return _dense_rows(self.query), key, key if self.value is None else _dense_rows(self.value)

    @property
    def extras(self) -> tuple[Tensor | None, ...]:
        """Weight, bias, edge features and vectors on them, dense."""
        given = (self.weight, self.bias, self.attr, self.edge_key)
        return tuple(None if tensor is None else tensor.contiguous() for tensor in given)

    def form(self, query: Tensor, value: Tensor) -> Form:
        return Form(
            heads=query.shape[1],
            key_channels=query.shape[2],
            value_channels=value.shape[2],
            edge_channels=1 if self.attr is None else self.attr.shape[1],
            storage=STORAGE[query.dtype],
            index_bits=64 if self.row_pointers.dtype == torch.int64 else 32,
            score=self.score,
            normaliser=self.normaliser,
            blocks=self.blocks,
            dropout=self.seed is not None,
            edge_key=self.edge_key is not None or (self.weight is not None and self.weight.shape[0] > 1),
            edge_value=self.edge_value,
            shared=self.key is not None and self.value is None,
        )

    def options(self) -> tuple[int, int, int, int]:
        """Seed, threshold of dropout, factor of the weights that are kept, and scale."""
        scale = float_bits(self.scale)
        if self.seed is None:
            return 0, 0, 0, scale
        return int(self.seed), math.ceil(self.dropout * 2**32), float_bits(1 / (1 - self.dropout)), scale


_dense_kernel = cache(lambda form, function: address(form.dense_kernel(function)))
_kernel = cache(lambda form, function, columns: address(form.kernel(function, columns)))


def _dense_rows(table: Tensor) -> Tensor:
    """The same numbers with rows that are dense; the rows themselves may lie apart."""
    return table if table.is_contiguous() or (table.shape[0] and table[0].is_contiguous()) else table.contiguous()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _rows(table: Tensor) -> tuple[int, int]:
    """Address and distance of rows in bytes."""
    return table.data_ptr(), table.stride(0) * table.element_size()


def compute_type(dtype: torch.dtype) -> torch.dtype:
    """The type that is computed with, and that all but the tables are stored in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_outputs(inputs: Inputs, query: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features; [0] where a form has none."""
    nodes, heads = query.shape[:2]
    compute = compute_type(query.dtype)
    features = (nodes, heads, inputs.attr.shape[1]) if inputs.edge_value and inputs.attr is not None else (0,)
    return (
        empty((nodes, heads, value.shape[2]), query.dtype, query.device),
        torch.empty((nodes, 2, heads) if inputs.normaliser == "softmax" else (0,), dtype=compute, device=query.device),
        torch.empty(features, dtype=compute, device=query.device),
    )


def empty_gradients(inputs: Inputs, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the first seven inputs as they were given; [0] where there is none, or none is wanted."""
    none = inputs.query.new_empty(0)

    def like(tensor: Tensor | None, wanted: bool = True) -> Tensor:
        if tensor is None or not wanted:
            return none
        return empty(tensor.shape, tensor.dtype, tensor.device)

    of_attr = (
        none if inputs.attr is None or not needs[5] else torch.zeros_like(inputs.attr, memory_format=torch.contiguous_format)
    )
    return (
        *(like(inputs.query), like(inputs.key), like(inputs.value), like(inputs.weight)),
        *(like(inputs.bias, needs[4]), of_attr, like(inputs.edge_key)),
    )


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features, through the general kernels or those of small dense blocks."""
    inputs = Inputs(*arguments)
    query, key, value = inputs.tables
    form, pieces, extras = inputs.form(query, value), inputs.row_pieces, inputs.extras
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
        *(*inputs.options(), *map(_address, outputs), _address(states)),
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
    form, extras = inputs.form(query, value), inputs.extras
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
        *(*inputs.options(), out.data_ptr(), kept.data_ptr(), statistics.data_ptr()),
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
