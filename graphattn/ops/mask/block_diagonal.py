"""Full attention as a mask: who is in one graph with whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.layout import BlockLayout, check_range, group_blocks, grouping_for, not_inference
from graphattn.ops.mask.adjacency import AdjacencyMask
from graphattn.ops.recall import keep, recall, remembered
from graphattn.ops.torch_private import size_of_data

# Numbers of graphs may have gaps; but one wrong number, an id say, would take all memory.
MOST_EMPTY_GRAPHS = 2**24


@dataclass(eq=False)
class BlockDiagonalMask:
    """Full attention inside each graph of a batch: every node attends to every node of its own graph, itself included.

    Values on pairs (a bias, attention weights) are flat, shape [Σ_g n_g², heads]: block after block in the order of graph
    numbers; in a block, row by row, a row for each target i with a column for each source j; nodes of a graph keep their
    relative order.

    Args:
        ptr: where each graph begins among the nodes sorted by graph, int64, shape [graphs + 1].
        order: the caller's node at each sorted position, int64, shape [nodes]; None where they are sorted already.
        num_nodes: number of nodes.
    """

    ptr: Tensor
    order: Tensor | None
    num_nodes: int

    @classmethod
    def from_batch(cls, batch: Tensor, num_graphs: int | None = None) -> BlockDiagonalMask:
        """Makes the mask of a PyG `batch` vector, sorted or not; kept with the tensor, as that of an edge list is.

        Args:
            batch: the graph number of each node, integers, shape [nodes].
            num_graphs: number of graphs; default: one more than the largest number.

        Raises:
            InputError: on a wrong shape or type, a number outside [0, num_graphs), or over 2²⁴ more graphs than nodes.
        """
        return recall(cls, batch, num_graphs, cls._from_batch)

    @classmethod
    def _from_batch(cls, batch: Tensor, num_graphs: int | None) -> BlockDiagonalMask:
        if not isinstance(batch, Tensor) or batch.dim() != 1 or batch.is_floating_point() or batch.dtype == torch.bool:
            given = f"{batch.dtype} {list(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
            raise InputError(f"batch must be an integer tensor of shape [nodes], got {given}")
        batch = batch.long()
        num_nodes = batch.shape[0]
        if torch.compiler.is_compiling():
            # The number of graphs is data; the number of nodes bounds it, and empty graphs at the end cost nothing.
            num_graphs = num_nodes if num_graphs is None else num_graphs
            order: Tensor | None = torch.argsort(batch, stable=True)
        else:
            if num_graphs is None:
                num_graphs = int(batch.max()) + 1 if num_nodes else 0
            check_range("batch", batch, num_graphs)
            if num_graphs > num_nodes + MOST_EMPTY_GRAPHS:
                raise InputError(
                    f"batch must number at most {MOST_EMPTY_GRAPHS:,} graphs more than its {num_nodes:,} nodes, "
                    f"as each graph takes memory, empty or not; got {num_graphs:,} graphs"
                )
            in_order = bool((batch[1:] >= batch[:-1]).all())
            order = None if in_order else torch.argsort(batch, stable=True)
        ptr = batch.new_zeros(num_graphs + 1)
        ptr[1:] = batch.new_zeros(num_graphs).index_add_(0, batch, torch.ones_like(batch)).cumsum(0)
        return cls(ptr, order, num_nodes)

    @classmethod
    def from_ptr(cls, ptr: Tensor) -> BlockDiagonalMask:
        """Makes the mask of sorted graphs from their boundaries, as in `torch_geometric.data.Batch.ptr`."""
        if ptr.dim() != 1 or ptr.is_floating_point() or ptr.numel() == 0 or int(ptr[0]) or bool((ptr.diff() < 0).any()):
            raise InputError(f"ptr must be integers that start at 0 and never fall, shape [graphs + 1], got {ptr}")
        return cls(ptr.long(), None, int(ptr[-1]))

    @classmethod
    def single(cls, num_nodes: int, device: torch.device | str | None = None) -> BlockDiagonalMask:
        """The mask of one graph."""
        ptr = torch.arange(2, device=device) * num_nodes
        return cls(ptr, None, num_nodes)

    @property
    def device(self) -> torch.device:
        return self.ptr.device

    @property
    def num_sources(self) -> int:
        return self.num_nodes

    @property
    def num_targets(self) -> int:
        return self.num_nodes

    @property
    def num_graphs(self) -> int:
        return self.ptr.shape[0] - 1

    @remembered
    def batch(self) -> Tensor:
        """The graph number of each node, in the caller's order, int64, [nodes]."""
        with not_inference():
            graphs = torch.arange(self.num_graphs, device=self.ptr.device)
            batch = torch.repeat_interleave(graphs, self.ptr.diff(), output_size=self.num_nodes)
            return batch if self.order is None else torch.empty_like(batch).index_copy(0, self.order, batch)

    @remembered
    def num_pairs(self) -> int:
        """The number of pairs of nodes of the same graph, Σ_g n_g²."""
        return int(self.ptr.diff().square().sum())

    def layout(self, grouping: str) -> BlockLayout:
        """The pairs grouped by target, for a family of kernels; rows are positions among the sorted nodes."""
        return keep(self, f"_layout_{grouping}", lambda: group_blocks(self.ptr, self.num_nodes, grouping))

    def prepare(self) -> BlockDiagonalMask:
        """Computes what kernels need of the mask, which otherwise its first use does; returns the mask itself.

        Later calls then only read what is there: no sort and no wait for the GPU, so that a CUDA graph can be captured.
        """
        grouping = grouping_for(self.device)
        if grouping is not None:
            self.layout(grouping)
        _ = self.num_pairs
        return self

    def pairs(self) -> AdjacencyMask:
        """The same mask as a list of all its pairs, in the flat order."""
        source, target = _block_pairs(self.ptr).unbind(0)
        if self.order is not None:
            source, target = self.order[source], self.order[target]
        return AdjacencyMask(source, target, self.num_nodes, self.num_nodes)

    def to(self, device: torch.device | str) -> BlockDiagonalMask:
        """The same mask on another device."""
        order = None if self.order is None else self.order.to(device)
        return BlockDiagonalMask(self.ptr.to(device), order, self.num_nodes)


@torch.library.custom_op("graphattn::block_pairs", mutates_args=())
def _block_pairs(ptr: Tensor) -> Tensor:
    """Source and target of every pair inside a block, [2, pairs]: an operator, because their number is data to a tracer."""
    sizes = ptr.diff()
    start, size = (torch.repeat_interleave(values, sizes) for values in (ptr[:-1], sizes))
    target = torch.repeat_interleave(torch.arange(start.shape[0], device=ptr.device), size)
    row_start = size.cumsum(0) - size
    source = torch.arange(target.shape[0], device=ptr.device) - row_start[target] + start[target]
    return torch.stack([source, target])


@_block_pairs.register_fake
def _(ptr: Tensor) -> Tensor:
    return ptr.new_empty((2, size_of_data()))


torch.export.register_dataclass(BlockDiagonalMask, serialized_type_name="graphattn.BlockDiagonalMask")
