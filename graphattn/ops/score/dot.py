from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from graphattn.ops.score.base import Score


@dataclass(frozen=True, eq=False)
class Dot(Score):
    """Scaled dot product, s_ij = q_i · k_j / √channels (Vaswani et al., "Attention is all you need", 2017)."""

    name = "dot"

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""
        return (query * key).sum(-1) / math.sqrt(query.shape[-1])
