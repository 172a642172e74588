from __future__ import annotations

from torch import Tensor

from graphattn.ops.segment import segment_max, segment_sum


def softmax1(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """α_ij = exp(s_ij) / (1 + Σ_{l ∈ M(i)} exp(s_il)): a softmax that may attend to nothing, where all scores are low.

    Miller, "Attention is off by one" (2023). The largest score of each row, and at least zero, is subtracted first.
    """
    largest = segment_max(scores.detach(), index, size).clamp(min=0.0)
    exponential = (scores - largest[index]).exp()
    total = segment_sum(exponential, index, size) + (-largest).exp()
    return exponential / total[index]
