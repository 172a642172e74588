from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from graphattn.nn.bias.mlp import pair_mlp


class RelativeWalkBias(nn.Module):
    """A bias from the relative random-walk probabilities of each pair, as `graphattn.transforms.AddRelativeWalk` computes them.

    Ma et al., "Graph inductive biases in transformers without message passing" (2023); here one small network for all pairs.

    Args:
        columns: the number of steps K.
        heads: number of heads.

    Shapes:
        [pairs, K] → [pairs, heads].
    """

    reads: ClassVar[tuple[str, ...]] = ("rrwp_pair",)

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.embed = pair_mlp(columns, heads)

    def forward(self, probabilities: Tensor) -> Tensor:
        return self.embed(probabilities)
