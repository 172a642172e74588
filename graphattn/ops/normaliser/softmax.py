from __future__ import annotations

from torch import Tensor

from graphattn.ops.segment import segment_max, segment_sum


def softmax(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """α_ij = exp(s_ij) / Σ_{l ∈ M(i)} exp(s_il), with the largest score of each row taken off first."""
    largest = segment_max(scores.detach(), index, size)
    exponential = (scores - largest[index]).exp()
    total = segment_sum(exponential, index, size)
    # At least one, or zero where every score of a row is -inf: then its weights are zero.
    return exponential / total.masked_fill(total == 0, 1.0)[index]
