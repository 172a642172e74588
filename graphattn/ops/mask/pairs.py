"""Pairs of nodes of the same graph: where they stand in the flat order of a `BlockDiagonalMask`, and whether they fit."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask import BlockDiagonalMask
from graphattn.ops.memory import total_memory


def pair_numbers(blocks: BlockDiagonalMask, source: Tensor, target: Tensor) -> Tensor:
    """The place of each pair (source j → target i) among the flat pairs of a mask: Σ_{h < g} n_h² + i n_g + j inside graph g.

    Args:
        blocks: the mask; its graphs may be of unsorted nodes.
        source: node j of each pair, in the caller's numbers, int64, [pairs].
        target: node i of each pair, likewise.

    Returns:
        int64, [pairs]: the rows of these pairs in a pair bias or in the weights of full attention.

    Raises:
        InputError: where a pair joins two graphs, which full attention never does.
    """
    if blocks.order is not None:
        place = torch.empty_like(blocks.order)
        place[blocks.order] = torch.arange(place.shape[0], device=place.device)
        source, target = place[source], place[target]
    ends = blocks.ptr[1:]
    graph = torch.bucketize(target.contiguous(), ends, right=True)
    if not torch.compiler.is_compiling() and not torch.equal(graph, torch.bucketize(source.contiguous(), ends, right=True)):
        raise InputError("source and target must be nodes of the same graph, but some pairs join two graphs of the batch")
    size = blocks.ptr.diff()
    pairs_before = size.square().cumsum(0) - size.square()
    start = blocks.ptr[graph]
    return pairs_before[graph] + (target - start) * size[graph] + source - start


def count_pairs(blocks: BlockDiagonalMask) -> int:
    """The number of pairs of a mask; also where it is traced, which cannot read it from a tensor."""
    return blocks.pairs().num_edges if torch.compiler.is_compiling() else blocks.num_pairs


def refuse_too_many_pairs(what: str, pairs: int, needed: int, device: torch.device | None = None) -> None:
    """Raises where something computed for all pairs would take more than half of the memory there is.

    Args:
        what: what is computed, as the subject of the message.
        pairs: the number of pairs.
        needed: the bytes it takes, the result and what is held on the way.
        device: where; default: the CPU.

    Raises:
        InputError: with the memory it would take.
    """
    memory = total_memory(torch.device("cpu") if device is None else device)
    if needed > memory // 2:
        raise InputError(
            f"{what} of {pairs:,} pairs of nodes would take about {needed:,} bytes, more than half of the {memory:,} here; "
            "use encodings of nodes and masked attention on graphs of this size"
        )
