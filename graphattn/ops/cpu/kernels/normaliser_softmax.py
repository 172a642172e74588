"""Softmax: α = exp(s - largest of the row) / their sum; with g = ∂L/∂α, ∂L/∂s = α (g - Σ α g of the row)."""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import COMPUTE, HEADS
from graphattn.ops.cpu.simd import exp, mul, splat, sub


@inline
def close_row(largest, total):
    """A row's largest score and sum of exponentials, at its end, and what its sums are multiplied by for that largest score."""
    return largest, total, splat(1.0, HEADS, COMPUTE)


@inline
def centre(score, product, first, second):
    """Takes two of a row's statistics, its largest score and Σ α g, off its scores and products."""
    return sub(score, first), sub(product, second)


@inline
def weight_of(score):
    """Not yet divided by the row's sum, which forward finds only at the end."""
    return exp(score)


@inline
def slope_of(weight, score, product):
    return mul(weight, product)
