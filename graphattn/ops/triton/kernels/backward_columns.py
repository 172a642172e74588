"""Backward by sources: gradients of keys and values, and everything that belongs to an edge or to all edges, because only here
Σ α g of every target is known to the last digit (see `backward_rows.py`). Nothing is atomic.
"""

import triton
import triton.language as tl

from graphattn.ops.triton.kernels.common import (
    cut_row,
    dropout_factors,
    edges_of,
    load_features,
    load_heads,
    load_items,
    load_map,
    load_state,
    load_tile,
    neighbours_of,
    score_edges,
    slots_of,
    store_state,
    store_tile,
)
from graphattn.ops.triton.kernels.normalisers import keeps_state, needs_delta, slope_of, weight_of


@triton.jit(do_not_specialize=["num_items"])
def backward_columns(
    items, num_items, pointers, neighbours, edges, keys, key_stride, values, value_stride, queries, query_stride, weight,
    bias, attr, edge_keys, seed, threshold, gradient, feature_gradient, statistics, of_key, of_key_stride,
    of_value, of_value_stride, of_bias, of_attr, of_weight, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, BLOCKS: tl.constexpr, SHARED: tl.constexpr, COMPUTE: tl.constexpr,
    EDGE_KEY: tl.constexpr, EDGE_VALUE: tl.constexpr, SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, EDGES: tl.constexpr, TILE_HEADS: tl.constexpr,
    KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """One program takes TILE_HEADS heads and ROWS items at a time, more than once where all programs share a weight.

    The gradients of an additive score's weights are sums over all edges: each program keeps a sum of its own.
    """
    first_head = tl.program_id(1) * TILE_HEADS
    head = first_head + tl.arange(0, TILE_HEADS)
    vector = None
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    if of_weight is not None:
        own_weights = of_weight + tl.program_id(0).to(tl.int64) * ((1 + EDGE_CHANNELS * EDGE_KEY) * HEADS * KEY_CHANNELS)
        vector_sum = tl.zeros([TILE_HEADS, KEY_PADDED], COMPUTE)
    for turn in range(tl.program_id(0), tl.cdiv(num_items, ROWS), tl.num_programs(0)):
        item = turn * ROWS + tl.arange(0, ROWS)
        there, row, first, end, part, start, degree = load_items(items, item, num_items, pointers)
        here, is_there = row[:, None], there[:, None]
        own = load_tile(keys, key_stride, here, is_there, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
        if SHARED:
            own_value = own
        else:
            own_value = load_tile(values, value_stride, here, is_there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(COMPUTE)
        key_sum = tl.zeros([ROWS, TILE_HEADS, KEY_PADDED], COMPUTE)
        value_sum = tl.zeros([ROWS, TILE_HEADS, VALUE_PADDED], COMPUTE)
        for begin in range(0, tl.max(end - first), EDGES):
            slot, inside = slots_of(first, end, begin, EDGES)
            target = neighbours_of(neighbours, row, start, slot, inside, BLOCKS)
            theirs = load_tile(queries, query_stride, target, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
            outer = load_tile(gradient, HEADS * VALUE_CHANNELS, target, inside, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(
                COMPUTE
            )
            statistic = load_heads(statistics, target, inside, head, HEADS, 3)
            edge, features, edge_key = None, None, None
            if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
                edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, True)
            if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
                features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
            if EDGE_KEY and SCORE == "dot":
                edge_key = load_tile(edge_keys, HEADS * EDGE_CHANNELS, target, inside, head, HEADS, EDGE_CHANNELS, EDGE_PADDED)
            product = tl.where(inside[:, :, None], tl.sum(own_value * outer, 3), 0.0)  # not infinity times nothing
            if EDGE_VALUE:
                outer_features = load_tile(
                    feature_gradient, HEADS * EDGE_CHANNELS, target, inside, head, HEADS, EDGE_CHANNELS, EDGE_PADDED
                )
                product += tl.sum(outer_features * features, 3)
            score, active, steep = score_edges(
                own, theirs, vector, edge_key, features, weight, bias, attr, edge, inside, head,
                HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS, SCORE, EDGE_KEY, SCALE,
            )  # fmt: skip
            alpha = weight_of(score, statistic, NORMALISER)
            if keeps_state(NORMALISER):
                alpha *= load_heads(statistics + HEADS, target, inside, head, HEADS, 3)
            kept_alpha = alpha
            if seed is not None:
                factors = dropout_factors(seed, edge, first_head, threshold, FACTOR, TILE_HEADS, COMPUTE)
                product *= factors
                kept_alpha *= factors
            if needs_delta(NORMALISER):
                product -= load_heads(statistics + 2 * HEADS, target, inside, head, HEADS, 3)
            slope = slope_of(alpha, score, product, statistic, NORMALISER)
            key_sum += tl.sum(slope[:, :, :, None] * steep, 1)
            value_sum += tl.sum(kept_alpha[:, :, :, None] * outer, 1)
            if of_bias is not None:
                place = of_bias + edge[:, :, None].to(tl.int64) * HEADS + head[None, None, :]
                tl.store(place, slope, mask=inside[:, :, None] & (head < HEADS)[None, None, :])
            if of_attr is not None and (EDGE_VALUE or (EDGE_KEY and SCORE == "dot")):
                of_features = tl.zeros([ROWS, EDGES, EDGE_PADDED], COMPUTE)
                if EDGE_KEY and SCORE == "dot":
                    of_features += tl.sum(slope[:, :, :, None] * edge_key, 2)
                if EDGE_VALUE:
                    of_features += tl.sum(kept_alpha[:, :, :, None] * outer_features, 2)
                channel = tl.arange(0, EDGE_PADDED)
                place = of_attr + edge[:, :, None].to(tl.int64) * EDGE_CHANNELS + channel[None, None, :]
                tl.store(place, of_features, mask=inside[:, :, None] & (channel < EDGE_CHANNELS)[None, None, :])
            if SCORE != "dot":
                if of_weight is not None:
                    vector_sum += tl.sum(tl.sum(slope[:, :, :, None] * active, 1), 0)
                if EDGE_KEY and (of_weight is not None or of_attr is not None):
                    of_z = slope[:, :, :, None] * steep * vector
                    # What another thread has added before must be there to be added to.
                    tl.debug_barrier()
                    for c in range(EDGE_CHANNELS):
                        if of_weight is not None:
                            feature = tl.load(attr + edge.to(tl.int64) * EDGE_CHANNELS + c, mask=inside, other=0.0)
                            more = tl.sum(tl.sum(of_z * feature[:, :, None, None], 1), 0)
                            _add_to_map(own_weights, 1 + c, head, more, HEADS, KEY_CHANNELS, KEY_PADDED)
                        if of_attr is not None:
                            map_row = load_map(weight, 1 + c, head, HEADS, KEY_CHANNELS, KEY_PADDED)
                            of_feature = tl.sum(tl.sum(of_z * map_row, 3), 2)
                            feature_place = of_attr + edge.to(tl.int64) * EDGE_CHANNELS + c
                            if EDGE_VALUE:
                                of_feature += tl.load(feature_place, mask=inside, other=0.0)
                            tl.store(feature_place, of_feature, mask=inside)
        if states is not None:
            LENGTH: tl.constexpr = KEY_CHANNELS + VALUE_CHANNELS
            is_part = there & (part != 0)
            store_state(states, item, is_part, head, 0, key_sum, HEADS, KEY_CHANNELS, LENGTH)
            store_state(states, item, is_part, head, KEY_CHANNELS, value_sum, HEADS, VALUE_CHANNELS, LENGTH)
            there = there & (part == 0)
        _finish(
            row, there, head, key_sum, value_sum, vector, of_key, of_key_stride, of_value, of_value_stride,
            HEADS, KEY_CHANNELS, VALUE_CHANNELS, SCORE, SHARED, SCALE, KEY_PADDED, VALUE_PADDED,
        )  # fmt: skip
    if of_weight is not None:
        _add_to_map(own_weights, 0, head, vector_sum, HEADS, KEY_CHANNELS, KEY_PADDED)


@triton.jit
def merge_columns(
    items, pointers, weight, of_key, of_key_stride, of_value, of_value_stride, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, SCORE: tl.constexpr,
    SHARED: tl.constexpr, COMPUTE: tl.constexpr, SCALE: tl.constexpr, TILE_HEADS: tl.constexpr, KEY_PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's item; any other item is none of its business."""
    LENGTH: tl.constexpr = KEY_CHANNELS + VALUE_CHANNELS
    first_part = tl.program_id(0)
    row, there, _, parts = cut_row(items, first_part, pointers)
    head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
    vector = None
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    key_sum = tl.zeros([1, TILE_HEADS, KEY_PADDED], COMPUTE)
    value_sum = tl.zeros([1, TILE_HEADS, VALUE_PADDED], COMPUTE)
    for part in range(parts):
        item = first_part + part
        key_sum += load_state(states, item, head, 0, HEADS, KEY_CHANNELS, LENGTH, KEY_PADDED)
        value_sum += load_state(states, item, head, KEY_CHANNELS, HEADS, VALUE_CHANNELS, LENGTH, VALUE_PADDED)
    _finish(
        row, there, head, key_sum, value_sum, vector, of_key, of_key_stride, of_value, of_value_stride,
        HEADS, KEY_CHANNELS, VALUE_CHANNELS, SCORE, SHARED, SCALE, KEY_PADDED, VALUE_PADDED,
    )  # fmt: skip


@triton.jit
def _add_to_map(sums, row, head, more, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    channel = tl.arange(0, PADDED)
    place = sums + (row * HEADS + head[:, None]) * CHANNELS + channel[None, :]
    known = (head[:, None] < HEADS) & (channel[None, :] < CHANNELS)
    tl.store(place, tl.load(place, mask=known, other=0.0) + more, mask=known)


@triton.jit
def _finish(
    row, there, head, key_sum, value_sum, vector, of_key, of_key_stride, of_value, of_value_stride,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, SCORE: tl.constexpr,
    SHARED: tl.constexpr, SCALE: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
):  # fmt: skip
    if SCORE == "dot":
        key_sum *= SCALE
    else:
        key_sum *= tl.sum(vector, 1)
    if SHARED:
        key_sum += value_sum
    else:
        store_tile(of_value, of_value_stride, row, there, head, value_sum, HEADS, VALUE_CHANNELS, VALUE_PADDED)
    store_tile(of_key, of_key_stride, row, there, head, key_sum, HEADS, KEY_CHANNELS, KEY_PADDED)
