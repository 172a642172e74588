"""Softmax: α = exp(s - log-sum-exp of the row); with g = ∂L/∂α, ∂L/∂s = α (g - Σ α g of the row)."""

from graphattn.ops.cpu.kernels.common import inline
from graphattn.ops.cpu.simd import exp, mul, sub


@inline
def centre(score, product, first, second):
    """Takes a row's two statistics (log-sum-exp and Σ α g) off its scores and products."""
    return sub(score, first), sub(product, second)


@inline
def weight_of(score):
    return exp(score)


@inline
def slope_of(weight, score, product):
    return mul(weight, product)
