"""How the Triton kernels want the edges of a mask; see `graphattn.ops.triton.schedule` for the items of work and the tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.ops.layout import BlockLayout, Grouping, check_range
from graphattn.ops.settings import requested_backend
from graphattn.ops.torch_private import size_of_data
from graphattn.ops.triton.schedule import SPANS, schedule, schedule_blocks


class TritonGrouping(Grouping):
    """Items have the type of the pointers, [items, 4]: row, first slot, end slot, and 1 for a part of the row or 0."""

    name = "triton"

    def is_for(self, device: torch.device) -> bool:
        return device.type == "cuda" or (device.type == "cpu" and requested_backend() == "triton")

    def edges(
        self, row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        check_range("one end of the edges", row, num_rows)
        check_range("the other end of the edges", neighbour, num_neighbours)
        dtype = torch.int32 if bits == 32 else torch.int64
        rows, edges = row.sort(stable=True)
        pointers = torch.searchsorted(rows, torch.arange(num_rows + 1, device=row.device), out_int32=bits == 32)
        return pointers, neighbour[edges].to(dtype), edges.to(dtype), schedule(pointers)

    def blocks(self, ptr: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        sizes = ptr.diff()
        first_nodes = torch.repeat_interleave(ptr[:-1], sizes, output_size=num_nodes)
        pointers = ptr.new_zeros(num_nodes + 1)
        torch.cumsum(torch.repeat_interleave(sizes, sizes, output_size=num_nodes), 0, out=pointers[1:])
        return pointers, first_nodes, schedule(pointers), *schedule_blocks(ptr)

    def fake_items(self, pointers: Tensor) -> Tensor:
        return pointers.new_empty(size_of_data(), 4)

    def fake_of_blocks(self, ptr: Tensor) -> tuple[Tensor, Tensor]:
        tiles = ptr.new_empty(size_of_data(), 3)
        return tiles, ptr.new_empty(len(SPANS) + 1, device="cpu")

    def block_layout(self, blocks: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> BlockLayout:
        pointers, first_nodes, items, tiles, tile_ends = blocks
        return BlockLayout(pointers, first_nodes, items, tiles=tiles, tile_ends=tile_ends)
