from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.ops.score.base import Score


@dataclass(frozen=True, eq=False)
class Static(Score):
    """Static additive score, s_ij = LeakyReLU(a_q · q_i + a_k · k_j) (Veličković et al., "Graph attention networks", 2018).

    Static, because the order of the keys is the same for every query.

    Args:
        weight: the vectors a_q and a_k of each head, shape [2, heads, channels].
        negative_slope: slope of the leaky ReLU below zero.
    """

    name = "static"
    # The numbers of the two ends decide on which side of the leaky ReLU's kink a score lies.
    full_precision = True

    weight: Tensor
    negative_slope: float = 0.2

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""
        of_query, of_key = self.weight.unbind(0)
        return F.leaky_relu((query * of_query).sum(-1) + (key * of_key).sum(-1), self.negative_slope)

    @classmethod
    def weight_shape(cls, heads: int, channels: int) -> tuple[int, ...]:
        return 2, heads, channels

    def to(self, dtype: torch.dtype) -> Static:
        return Static(self.weight.to(dtype), self.negative_slope)
