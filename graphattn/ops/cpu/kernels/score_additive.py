"""Additive score: z = own + neighbour (+ W e), s = Σ weight · act(z); act is a leaky ReLU or tanh.

The static score is the case of one channel a head. W e is formed here, edge by edge, from the features at their own width:
`weight` holds the vector and then the rows of Wᵀ, [1 + edge channels, heads × channels].
"""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.common import (
    EDGE_CHANNELS,
    KEY_ROW,
    KEY_TILE_CHANNELS,
    KEY_TILE_HEADS,
    KEY_TILES,
    SIZE,
    STORED,
    ask_for_keys,
    edge_at,
    node_at,
    put_sum,
)
from graphattn.ops.cpu.kernels.constants import COLUMNS, COMPUTE, EDGE_KEY, HEADS, KEY_CHANNELS, KEY_TILE, SCORE, STORAGE
from graphattn.ops.cpu.simd import add, div, exp, fma, head_sum, load, mul, splat, spread, store, sub, where_positive

if SCORE not in ("leaky_relu", "tanh"):
    raise ValueError(f"no additive kernel has the activation {SCORE!r}")

# The gradients of the vector and of Wᵀ, summed over all edges of an item.
WEIGHT_SUMS = 0 if COLUMNS else KEY_ROW * (1 + (EDGE_CHANNELS if EDGE_KEY else 0))


@inline
def sum_at(mine, t, node, edge, keys, key_stride, weight, attr):
    """z, tile t."""
    z = add(mine, load(keys + node * key_stride + t * KEY_TILE * STORED, KEY_TILE, STORAGE))
    if EDGE_KEY:
        for c in range(EDGE_CHANNELS):
            feature = spread(load(attr + (edge * EDGE_CHANNELS + c) * SIZE, 1, COMPUTE), KEY_TILE)
            z = fma(feature, load(weight + ((1 + c) * KEY_ROW + t * KEY_TILE) * SIZE, KEY_TILE, COMPUTE), z)
    return z


@inline
def polynomial(x, c0, c1, c2, c3, c4):
    """c0 x⁴ + c1 x³ + c2 x² + c3 x + c4."""
    y = fma(splat(c0, KEY_TILE, COMPUTE), x, splat(c1, KEY_TILE, COMPUTE))
    y = fma(fma(y, x, splat(c2, KEY_TILE, COMPUTE)), x, splat(c3, KEY_TILE, COMPUTE))
    return fma(y, x, splat(c4, KEY_TILE, COMPUTE))


@inline
def tanh(z):
    """1 - 2 / (1 + e²ᶻ), which loses the digits of a small z; below 0.625 Cephes' approximation z + z³ R(z²)."""
    one, square = splat(1.0, KEY_TILE, COMPUTE), mul(z, z)
    large = sub(one, div(splat(2.0, KEY_TILE, COMPUTE), add(one, exp(add(z, z)))))
    if COMPUTE == "float64":
        above = polynomial(square, 0.0, 0.0, -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
        below = polynomial(square, 0.0, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)
        ratio = div(above, below)
    else:
        ratio = polynomial(square, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
    small = fma(mul(z, square), ratio, z)
    return where_positive(sub(splat(0.390625, KEY_TILE, COMPUTE), square), small, large)


@inline
def activate(z, slope):
    if SCORE == "tanh":
        return tanh(z)
    return where_positive(z, z, mul(z, slope))


@inline
def score_block(scores, begin, count, last, source, edges, step, own, keys, key_stride, weight, attr, scale):
    """scores[edge, head] of a block; asks for the rows ahead. `scale` is the slope below zero."""
    slope = splat(scale, KEY_TILE, COMPUTE)
    for t in range(KEY_TILES):
        mine = load(own + t * KEY_TILE * STORED, KEY_TILE, STORAGE)
        vector = load(weight + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE)
        for k in range(count):
            if t == 0:
                ask_for_keys(source, begin + k, last, keys, key_stride)
            edge = edge_at(edges, step, begin + k) if EDGE_KEY else 0
            z = sum_at(mine, t, node_at(source, begin + k), edge, keys, key_stride, weight, attr)
            score = head_sum(mul(vector, activate(z, slope)), KEY_TILE_HEADS)
            put_sum(scores, k, t * KEY_TILE, KEY_TILE_HEADS, KEY_CHANNELS, score)


@inline
def score_gradient(
    total, slopes, begin, count, source, edges, step, own, keys, key_stride, weight, attr, attr_gradient, sums, scale
):
    """total += Σ slope · act'(z), still without the vector; rows also sum the gradients of the vector, of Wᵀ and of e."""
    negative, one = splat(scale, KEY_TILE, COMPUTE), splat(1.0, KEY_TILE, COMPUTE)
    for t in range(KEY_TILES):
        place = total + t * KEY_TILE * SIZE
        running = load(place, KEY_TILE, COMPUTE)
        head = t * KEY_TILE // KEY_CHANNELS
        mine = load(own + t * KEY_TILE * STORED, KEY_TILE, STORAGE)
        if not COLUMNS:
            vector = load(weight + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE)
            vector_sum = load(sums + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE)
        for k in range(count):
            edge = edge_at(edges, step, begin + k) if EDGE_KEY else 0
            z = sum_at(mine, t, node_at(source, begin + k), edge, keys, key_stride, weight, attr)
            slope = spread(load(slopes + (k * HEADS + head) * SIZE, KEY_TILE_HEADS, COMPUTE), KEY_TILE_CHANNELS)
            if SCORE == "tanh":
                active = tanh(z)
                steep = mul(slope, sub(one, mul(active, active)))
            else:
                active = where_positive(z, z, mul(z, negative))
                steep = mul(slope, where_positive(z, one, negative))
            running = add(running, steep)
            if not COLUMNS:
                vector_sum = fma(slope, active, vector_sum)
                if EDGE_KEY:
                    of_sum = mul(steep, vector)
                    for c in range(EDGE_CHANNELS):
                        feature_place = attr_gradient + (edge * EDGE_CHANNELS + c) * SIZE
                        map_place = ((1 + c) * KEY_ROW + t * KEY_TILE) * SIZE
                        feature = spread(load(attr + (edge * EDGE_CHANNELS + c) * SIZE, 1, COMPUTE), KEY_TILE)
                        column = load(weight + map_place, KEY_TILE, COMPUTE)
                        store(sums + map_place, fma(feature, of_sum, load(sums + map_place, KEY_TILE, COMPUTE)), COMPUTE)
                        if attr_gradient != 0:
                            feature_sum = head_sum(mul(column, of_sum), 1)
                            store(feature_place, add(load(feature_place, 1, COMPUTE), feature_sum), COMPUTE)
        store(place, running, COMPUTE)
        if not COLUMNS:
            store(sums + t * KEY_TILE * SIZE, vector_sum, COMPUTE)


@inline
def own_gradient(total, weight, t, scale):
    """The finished gradient of the row's own vector, tile t."""
    return mul(load(total + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE), load(weight + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE))
