from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.structure.encoding.position import OfPositions
from graphattn.structure.precision import in_autocast


class LearnedEncoding(OfPositions):
    """A learned vector for every position, one row of a table each.

    As the learned positions of Gehring et al., "Convolutional sequence to sequence learning" (2017). Positions are those of
    a path graph that `AddPosition` finds, or whatever numbers of places, kinds or nodes are given.

    Args:
        in_channels: rows of the table: positions are 0 … in_channels − 1.
        out_channels: width of the node vectors.

    Shapes:
        positions [nodes, 1], rounded to whole numbers → [nodes, out_channels].

    Raises:
        InputError: on a position outside the table; under torch.compile and torch.export torch's own error.
    """

    name = "learned"

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        position = encoding.squeeze(1).round().long()
        if not torch.compiler.is_compiling() and position.numel():
            low, high, rows = int(position.min()), int(position.max()), self.table.num_embeddings
            if low < 0 or high >= rows:
                raise InputError(f"position_pe must be in 0 … {rows - 1}, the rows of the table, got {low} … {high}")
        return in_autocast(self.table(position))
