"""The edges of a mask as kernels read them: grouped by the node at one end, so that each row of work writes its own results.

How they are grouped, and how the work is divided, is the business of each family of kernels: a `Grouping`, which registers
itself here. Masks know groupings by name only.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from graphattn.errors import InputError

# Edges and nodes below this number are kept as int32, half the memory traffic of int64.
INT32_LIMIT = 2**31


@dataclass(eq=False)
class EdgeLayout:
    """Edges grouped by the node at one end, the "row": a compressed sparse matrix with the caller's edge numbers.

    All are int32, or all int64 where a number does not fit; `items` may always be int64.

    Args:
        pointers: the first slot of each row, and the end of the last, [rows + 1].
        neighbours: the node at the other end, slot by slot, [edges].
        edges: the caller's number of the edge in each slot, rising inside a row, [edges].
        items: the work in items of about one size, [items, columns]; the columns are the grouping's own.
    """

    pointers: Tensor
    neighbours: Tensor
    edges: Tensor
    items: Tensor


@dataclass(eq=False)
class BlockLayout:
    """The pairs of full attention inside each graph, which are not listed: the neighbours of a row are consecutive.

    Args:
        pointers: the first slot of each row, and the end of the last, int64, [nodes + 1].
        first_nodes: the first node of each row's graph, int64, [nodes].
        items: as in `EdgeLayout`.
        graphs: of the CPU's grouping: first node and number of nodes of each graph, the largest first, int64, [graphs, 2].
        tiles: of Triton's: see `graphattn.ops.triton.schedule.schedule_blocks`, int64, [tiles, 3].
        tile_ends: likewise, always on the CPU, int64.
    """

    pointers: Tensor
    first_nodes: Tensor
    items: Tensor
    graphs: Tensor | None = None
    tiles: Tensor | None = None
    tile_ends: Tensor | None = None


_Edges = tuple[Tensor, Tensor, Tensor, Tensor]
_Blocks = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Grouping(ABC):
    """How one family of kernels wants the edges of a mask."""

    name: str

    @abstractmethod
    def is_for(self, device: torch.device) -> bool:
        """Whether the kernels of tensors on a device are this family's."""

    @abstractmethod
    def edges(self, row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int) -> _Edges:
        """The fields of `EdgeLayout`. Raises InputError on an index out of range."""

    @abstractmethod
    def blocks(self, ptr: Tensor, num_nodes: int) -> _Blocks:
        """Pointers, first nodes, items and two tensors of the grouping's own. Raises InputError where ptr does not rise."""

    @abstractmethod
    def fake_items(self, pointers: Tensor) -> Tensor:
        """Items of an unknown number, for a tracer."""

    @abstractmethod
    def fake_of_blocks(self, ptr: Tensor) -> tuple[Tensor, Tensor]:
        """The two tensors of the grouping's own, for a tracer."""

    @abstractmethod
    def block_layout(self, blocks: _Blocks) -> BlockLayout:
        """What `blocks` gave, by name."""


_groupings: dict[str, Grouping] = {}


def register_grouping(grouping: Grouping) -> None:
    """Makes a grouping known to masks."""
    _groupings[grouping.name] = grouping


def grouping_for(device: torch.device) -> str | None:
    """The name of the grouping that serves tensors on a device, if one does."""
    return next((name for name, grouping in _groupings.items() if grouping.is_for(device)), None)


def group_edges(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, grouping: str) -> EdgeLayout:
    """Groups edges by row; edges of the same row stay in the caller's order.

    Args:
        row: the node of each edge to group by, int64, shape [edges].
        neighbour: the node at the other end, int64, shape [edges].
        num_rows: number of nodes that can be a row.
        num_neighbours: number of nodes that can be a neighbour.
        grouping: the name of the family of kernels.

    Raises:
        InputError: on an index out of range; in a compiled or exported graph also on 2³¹ edges or nodes.
    """
    # A tracer does not know the sizes, but the type must not depend on them.
    small = torch.compiler.is_compiling() or max(row.shape[0], num_rows, num_neighbours) < INT32_LIMIT
    bits = 32 if small else 64
    with not_inference():
        groups = torch.ops.graphattn.group_edges.default(row, neighbour, num_rows, num_neighbours, bits, grouping)
    return EdgeLayout(*groups)


