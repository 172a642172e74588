"""ReLU: α = max(s, 0) / |M(i)|; with g = ∂L/∂α, ∂L/∂s = g / |M(i)| where s is above zero."""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.common import FLAT
from graphattn.ops.cpu.kernels.constants import COMPUTE
from graphattn.ops.cpu.simd import maximum, mul, splat, where_positive


@inline
def row_statistic(degree):
    """What a row knows of itself before its edges are read: the inverse of their number."""
    return 1.0 / degree


@inline
def centre(score, product, first, second):
    """Divides scores and products by the number of the row's edges (the statistic is its inverse)."""
    return mul(score, first), mul(product, first)


@inline
def weight_of(score):
    return maximum(splat(0.0, FLAT, COMPUTE), score)


@inline
def slope_of(weight, score, product):
    return where_positive(score, product, splat(0.0, FLAT, COMPUTE))
