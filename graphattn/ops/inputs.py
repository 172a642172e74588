"""What the operators of attention take and give, whichever kernels serve them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.ops.memory import empty

NUM_TENSORS = 17  # the tensors among the inputs, which come first


class Inputs(NamedTuple):
    """The arguments of `graphattn::fused_attention`, for N targets, M sources, H heads, D and V channels and E edges.

    Args:
        query, key, value: [N, H, D], [M, H, D], [M, H, V], rows with any stride; or shared or packed,
            see `graphattn.ops.operator`.
        weight: of an additive score: its vector [1, H, D] and, after it, the map of the edge features [edge channels, H, D].
        bias: [E, H].
        attr: edge features [E, edge channels].
        edge_key: of the dot product: W_kᵀ q, [N, H, edge channels].
        seed: int64 scalar; dropout is on where it is given.
        row_…, column_…: the edges by target and by source, see `graphattn.ops.layout.GroupedEdges` (and there for blocks).
        block_ends: of blocks, see there.
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
    block_ends: Tensor | None
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


def _dense_rows(table: Tensor) -> Tensor:
    """The same numbers with rows that are dense; the rows themselves may lie apart."""
    return table if table.is_contiguous() or (table.shape[0] and table[0].is_contiguous()) else table.contiguous()


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