def group_blocks(ptr: Tensor, num_nodes: int, grouping: str) -> BlockLayout:
    """The pairs of full attention inside each graph: the neighbours of each node are all nodes of its graph.

    Args:
        ptr: where each graph begins among the nodes sorted by graph, int64, shape [graphs + 1].
        num_nodes: number of nodes, the last entry of `ptr`.
        grouping: the name of the family of kernels.

    Raises:
        InputError: if `ptr` does not rise from 0 to `num_nodes`.
    """
    with not_inference():
        return _groupings[grouping].block_layout(torch.ops.graphattn.group_blocks.default(ptr, num_nodes, grouping))


def not_inference() -> contextlib.AbstractContextManager[object]:
    """Leaves inference mode, whose tensors could not serve a later training step. Tracers make no lasting tensors."""
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return contextlib.nullcontext()
    return torch.inference_mode(False)


def check_range(name: str, index: Tensor, size: int) -> None:
    """Raises InputError when an index is outside [0, size); not while tracing, where values are unknown."""
    if torch.compiler.is_compiling() or index.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(index))
    if low < 0 or high >= size:
        raise InputError(f"{name} must lie in [0, {size}), got values from {low} to {high}")


def _group_edges(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int, grouping: str) -> _Edges:
    if row.dtype != torch.int64 or neighbour.dtype != torch.int64 or row.dim() != 1 or row.shape != neighbour.shape:
        given = " and ".join(f"{end.dtype} {list(end.shape)}" for end in (row, neighbour))
        raise InputError(f"the two ends of the edges must be int64 tensors of one shape [edges], got {given}")
    if bits == 32 and max(row.shape[0], num_rows, num_neighbours) >= 2**31:
        raise InputError("a compiled or exported graph takes fewer than 2³¹ edges and nodes; call it without compiling")
    return _groupings[grouping].edges(row, neighbour, num_rows, num_neighbours, bits)


def _group_blocks(ptr: Tensor, num_nodes: int, grouping: str) -> _Blocks:
    return _groupings[grouping].blocks(ptr, num_nodes)


def _group_edges_fake(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int, grouping: str) -> _Edges:
    dtype = torch.int32 if bits == 32 else torch.int64
    pointers, slots = row.new_empty(num_rows + 1, dtype=dtype), row.new_empty(row.shape, dtype=dtype)
    return pointers, slots, torch.empty_like(slots), _groupings[grouping].fake_items(pointers)


def _group_blocks_fake(ptr: Tensor, num_nodes: int, grouping: str) -> _Blocks:
    pointers, first_nodes = ptr.new_empty(num_nodes + 1), ptr.new_empty(num_nodes)
    own = _groupings[grouping]
    return pointers, first_nodes, own.fake_items(pointers), *own.fake_of_blocks(ptr)


_library = torch.library.Library("graphattn", "FRAGMENT")
_library.define(
    "group_edges(Tensor row, Tensor neighbour, SymInt num_rows, SymInt num_neighbours, int bits, str grouping)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define("group_blocks(Tensor ptr, SymInt num_nodes, str grouping) -> (Tensor, Tensor, Tensor, Tensor, Tensor)")
for _device in ("CPU", "CUDA"):
    _library.impl("group_edges", _group_edges, _device)
    _library.impl("group_blocks", _group_blocks, _device)
torch.library.register_fake("graphattn::group_edges", _group_edges_fake, lib=_library)
torch.library.register_fake("graphattn::group_blocks", _group_blocks_fake, lib=_library)

torch.export.register_dataclass(EdgeLayout, serialized_type_name="graphattn.EdgeLayout")
torch.export.register_dataclass(BlockLayout, serialized_type_name="graphattn.BlockLayout")
