from __future__ import annotations

from torch import Tensor

from graphattn.ops.segment import segment_max, segment_sum


def softmax(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """α_ij = exp(s_ij) / Σ_{l ∈ M(i)} exp(s_il), with the largest score of each row taken off first."""
    largest = segment_max(scores.detach(), index, size)
    exponential = (scores - largest[index]).exp()
    return exponential / segment_sum(exponential, index, size)[index]
