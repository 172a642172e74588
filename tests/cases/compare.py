"""When two results are equal, and the gradients that are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def rounding(dtype: torch.dtype) -> float:
    """What a number that is zero may differ by: it has no relative error."""
    return 7e-15 if dtype == torch.float64 else 1e-6


def assert_close(
    actual: Tensor,
    expected: Tensor,
    name: str = "",
    *,
    terms: float = 1.0,
    tolerance: float | None = None,
    zero: float | None = None,
    finite: bool = True,
) -> None:
    """max|a - b| / max|b| within the tolerance of `actual`'s type, or both zero but for rounding.

    Args:
        terms: the size of the terms that cancel, where that is more than one: their rounding is so much larger.
        tolerance: another one.
        zero: what is rounding, if not `rounding` of the type.
        finite: whether all of `actual` must be finite; else NaN and infinities stand where they stand in `expected`.
    """
    assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    dtype, actual, expected = actual.dtype, actual.detach().cpu().double(), expected.detach().cpu().double()
    within = actual.isfinite()
    assert not finite or within.all(), f"{name}: {int((~within).sum())} numbers are not finite"
    odd = ~(within & expected.isfinite())
    same = torch.allclose(actual[odd], expected[odd], rtol=0, atol=0, equal_nan=True)
    assert same, f"{name}: NaN or infinity in other places"
    actual, expected = actual[~odd], expected[~odd]
    if actual.numel() == 0:
        return
    error, largest = float((actual - expected).abs().max()), float(expected.abs().max())
    allowed = max(
        (TOLERANCE[dtype] if tolerance is None else tolerance) * largest,
        max(terms, 1.0) * (rounding(dtype) if zero is None else zero),
    )
    assert error <= allowed, f"{name}: {error:.3g} apart, {allowed:.3g} allowed"


def assert_all_close(actual: Sequence[Tensor], expected: Sequence[Tensor], **options: float) -> None:
    """Of several, in order."""
    assert len(actual) == len(expected)
    for place, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert_close(a, b, f"number {place}", **options)


def same_bits(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def direction(out: Tensor) -> Tensor:
    """A fixed random projection of `out`: the same numbers in every type."""
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(out)


def gradients(out: Tensor, inputs: Sequence[Tensor], unused: bool = True) -> list[Tensor]:
    """Of a fixed random projection of `out`; zero where an input plays no part, if it is allowed to play none."""
    return list(torch.autograd.grad(out, list(inputs), direction(out), allow_unused=unused, materialize_grads=unused))
