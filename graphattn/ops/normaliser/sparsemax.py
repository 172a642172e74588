from __future__ import annotations

import torch
from torch import Tensor

from graphattn.ops.normaliser.ranked import ranked_prefix
from graphattn.ops.segment import segment_max, segment_sum


def sparsemax(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """The Euclidean projection of a row's scores on the simplex, α_ij = max(s_ij - τ_i, 0).

    Martins and Astudillo, "From softmax to sparsemax" (2016): with the scores of a row in falling order, the support is the
    longest prefix with 1 + k·s_(k) > Σ_{l ≤ k} s_(l), and τ = (Σ_support s - 1) / |support|.
    """
    shifted = scores - segment_max(scores.detach(), index, size)[index]
    with torch.no_grad():
        # Scores one or more below the largest carry no weight; clamping them keeps the running sums small.
        ranked = ranked_prefix(shifted.clamp(min=-1.0), index, size)
        inside = (ranked.value > -1) & (1 + ranked.rank * ranked.value > ranked.sum)
        support = ranked.unsort(inside)
        count = segment_sum(support.to(scores.dtype), index, size).clamp(min=1)
    # τ is written with the support held fixed: autograd then gives the exact Jacobian.
    threshold = (segment_sum(torch.where(support, shifted, 0.0), index, size) - 1) / count
    return torch.where(support, shifted - threshold[index], 0.0).relu()
