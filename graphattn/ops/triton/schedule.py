"""The items of work of a GPU: rows of similar length next to each other, and rows with very many edges cut into parts.

Of full attention by matrix products: graphs of similar size next to each other, and large ones cut into tiles.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Edges of a part. A row with more is cut, so that no program works on one long after all others are done.
PART = 512
# Rows whose lengths agree in whole numbers of these stay in the order of the nodes, which are often near each other in memory.
_STEP = 8
# Nodes of the graphs that run with one size of tile, up to so many.
SPANS = (128, 64, 32, 16)
# Nodes of a tile of a graph that is larger than all of these.
TILE = 64


def schedule(pointers: Tensor) -> Tensor:
    """Items of work, the longest first, [items, 4] of the type of `pointers`: row, first slot, end slot, 1 for a part or 0.

    The parts of cut rows come first, those of one row one after the other. They depend on the graph alone, and so does
    the order in which anything is summed.

    Args:
        pointers: the first slot of each row, and the end of the last, [rows + 1].
    """
    degree = pointers.diff()
    parts = (degree + PART - 1) // PART
    cut = (parts > 1).nonzero().squeeze(1)
    parts = parts[cut]
    row = cut.repeat_interleave(parts)
    place = torch.arange(row.shape[0], device=row.device) - (parts.cumsum(0) - parts).repeat_interleave(parts)
    first = pointers[row] + place * PART
    end = torch.minimum(first + PART, pointers[row + 1])
    whole = (-((degree + _STEP - 1) // _STEP)).masked_fill(degree > PART, 1).argsort(stable=True)
    whole = whole[: degree.shape[0] - cut.shape[0]]
    columns = [
        torch.cat([row, whole]),
        torch.cat([first, pointers[whole]]),
        torch.cat([end, pointers[whole + 1]]),
        torch.cat([torch.ones_like(row), torch.zeros_like(whole)]),
    ]
    return torch.stack([column.to(pointers.dtype) for column in columns], dim=1)


def schedule_blocks(ptr: Tensor) -> tuple[Tensor, Tensor]:
    """The tiles of full attention inside graphs, those of the largest graph first, and where among them each size begins.

    Args:
        ptr: where each graph begins among the nodes sorted by graph, int64, [graphs + 1].

    Returns:
        int64 [tiles, 3]: the first node and the number of nodes of a graph, and the tile's first node among these; and on the
        CPU, because they count the programs of a launch, the numbers of tiles in graphs of more nodes than each of `SPANS`,
        and of any nodes, int64 [5].
    """
    sizes, graph = ptr.diff().sort(descending=True, stable=True)
    tiles = torch.where(sizes > SPANS[0], (sizes + TILE - 1) // TILE, 1)
    line = torch.arange(sizes.shape[0], device=ptr.device).repeat_interleave(tiles)
    place = torch.arange(line.shape[0], device=ptr.device) - (tiles.cumsum(0) - tiles)[line]
    nodes = sizes[line]
    spans = torch.tensor((*SPANS, 0), device=ptr.device)
    return torch.stack([ptr[graph[line]], nodes, place * TILE], dim=1), (nodes.unsqueeze(1) > spans).sum(0).cpu()
