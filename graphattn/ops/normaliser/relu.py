from __future__ import annotations

from torch import Tensor

from graphattn.ops.segment import segment_sum


def relu(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """α_ij = max(s_ij, 0) / |M(i)| (Wortsman et al., "Replacing softmax with ReLU in vision transformers", 2023)."""
    degree = segment_sum(scores.new_ones(scores.shape[0]), index, size)
    return scores.relu() / degree[index].unsqueeze(-1)
