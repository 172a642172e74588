"""Linear maps of edge features, cut by the data: the same bits for any number of threads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The gradient of a map is a sum over all rows, which one matrix product would cut by the number of threads.
PIECE = 256


def map_rows(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, c]. Shapes [rows, C], [heads, D, C] → [rows, heads, D]."""
    # A traced graph cannot count pieces; there the compiler decides how it sums.
    if torch.compiler.is_compiling():
        return torch.einsum("nc,hdc->nhd", x, weight)
    pieces = F.pad(x, (0, 0, 0, -x.shape[0] % PIECE)).unflatten(0, (-1, PIECE))
    mapped = torch.bmm(pieces, weight.flatten(0, 1).t().expand(pieces.shape[0], -1, -1))
    return mapped.flatten(0, 1)[: x.shape[0]].unflatten(1, weight.shape[:2])


def map_heads(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, h, c]. Shapes [rows, heads, C], [heads, D, C] → [rows, heads, D]."""
    if torch.compiler.is_compiling():
        return torch.einsum("nhc,hdc->nhd", x, weight)
    pieces = F.pad(x, (0, 0, 0, 0, 0, -x.shape[0] % PIECE)).unflatten(0, (-1, PIECE)).transpose(1, 2)
    mapped = torch.matmul(pieces, weight.transpose(1, 2).expand(pieces.shape[0], -1, -1, -1))
    return mapped.transpose(1, 2).flatten(0, 1)[: x.shape[0]]
