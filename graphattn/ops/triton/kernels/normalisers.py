"""The normalisers' formulas, all of them here: a new one is a branch of each function that concerns it, and no other file.

A name without a branch is an error when a kernel is compiled. What a normaliser needs of a kernel, its flags say, see
`graphattn.ops.normaliser.Normaliser`.
"""

import triton
import triton.language as tl

from graphattn.ops.normaliser import normaliser_of

# Those that have formulas below, and those of them with each flag.
NORMALISERS = ("softmax", "softmax1", "sigmoid", "relu")
KEEPS_STATE = tl.constexpr(tuple(name for name in NORMALISERS if normaliser_of(name).keeps_state))
NEEDS_DELTA = tl.constexpr(tuple(name for name in NORMALISERS if normaliser_of(name).needs_delta))
SUMS_TO_ONE = tl.constexpr(tuple(name for name in NORMALISERS if normaliser_of(name).sums_to_one))


@triton.constexpr_function
def keeps_state(normaliser):
    return normaliser in KEEPS_STATE.value


@triton.constexpr_function
def needs_delta(normaliser):
    return normaliser in NEEDS_DELTA.value


@triton.constexpr_function
def sums_to_one(normaliser):
    return normaliser in SUMS_TO_ONE.value


@triton.jit
def row_statistic(degree, NORMALISER: tl.constexpr, COMPUTE: tl.constexpr):
    """What a row without a state knows of itself before its edges are read, [R]."""
    number = tl.maximum(degree, 1).to(COMPUTE)
    if NORMALISER == "sigmoid":
        statistic = tl.log(number)
    elif NORMALISER == "relu":
        statistic = 1.0 / number
    else:
        tl.static_assert(False, "there is no Triton kernel for this normaliser")
    return statistic


@triton.jit
def weight_of(score, statistic, NORMALISER: tl.constexpr):
    """The weight of a score. Where rows keep a state the statistic is the largest score, and the sum is not yet divided by."""
    if NORMALISER == "softmax" or NORMALISER == "softmax1":
        weight = tl.exp(score - statistic)
    elif NORMALISER == "sigmoid":
        weight = 1.0 / (1.0 + tl.exp(statistic - score))
    elif NORMALISER == "relu":
        weight = tl.maximum(score, 0.0) * statistic
    else:
        tl.static_assert(False, "there is no Triton kernel for this normaliser")
    return weight


@triton.jit
def close_row(largest, total, NORMALISER: tl.constexpr):
    """The largest score and the inverse sum of a row, at its end, and what its sums are multiplied by.

    A row of nothing, or of nothing but -inf, has the total zero and gets zero; NaN stays NaN. The two statistics are kept
    apart: in their log-sum-exp a largest score far from zero would swallow the total.
    """
    if NORMALISER == "softmax":
        top = largest
        inverse = tl.where(total > 0, 1.0 / total, total)
        factor = inverse
    elif NORMALISER == "softmax1":
        top = tl.maximum(largest, 0.0)
        rescale = tl.exp(largest - top)
        inverse = 1.0 / (total * rescale + tl.exp(-top))
        factor = inverse * rescale
    else:
        tl.static_assert(False, "there is no Triton kernel for this normaliser")
    return top, inverse, factor


@triton.jit
def slope_of(weight, score, product, statistic, NORMALISER: tl.constexpr):
    """∂L/∂s from the weight and ∂L/∂α; where that needs it, Σ α ∂L/∂α is subtracted from the product already."""
    if NORMALISER == "softmax" or NORMALISER == "softmax1":
        slope = weight * product
    elif NORMALISER == "sigmoid":
        slope = weight * (1.0 - weight) * product
    elif NORMALISER == "relu":
        slope = tl.where(score > 0, product * statistic, 0.0)
    else:
        tl.static_assert(False, "there is no Triton kernel for this normaliser")
    return slope


@triton.jit
def rest_of_delta(rest, total, mean, NORMALISER: tl.constexpr):
    """What `mean` lacks of Σ α g, from rest = Σ α (g - mean) and total = Σ α.

    Where weights sum to one, Σ α g is divided by their sum, which rounding keeps from being one.
    """
    if sums_to_one(NORMALISER):
        return rest / tl.where(total > 0, total, 1.0)
    return rest + mean * (total - 1.0)
