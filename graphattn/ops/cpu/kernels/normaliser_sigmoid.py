"""Sigmoid: α = σ(s - log |M(i)|); with g = ∂L/∂α, ∂L/∂s = α (1 - α) g."""

import numpy as np

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.common import FLAT
from graphattn.ops.cpu.kernels.constants import COMPUTE
from graphattn.ops.cpu.simd import add, div, exp, mul, splat, sub


@inline
def row_statistic(degree):
    """What a row knows of itself before its edges are read: the logarithm of their number."""
    return np.log(degree)


@inline
def centre(score, product, first, second):
    """Takes the row's statistic (the logarithm of its number of edges) off its scores."""
    return sub(score, first), product


@inline
def weight_of(score):
    one = splat(1.0, FLAT, COMPUTE)
    return div(one, add(one, exp(sub(splat(0.0, FLAT, COMPUTE), score))))


@inline
def slope_of(weight, score, product):
    return mul(mul(weight, sub(splat(1.0, FLAT, COMPUTE), weight)), product)
