"""Softmax with one more in the denominator: α = exp(s - m) / (exp(-m) + Σ exp(s - m)), m the largest score of the row and zero;
with g = ∂L/∂α, ∂L/∂s = α (g - Σ α g of the row).
"""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import COMPUTE, HEADS
from graphattn.ops.cpu.simd import exp, fma, maximum, mul, splat, sub


@inline
def close_row(largest, total):
    """A row's largest score and sum of exponentials, at its end, and what its sums are multiplied by for that largest score."""
    zero = splat(0.0, HEADS, COMPUTE)
    top = maximum(largest, zero)
    rescaling = exp(sub(largest, top))
    return top, fma(total, rescaling, exp(sub(zero, top))), rescaling


@inline
def centre(score, product, first, second):
    """Subtracts two of a row's statistics, its largest score and Σ α g, from its scores and products."""
    return sub(score, first), sub(product, second)


@inline
def weight_of(score):
    """Not yet divided by the row's sum, which forward knows only at the end."""
    return exp(score)


@inline
def slope_of(weight, score, product):
    return mul(weight, product)
