"""How kernels want the edges of a mask: grouped by the node at one end, so that each row of work reads and writes its own."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.cpu import sort
from graphattn.ops.settings import requested_backend
from graphattn.ops.triton.schedule import SPANS, schedule, schedule_blocks

# Edges and nodes below this number are kept as int32, half the memory traffic of int64.
INT32_LIMIT = 2**31

_Groups = tuple[Tensor, Tensor, Tensor, Tensor]
_Blocks = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@dataclass(eq=False)
class GroupedEdges:
    """Edges grouped by the node at one end, the "row": a compressed sparse matrix with the caller's edge numbers.

    `pointers`, `neighbours` and `edges` are all int32, or all int64 where a number does not fit. Full attention on graph
    blocks (`group_blocks`) lists no pairs: the neighbours of a row are consecutive, and only the first is kept; instead of
    edge numbers there is a list of the graphs.

    Args:
        pointers: the first slot of each row, and the end of the last, shape [rows + 1].
        neighbours: the node at the other end, slot by slot, shape [edges]; on blocks the first node of each row's graph,
            shape [rows].
        edges: the caller's number of the edge in each slot, rising inside a row, shape [edges]; on blocks the first node and
            the number of nodes of each graph, the largest graph first, shape [graphs, 2]; of the Triton kernels their tiles
            (see `graphattn.ops.triton.schedule.schedule_blocks`), shape [tiles, 3].
        pieces: the work in pieces. Of the CPU kernels pieces of about one size (see `graphattn.ops.cpu.sort`), int64, shape
            [pieces, 5]: first row, end row, first slot, end slot, and 1 for a part of one row or 0 for whole rows. Of the
            Triton kernels rows or parts of one (see `graphattn.ops.triton.schedule`), shape [pieces, 4].
        block_ends: of blocks, how many tiles are of which size (see `schedule_blocks`): always on the CPU, and empty for the
            CPU kernels, which have no tiles.
    """

    pointers: Tensor
    neighbours: Tensor
    edges: Tensor
    pieces: Tensor
    block_ends: Tensor | None = None


def group_edges(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int) -> GroupedEdges:
    """Groups edges by row; edges of the same row stay in the caller's order.

    Args:
        row: the node of each edge to group by, int64, shape [edges].
        neighbour: the node at the other end, int64, shape [edges].
        num_rows: number of nodes that can be a row.
        num_neighbours: number of nodes that can be a neighbour.

    Raises:
        InputError: on an index out of range; in a compiled or exported graph also on 2³¹ edges or nodes.
    """
    # A tracer does not know the sizes, but the type must not depend on them.
    small = torch.compiler.is_compiling() or max(row.shape[0], num_rows, num_neighbours) < INT32_LIMIT
    with not_inference():
        groups = torch.ops.graphattn.group_edges.default(row, neighbour, num_rows, num_neighbours, 32 if small else 64)
    return GroupedEdges(*groups)


def group_blocks(ptr: Tensor, num_nodes: int) -> GroupedEdges:
    """The pairs of full attention inside each graph: the neighbours of each node are all nodes of its graph.

    Args:
        ptr: where each graph begins among the nodes sorted by graph, int64, shape [graphs + 1].
        num_nodes: number of nodes, the last entry of `ptr`.

    Raises:
        InputError: if `ptr` does not rise from 0 to `num_nodes`.
    """
    with not_inference():
        return GroupedEdges(*torch.ops.graphattn.group_blocks.default(ptr, num_nodes))


def made_for_triton(pieces: Tensor) -> bool:
    """Whether pieces of work are those of the Triton kernels."""
    return pieces.shape[1] == 4


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


def _group_edges_cpu(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int) -> _Groups:
    if requested_backend() == "triton":
        return _group_edges_torch(row, neighbour, num_rows, num_neighbours, bits)
    _check_edges(row, neighbour, num_rows, num_neighbours, bits)
    groups = sort.group_edges(row, neighbour, num_rows, num_neighbours, bits)
    if groups is None:
        check_range("one end of the edges", row, num_rows)
        check_range("the other end of the edges", neighbour, num_neighbours)
        raise InputError("the edges were changed by another thread while they were grouped")
    return groups


def _group_edges_torch(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int) -> _Groups:
    _check_edges(row, neighbour, num_rows, num_neighbours, bits)
    check_range("one end of the edges", row, num_rows)
    check_range("the other end of the edges", neighbour, num_neighbours)
    dtype = torch.int32 if bits == 32 else torch.int64
    rows, edges = row.sort(stable=True)
    pointers = torch.searchsorted(rows, torch.arange(num_rows + 1, device=row.device), out_int32=bits == 32)
    return pointers, neighbour[edges].to(dtype), edges.to(dtype), schedule(pointers)


def _check_edges(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int) -> None:
    if row.dtype != torch.int64 or neighbour.dtype != torch.int64 or row.dim() != 1 or row.shape != neighbour.shape:
        given = " and ".join(f"{end.dtype} {list(end.shape)}" for end in (row, neighbour))
        raise InputError(f"the two ends of the edges must be int64 tensors of one shape [edges], got {given}")
    if bits == 32 and max(row.shape[0], num_rows, num_neighbours) >= 2**31:
        raise InputError("a compiled or exported graph takes fewer than 2³¹ edges and nodes; call it without compiling")


def _group_blocks_cpu(ptr: Tensor, num_nodes: int) -> _Blocks:
    if requested_backend() == "triton":
        return _group_blocks_torch(ptr, num_nodes)
    groups = sort.group_blocks(ptr.long(), num_nodes)
    if groups is None:
        raise InputError(f"ptr must rise from 0 to the number of nodes, {num_nodes}, got {ptr}")
    return *groups[:2], _largest_first(ptr.long()), groups[2], ptr.new_empty(0, dtype=torch.int64)


def _largest_first(ptr: Tensor) -> Tensor:
    sizes, order = ptr.diff().sort(descending=True, stable=True)
    return torch.stack([ptr[:-1][order], sizes], dim=1)


def _group_blocks_torch(ptr: Tensor, num_nodes: int) -> _Blocks:
    sizes = ptr.diff()
    start = torch.repeat_interleave(ptr[:-1], sizes, output_size=num_nodes)
    pointers = ptr.new_zeros(num_nodes + 1)
    torch.cumsum(torch.repeat_interleave(sizes, sizes, output_size=num_nodes), 0, out=pointers[1:])
    tiles, block_ends = schedule_blocks(ptr)
    return pointers, start, tiles, schedule(pointers), block_ends


def _group_edges_fake(row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int) -> _Groups:
    dtype = torch.int32 if bits == 32 else torch.int64
    pointers, slots = row.new_empty(num_rows + 1, dtype=dtype), row.new_empty(row.shape, dtype=dtype)
    return pointers, slots, torch.empty_like(slots), _some_pieces(pointers)


def _group_blocks_fake(ptr: Tensor, num_nodes: int) -> _Blocks:
    pointers, start = ptr.new_empty(num_nodes + 1), ptr.new_empty(num_nodes)
    if _for_cpu_kernels(ptr):
        return pointers, start, ptr.new_empty(ptr.shape[0] - 1, 2), _some_pieces(pointers), ptr.new_empty(0)
    tiles = ptr.new_empty(torch.library.get_ctx().new_dynamic_size(), 3)
    return pointers, start, tiles, _some_pieces(pointers), ptr.new_empty(len(SPANS) + 1, device="cpu")


def _some_pieces(pointers: Tensor) -> Tensor:
    """A table of pieces whose number is data to a tracer."""
    number = torch.library.get_ctx().new_dynamic_size()
    if _for_cpu_kernels(pointers):
        return pointers.new_empty(number, 5, dtype=torch.int64)
    return pointers.new_empty(number, 4)


def _for_cpu_kernels(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and requested_backend() != "triton"


_library = torch.library.Library("graphattn", "FRAGMENT")
_library.define(
    "group_edges(Tensor row, Tensor neighbour, SymInt num_rows, SymInt num_neighbours, int bits)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
_library.impl("group_edges", _group_edges_cpu, "CPU")
_library.impl("group_edges", _group_edges_torch, "CUDA")
torch.library.register_fake("graphattn::group_edges", _group_edges_fake, lib=_library)
_library.define("group_blocks(Tensor ptr, SymInt num_nodes) -> (Tensor, Tensor, Tensor, Tensor, Tensor)")
_library.impl("group_blocks", _group_blocks_cpu, "CPU")
_library.impl("group_blocks", _group_blocks_torch, "CUDA")
torch.library.register_fake("graphattn::group_blocks", _group_blocks_fake, lib=_library)

torch.export.register_dataclass(GroupedEdges, serialized_type_name="graphattn.GroupedEdges")
