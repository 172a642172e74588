"""How the CPU kernels want the edges of a mask; see `graphattn.ops.cpu.sort` for the items of work."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.cpu import sort
from graphattn.ops.layout import BlockLayout, Grouping, check_range
from graphattn.ops.settings import requested_backend
from graphattn.ops.torch_private import size_of_data


class CPUGrouping(Grouping):
    """Items are int64, [items, 5]: first row, end row, first slot, end slot, and 1 for a part of one row, 0 for whole rows."""

    name = "cpu"

    def is_for(self, device: torch.device) -> bool:
        return device.type == "cpu" and requested_backend() != "triton"

    def edges(
        self, row: Tensor, neighbour: Tensor, num_rows: int, num_neighbours: int, bits: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        groups = sort.group_edges(row, neighbour, num_rows, num_neighbours, bits)
        if groups is None:
            check_range("one end of the edges", row, num_rows)
            check_range("the other end of the edges", neighbour, num_neighbours)
            raise InputError("the edges were changed by another thread while they were grouped")
        return groups

    def blocks(self, ptr: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        groups = sort.group_blocks(ptr.long(), num_nodes)
        if groups is None:
            raise InputError(f"ptr must rise from 0 to the number of nodes, {num_nodes}, got {ptr}")
        sizes, order = ptr.diff().sort(descending=True, stable=True)
        return *groups, torch.stack([ptr[:-1][order], sizes], dim=1).long(), ptr.new_empty(0, dtype=torch.int64)

    def fake_items(self, pointers: Tensor) -> Tensor:
        return pointers.new_empty(size_of_data(), 5, dtype=torch.int64)

    def fake_of_blocks(self, ptr: Tensor) -> tuple[Tensor, Tensor]:
        return ptr.new_empty(ptr.shape[0] - 1, 2), ptr.new_empty(0)

    def block_layout(self, blocks: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]) -> BlockLayout:
        pointers, first_nodes, items, graphs, _ = blocks
        return BlockLayout(pointers, first_nodes, items, graphs=graphs)
