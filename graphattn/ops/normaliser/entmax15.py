from __future__ import annotations

import torch
from torch import Tensor

from graphattn.ops.normaliser.ranked import ranked_prefix
from graphattn.ops.segment import segment_max, segment_sum


def entmax15(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """1.5-entmax, half-way between softmax and sparsemax: α_ij = max(s_ij / 2 - τ_i, 0)², with τ_i so that rows sum to one.

    Peters, Niculae and Martins, "Sparse sequence-to-sequence models" (2019): over the k largest halved scores with mean m
    and summed squared deviation d, τ(k) = m - √((1 - d) / k); the support is the longest prefix with τ(k) ≤ s_(k) / 2.
    """
    shifted = (scores - segment_max(scores.detach(), index, size)[index]) / 2
    with torch.no_grad():
        # Halved scores one or more below the largest carry no weight; clamping them keeps the running sums small.
        ranked = ranked_prefix(shifted.clamp(min=-1.0), index, size)
        mean, mean_square = ranked.sum / ranked.rank, ranked.square_sum / ranked.rank
        rest = (1 - ranked.rank * (mean_square - mean.square())) / ranked.rank
        inside = (ranked.value > -1) & (mean - rest.clamp(min=0).sqrt() <= ranked.value)
        support = ranked.unsort(inside)
        count = segment_sum(support.to(scores.dtype), index, size).clamp(min=1)
    # τ is written with the support held fixed: autograd then gives the exact Jacobian.
    mean = segment_sum(torch.where(support, shifted, 0.0), index, size) / count
    deviation = torch.where(support, shifted - mean[index], 0.0)
    threshold = mean - ((1 - segment_sum(deviation.square(), index, size)) / count).sqrt()
    return torch.where(support, shifted - threshold[index], 0.0).relu().square()
