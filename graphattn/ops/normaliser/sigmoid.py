from __future__ import annotations

from torch import Tensor

from graphattn.ops.segment import segment_sum


def sigmoid(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """α_ij = σ(s_ij - log |M(i)|) (Ramapuram et al., "Theory, analysis, and best practices for sigmoid self-attention", 2024).

    |M(i)| counts the edges into i, so that the weights of a row sum to about one where scores are near zero.
    """
    degree = segment_sum(scores.new_ones(scores.shape[0]), index, size)
    return (scores - degree.log()[index].unsqueeze(-1)).sigmoid()
