"""What the operators of attention take and give, whichever kernels serve them."""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

import torch
from torch import Tensor

from graphattn.ops.layout import BlockLayout, EdgeLayout
from graphattn.ops.memory import empty
from graphattn.ops.normaliser import normaliser_of


class Inputs(NamedTuple):
    """The arguments of `graphattn::fused_attention`, for N targets, M sources, H heads, D and V channels and E edges.

    The operators' schemas are made from this list; tensors come first.

    Args:
        query, key, value: [N, H, D], [M, H, D], [M, H, V], rows with any stride; or shared or packed,
            see `graphattn.ops.operator`.
        weight: of an additive score: its vector [1, H, D] and, after it, the map of the edge features [edge channels, H, D].
        bias: [E, H].
        attr: edge features [E, edge channels].
        edge_key: of the dot product: W_kᵀ q, [N, H, edge channels].
        seed: int64 scalar; dropout is on where it is given.
        row_…, column_…: the edges by target and by source, see `graphattn.ops.layout.EdgeLayout`; on blocks there are no
            `edges`, and `neighbours` are the first nodes of `BlockLayout`.
        graphs, tiles, tile_ends: of blocks, see `BlockLayout`.
        backend: the name of the backend whose layout these are, and whose kernels run.
        score: "dot", "leaky_relu" or "tanh".
        normaliser: its name.
        blocks: full attention inside each graph.
        edge_value: whether the weighted sums of edge features are wanted, [N, H, edge channels].
        scale: of the dot product; the slope of the leaky ReLU.
        dropout: probability of dropping a weight.
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
    row_edges: Tensor | None
    row_items: Tensor
    column_pointers: Tensor
    column_neighbours: Tensor
    column_edges: Tensor | None
    column_items: Tensor
    graphs: Tensor | None
    tiles: Tensor | None
    tile_ends: Tensor | None
    backend: str
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


class Gradients(NamedTuple):
    """The gradients of an operator's inputs, as they were given; [0] where there is none, or none is wanted."""

    query: Tensor
    key: Tensor
    value: Tensor
    weight: Tensor
    bias: Tensor
    attr: Tensor
    edge_key: Tensor


_SCHEMA_TYPES = {Tensor: "Tensor", Tensor | None: "Tensor?", str: "str", bool: "bool", float: "float"}
SCHEMA = ", ".join(f"{_SCHEMA_TYPES[kind]} {name}" for name, kind in get_type_hints(Inputs).items())
NUM_TENSORS = sum(kind in (Tensor, Tensor | None) for kind in get_type_hints(Inputs).values())
assert Inputs._fields[: len(Gradients._fields)] == Gradients._fields


def layout_of_edges(by_target: EdgeLayout, by_source: EdgeLayout) -> tuple[Tensor | None, ...]:
    """The inputs from `row_pointers` to `tile_ends` of a mask of edges."""
    rows, columns = by_target, by_source
    return (
        *(rows.pointers, rows.neighbours, rows.edges, rows.items),
        *(columns.pointers, columns.neighbours, columns.edges, columns.items, None, None, None),
    )


def layout_of_blocks(blocks: BlockLayout) -> tuple[Tensor | None, ...]:
    """The inputs from `row_pointers` to `tile_ends` of a mask of blocks, which is its own transpose."""
    rows = (blocks.pointers, blocks.first_nodes, None, blocks.items)
    return *rows, *rows, blocks.graphs, blocks.tiles, blocks.tile_ends


def _dense_rows(table: Tensor) -> Tensor:
    """The same numbers with rows that are dense; the rows themselves may lie apart."""
    return table if table.is_contiguous() or (table.shape[0] and table[0].is_contiguous()) else table.contiguous()


def compute_type(dtype: torch.dtype) -> torch.dtype:
    """The type that is computed with, and that all but the tables are stored in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def empty_outputs(inputs: Inputs, query: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, statistics and sums of edge features; [0] where a form has none."""
    nodes, heads = query.shape[:2]
    keeps_state = normaliser_of(inputs.normaliser).keeps_state
    compute = compute_type(query.dtype)
    features = (nodes, heads, inputs.attr.shape[1]) if inputs.edge_value and inputs.attr is not None else (0,)
    return (
        empty((nodes, heads, value.shape[2]), query.dtype, query.device),
        torch.empty((nodes, 2, heads) if keeps_state else (0,), dtype=compute, device=query.device),
        torch.empty(features, dtype=compute, device=query.device),
    )


def empty_gradients(inputs: Inputs, needs: list[bool]) -> Gradients:
    """Room for the gradients; `needs` says which of the first inputs want one."""
    needed: Any = Gradients._make(needs)
    none = inputs.query.new_empty(0)

    def like(tensor: Tensor | None, wanted: bool = True) -> Tensor:
        if tensor is None or not wanted:
            return none
        return empty(tensor.shape, tensor.dtype, tensor.device)

    return Gradients(
        like(inputs.query),
        like(inputs.key),
        like(inputs.value),
        like(inputs.weight),
        like(inputs.bias, needed.bias),
        # Several heads add to the gradient of an edge's features.
        none
        if inputs.attr is None or not needed.attr
        else torch.zeros_like(inputs.attr, memory_format=torch.contiguous_format),
        like(inputs.edge_key),
    )
