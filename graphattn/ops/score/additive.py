from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Additive:
    """Additive score, s_ij = a · act(q_i + k_j): concatenate, transform, activate, weigh.

    With a leaky ReLU this is GATv2 (Brody et al., "How attentive are graph attention networks?", 2022), with tanh the
    score of Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015).

    Args:
        weight: the vector a of each head, shape [heads, channels].
        activation: "leaky_relu" or "tanh".
        negative_slope: slope of the leaky ReLU below zero.
    """

    weight: Tensor
    activation: str = "leaky_relu"
    negative_slope: float = 0.2

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""
        total = query + key
        active = total.tanh() if self.activation == "tanh" else F.leaky_relu(total, self.negative_slope)
        return (active * self.weight).sum(-1)
