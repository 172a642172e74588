"""Rows in falling order with their running sums: what the projections on the simplex (sparsemax, entmax) are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RankedPrefix:
    """Scores sorted by row and, inside a row, from the largest down; all fields have shape [edges, heads], float64.

    Args:
        value: the sorted scores.
        rank: k = 1, 2, … inside the row.
        sum: Σ of the row's k largest.
        square_sum: Σ of their squares.
        order: the edge at each sorted position, int64.
    """

    value: Tensor
    rank: Tensor
    sum: Tensor
    square_sum: Tensor
    order: Tensor

    def unsort(self, sorted_values: Tensor) -> Tensor:
        """Values at sorted positions → values in the order of the edges."""
        return torch.empty_like(sorted_values).scatter(0, self.order, sorted_values)


def ranked_prefix(scores: Tensor, index: Tensor, size: int) -> RankedPrefix:
    """Sorts the scores [edges, heads] of each row; `index` [edges] is the row of each edge, of `size` rows."""
    by_score = torch.argsort(scores, dim=0, descending=True, stable=True)
    by_row = torch.argsort(index[by_score], dim=0, stable=True)
    order = by_score.gather(0, by_row)
    value = scores.double().gather(0, order)
    row = index[order]
    # float64, because the running sums go over all rows at once; a row's own is a difference.
    total, square_total = value.cumsum(0), value.square().cumsum(0)
    count = torch.zeros(size, dtype=torch.long, device=index.device).index_add(0, index, torch.ones_like(index))
    start = (count.cumsum(0) - count)[row]
    before, square_before = (total - value).gather(0, start), (square_total - value.square()).gather(0, start)
    rank = torch.arange(1, scores.shape[0] + 1, device=index.device).unsqueeze(-1) - start
    return RankedPrefix(value, rank.to(value.dtype), total - before, square_total - square_before, order)
