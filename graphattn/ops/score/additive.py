from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.score.base import Score

# activation → function of (z, negative slope)
ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "leaky_relu": F.leaky_relu,
    "tanh": lambda z, _: z.tanh(),
}


@dataclass(frozen=True, eq=False)
class Additive(Score):
    """Additive score, s_ij = a · act(q_i + k_j): concatenate, transform, activate, weigh.

    With a leaky ReLU this is GATv2 (Brody et al., "How attentive are graph attention networks?", 2022), with tanh the
    score of Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015).

    Args:
        weight: the vector a of each head, shape [heads, channels].
        activation: "leaky_relu" or "tanh".
        negative_slope: slope of the leaky ReLU below zero.
    """

    name = "additive"

    weight: Tensor
    activation: str = "leaky_relu"
    negative_slope: float = 0.2

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""
        return (ACTIVATIONS[self.activation](query + key, self.negative_slope) * self.weight).sum(-1)

    @classmethod
    def weight_shape(cls, heads: int, channels: int) -> tuple[int, ...]:
        return heads, channels

    def to(self, dtype: torch.dtype) -> Additive:
        return Additive(self.weight.to(dtype), self.activation, self.negative_slope)

    def check(self, heads: int, channels: int) -> None:
        super().check(heads, channels)
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")
