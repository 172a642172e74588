from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from graphattn.nn.bias.mlp import pair_mlp


class ResistanceBias(nn.Module):
    """A bias from the resistance distance of each pair, as `graphattn.transforms.AddResistance` computes it.

    After Zhang et al., "Rethinking the expressive power of GNNs via graph biconnectivity" (2023), who bias attention by it;
    here one small network reads log(1 + r), so that long chains stay in range, and whether a path joins the nodes at all.

    Args:
        columns: 2.
        heads: number of heads.

    Shapes:
        [pairs, 2] → [pairs, heads].
    """

    reads: ClassVar[tuple[str, ...]] = ("resistance_pair",)

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.embed = pair_mlp(columns, heads)

    def forward(self, resistance: Tensor) -> Tensor:
        return self.embed(torch.cat([resistance[:, :1].log1p(), resistance[:, 1:]], dim=1))
