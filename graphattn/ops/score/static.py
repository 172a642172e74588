from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Static:
    """Static additive score, s_ij = LeakyReLU(a_q · q_i + a_k · k_j) (Veličković et al., "Graph attention networks", 2018).

    Static, because the order of the keys is the same for every query.

    Args:
        weight: the vectors a_q and a_k of each head, shape [2, heads, channels].
        negative_slope: slope of the leaky ReLU below zero.
    """

    weight: Tensor
    negative_slope: float = 0.2

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""
        of_query, of_key = self.weight.unbind(0)
        return F.leaky_relu((query * of_query).sum(-1) + (key * of_key).sum(-1), self.negative_slope)
