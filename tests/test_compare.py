"""The rule by which tests of attention compare two results."""

from __future__ import annotations

import math

import pytest
import torch
from cases.compare import assert_close

INF, NAN = math.inf, math.nan


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_relative_to_the_largest_number() -> None:
    """2⁻³⁰ is 0.93 · 10⁻⁹, 2⁻²⁹ twice as much."""
    assert_close(double(1, 2**-30), double(1, 0))
    with pytest.raises(AssertionError, match=r"out: 1\.86e-09 apart, 1e-09 allowed"):
        assert_close(double(1, 2**-29), double(1, 0), "out")
    assert_close(double(1, 2**-29), double(1, 0), tolerance=1e-8)
    assert_close(double(1, 0.009).bfloat16(), double(1, 0))
    with pytest.raises(AssertionError):
        assert_close(double(1, 0.011).bfloat16(), double(1, 0))


def test_zero_but_for_rounding() -> None:
    assert_close(double(6e-15), double(0))
    assert_close(double(6e-14), double(0), terms=10)
    for options in ({}, {"terms": 0.1}, {"terms": 1.1}):
        with pytest.raises(AssertionError):
            assert_close(double(8e-15), double(0), **options)
    with pytest.raises(AssertionError):
        assert_close(double(6e-15), double(0), zero=0.0)


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_what_is_not_finite(odd: float) -> None:
    """Refused, unless it is allowed and stands where it is expected; then the others are compared as usual."""
    with pytest.raises(AssertionError, match="1 numbers are not finite"):
        assert_close(double(odd, 1), double(odd, 1))
    assert_close(double(odd, 1), double(odd, 1), finite=False)
    for other in (0.5, 1.0, NAN, INF, -INF):
        if not (other == odd or (math.isnan(other) and math.isnan(odd))):
            for a, b in ((odd, other), (other, odd)):
                with pytest.raises(AssertionError):
                    assert_close(double(a, 1), double(b, 1), finite=False)
    with pytest.raises(AssertionError, match=r"0\.5 apart"):
        assert_close(double(odd, 1), double(odd, 1.5), finite=False)


def test_shapes() -> None:
    with pytest.raises(AssertionError, match=r"shape \(2,\), expected \(1,\)"):
        assert_close(double(1, 1), double(1))
    assert_close(double(), double())
