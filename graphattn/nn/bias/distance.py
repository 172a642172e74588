from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.bias.mlp import INITIAL_STD
from graphattn.nn.encoding.precision import in_autocast


class DistanceBias(nn.Module):
    """A learned bias for each shortest-path distance and head, as `graphattn.transforms.AddDistance` puts them in buckets.

    The spatial encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021).

    Args:
        columns: the longest distance with a bucket of its own; the table has `columns` + 3 rows: for the node itself,
            1 … `columns`, further, and no path.
        heads: number of heads.

    Shapes:
        [pairs] → [pairs, heads].

    Raises:
        InputError: on a distance beyond the table, as of a transform with a larger `longest`.
    """

    reads: ClassVar[tuple[str, ...]] = ("distance_pair",)

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(columns + 3, heads))
        nn.init.normal_(self.table, std=INITIAL_STD)

    def forward(self, distance: Tensor) -> Tensor:
        rows = self.table.shape[0]
        if not torch.compiler.is_compiling() and distance.numel() and int(distance.max()) >= rows:
            raise InputError(
                f"distance must hold buckets in [0, {rows}), got {int(distance.max())}: "
                f"the transform must be AddDistance(longest={rows - 3})"
            )
        # Lowered after the look-up, so that the table's gradient is summed in its own precision.
        return in_autocast(F.embedding(distance.int(), self.table))
