"""Dot product: s = scale · (own · neighbour); the gradient of either vector is the other, times scale."""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.common import (
    KEY_TILE_CHANNELS,
    KEY_TILE_HEADS,
    KEY_TILES,
    SIZE,
    STORED,
    ask_for_keys,
    node_at,
    put_sum,
)
from graphattn.ops.cpu.kernels.constants import COMPUTE, HEADS, KEY_CHANNELS, KEY_TILE, STORAGE
from graphattn.ops.cpu.simd import fma, head_sum, load, mul, splat, spread, store

WEIGHT_SUMS = 0  # there is no weight vector, whose gradient would be summed over all edges


@inline
def score_block(scores, begin, count, last, source, edges, step, own, keys, key_stride, weight, attr, scale):
    """scores[edge, head] of a block; asks for the rows ahead."""
    for t in range(KEY_TILES):
        mine = mul(load(own + t * KEY_TILE * STORED, KEY_TILE, STORAGE), splat(scale, KEY_TILE, COMPUTE))
        for k in range(count):
            if t == 0:
                ask_for_keys(source, begin + k, last, keys, key_stride)
            theirs = load(keys + node_at(source, begin + k) * key_stride + t * KEY_TILE * STORED, KEY_TILE, STORAGE)
            put_sum(scores, k, t * KEY_TILE, KEY_TILE_HEADS, KEY_CHANNELS, head_sum(mul(mine, theirs), KEY_TILE_HEADS))


@inline
def score_gradient(
    total, slopes, begin, count, source, edges, step, own, keys, key_stride, weight, attr, attr_gradient, sums, scale
):
    """total += Σ slope · neighbour."""
    for t in range(KEY_TILES):
        place = total + t * KEY_TILE * SIZE
        running = load(place, KEY_TILE, COMPUTE)
        head = t * KEY_TILE // KEY_CHANNELS
        for k in range(count):
            slope = load(slopes + (k * HEADS + head) * SIZE, KEY_TILE_HEADS, COMPUTE)
            theirs = load(keys + node_at(source, begin + k) * key_stride + t * KEY_TILE * STORED, KEY_TILE, STORAGE)
            running = fma(spread(slope, KEY_TILE_CHANNELS), theirs, running)
        store(place, running, COMPUTE)


@inline
def own_gradient(total, weight, t, scale):
    """The finished gradient of the row's own vector, tile t."""
    return mul(load(total + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE), splat(scale, KEY_TILE, COMPUTE))
