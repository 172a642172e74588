"""Normalisers on rows of unequal length against dense functions, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable

import entmax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphattn.ops import NORMALISERS, AdjacencyMask, attention

DENSE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda row: row.softmax(0),
    "softmax1": lambda row: torch.cat([row, row.new_zeros(1)]).softmax(0)[:-1],
    "sigmoid": lambda row: (row - math.log(len(row))).sigmoid(),
    "relu": lambda row: row.relu() / len(row),
    "sparsemax": lambda row: entmax.sparsemax(row, dim=0),
    "entmax15": lambda row: entmax.entmax15(row, dim=0),
}


@pytest.mark.parametrize("name", NORMALISERS)
@settings(deadline=None, derandomize=True, max_examples=40, database=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    scale=st.sampled_from([0.0, 0.3, 3.0, 100.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_rows_equal_dense(name: str, lengths: list[int], scale: float, seed: int) -> None:
    """Weights, and the Jacobian applied to a random vector, with the edges of all rows shuffled among each other."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    index = index[torch.randperm(len(index), generator=generator)]
    scores = torch.randn(len(index), 2, generator=generator, dtype=torch.float64) * scale
    direction = torch.randn(scores.shape, generator=generator, dtype=torch.float64)
    scores.requires_grad_()
    weights = NORMALISERS[name](scores, index, len(lengths))
    expected = torch.zeros_like(weights)
    for row in range(len(lengths)):
        edges = (index == row).nonzero().flatten()
        if len(edges):
            dense = torch.stack([DENSE[name](scores[edges, head]) for head in range(2)], dim=1)
            expected = expected.index_put((edges,), dense)
    assert torch.allclose(weights, expected, rtol=1e-9, atol=1e-12)
    if len(index) and scale:
        (gradient,) = torch.autograd.grad(weights, scores, direction)
        (wanted,) = torch.autograd.grad(expected, scores, direction)
        assert torch.allclose(gradient, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "sparsemax", "entmax15"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_sum_to_one_among_many(name: str, dtype: torch.dtype) -> None:
    """Running sums over 200,000 edges must not wash out the rows at the end."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(5000, (200_000,), generator=generator)
    scores = (torch.randn(200_000, 1, generator=generator, dtype=torch.float64) * 5 + 1000).to(dtype)
    weights = NORMALISERS[name](scores, index, 5000)
    sums = torch.zeros(5000, dtype=torch.float64).index_add(0, index, weights[:, 0].double())
    assert (sums - 1).abs().max() < (1e-5 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("normaliser", list(NORMALISERS))
def test_a_bias_of_minus_infinity_masks_an_edge(normaliser):
    """Two edges into node 0, one of them masked: as if it were not there; a row of nothing else gives zero, never NaN."""
    query = torch.ones(2, 1, 1, dtype=torch.float64, requires_grad=True)
    value = torch.tensor([3.0, 5.0], dtype=torch.float64).view(2, 1, 1)
    mask = AdjacencyMask.from_edge_index(torch.tensor([[0, 1, 1], [0, 0, 1]]), 2)
    bias = torch.tensor([[0.0], [float("-inf")], [float("-inf")]], dtype=torch.float64)
    out, alpha = attention(query, query, value, mask, normaliser=normaliser, bias=bias, return_attention=True)
    # One score of 1 among |M| = 2 edges (the masked one counts): σ(1 - log 2) and 1/2; e / (1 + e); alone on the simplex: 1.
    known = {"sigmoid": 1 / (1 + 2 * math.exp(-1)), "relu": 0.5, "softmax1": math.e / (1 + math.e)}
    expected = known.get(normaliser, 1.0)
    torch.testing.assert_close(alpha.flatten(), torch.tensor([expected, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(out.flatten(), torch.tensor([3 * expected, 0.0], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(out.sum(), query)
    assert gradient.isfinite().all()
