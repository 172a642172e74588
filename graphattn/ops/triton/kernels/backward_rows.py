"""Backward by targets: gradients of queries and of the dot product's vectors on edge features, and what sources need to know
of a target. Weights are recomputed from the saved statistics.

Under softmax a slope is α (g - Σ α g). The product of a row's output and its gradient is Σ α g but for rounding, which is much
where the output is stored in half precision. So it is only where sums begin: rows sum α (g - that) · k, and next to it α · k
and α (g - that), from which the rest follows when the row is done. No row is read twice. The same for large graphs under full
attention, in `tiles.py`.
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
    store_heads,
    store_state,
    store_tile,
)
from graphattn.ops.triton.kernels.normalisers import keeps_state, needs_delta, rest_of_delta, row_statistic, slope_of, weight_of


@triton.jit(do_not_specialize=["num_items"])
def backward_rows(
    items, num_items, pointers, neighbours, edges, queries, query_stride, keys, key_stride, values, value_stride, weight,
    bias, attr, edge_keys, seed, threshold, out, gradient, feature_gradient, kept, statistics, of_query,
    of_query_stride, of_edge_key, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, BLOCKS: tl.constexpr, SHARED: tl.constexpr, COMPUTE: tl.constexpr,
    EDGE_KEY: tl.constexpr, EDGE_VALUE: tl.constexpr, SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, EDGES: tl.constexpr, TILE_HEADS: tl.constexpr,
    KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """One program takes ROWS items and TILE_HEADS heads; each item's edges, EDGES at a time."""
    item = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first_head = tl.program_id(1) * TILE_HEADS
    head = first_head + tl.arange(0, TILE_HEADS)
    there, row, first, end, part, start, degree = load_items(items, item, num_items, pointers)
    here, is_there = row[:, None], there[:, None]
    own = load_tile(queries, query_stride, here, is_there, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
    outer = load_tile(gradient, HEADS * VALUE_CHANNELS, here, is_there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(COMPUTE)
    vector, edge_key = None, None
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    elif EDGE_KEY:
        edge_key = load_tile(edge_keys, HEADS * EDGE_CHANNELS, here, is_there, head, HEADS, EDGE_CHANNELS, EDGE_PADDED)
    if EDGE_VALUE:
        outer_features = load_tile(
            feature_gradient, HEADS * EDGE_CHANNELS, here, is_there, head, HEADS, EDGE_CHANNELS, EDGE_PADDED
        )
    statistic, inverse, mean = _of_rows(
        row, there, degree, head, outer, out, kept, HEADS, VALUE_CHANNELS, NORMALISER, COMPUTE, VALUE_PADDED
    )
    rest = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
    total = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
    query_sum = tl.zeros([ROWS, TILE_HEADS, KEY_PADDED], COMPUTE)
    plain_sum = tl.zeros([ROWS, TILE_HEADS, KEY_PADDED], COMPUTE)
    feature_sum = tl.zeros([ROWS, TILE_HEADS, EDGE_PADDED], COMPUTE)
    plain_feature_sum = tl.zeros([ROWS, TILE_HEADS, EDGE_PADDED], COMPUTE)
    for turn in range(0, tl.max(end - first), EDGES):
        slot, inside = slots_of(first, end, turn, EDGES)
        source = neighbours_of(neighbours, row, start, slot, inside, BLOCKS)
        theirs = load_tile(keys, key_stride, source, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
        if SHARED:
            value = theirs
        else:
            value = load_tile(values, value_stride, source, inside, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(COMPUTE)
        edge, features = None, None
        if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
            edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, False)
        if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
            features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
        product = tl.where(inside[:, :, None], tl.sum(outer * value, 3), 0.0)  # not infinity times nothing
        if EDGE_VALUE:
            product += tl.sum(outer_features * features, 3)
        score, _, steep = score_edges(
            own, theirs, vector, edge_key, features, weight, bias, attr, edge, inside, head,
            HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS, SCORE, EDGE_KEY, SCALE,
        )  # fmt: skip
        alpha = weight_of(score, statistic[:, None, :], NORMALISER)
        if seed is not None:
            product *= dropout_factors(seed, edge, first_head, threshold, FACTOR, TILE_HEADS, COMPUTE)
        if keeps_state(NORMALISER):
            alpha *= inverse[:, None, :]
        if needs_delta(NORMALISER):
            slope = slope_of(alpha, score, product - mean[:, None, :], statistic[:, None, :], NORMALISER)
            rest += tl.sum(slope, 1)
            total += tl.sum(alpha, 1)
            plain_sum += tl.sum(alpha[:, :, :, None] * steep, 1)
            if EDGE_KEY and SCORE == "dot":
                plain_feature_sum += tl.sum(alpha[:, :, :, None] * features, 1)
        else:
            slope = slope_of(alpha, score, product, statistic[:, None, :], NORMALISER)
        query_sum += tl.sum(slope[:, :, :, None] * steep, 1)
        if EDGE_KEY and SCORE == "dot":
            feature_sum += tl.sum(slope[:, :, :, None] * features, 1)
    if states is not None:
        LENGTH: tl.constexpr = 2 + 2 * KEY_CHANNELS + 2 * EDGE_CHANNELS
        is_part = there & (part != 0)
        store_state(states, item, is_part, head, 2, query_sum, HEADS, KEY_CHANNELS, LENGTH)
        if needs_delta(NORMALISER):
            store_state(states, item, is_part, head, 0, rest[:, :, None], HEADS, 1, LENGTH)
            store_state(states, item, is_part, head, 1, total[:, :, None], HEADS, 1, LENGTH)
            store_state(states, item, is_part, head, 2 + KEY_CHANNELS, plain_sum, HEADS, KEY_CHANNELS, LENGTH)
        if EDGE_KEY and SCORE == "dot":
            begin = 2 + 2 * KEY_CHANNELS
            store_state(states, item, is_part, head, begin, feature_sum, HEADS, EDGE_CHANNELS, LENGTH)
            if needs_delta(NORMALISER):
                begin += EDGE_CHANNELS
                store_state(states, item, is_part, head, begin, plain_feature_sum, HEADS, EDGE_CHANNELS, LENGTH)
        there = there & (part == 0)
    _finish(
        row, there, head, statistic, inverse, mean, rest, total, query_sum, plain_sum, feature_sum, plain_feature_sum,
        vector, statistics, of_query, of_query_stride, of_edge_key,
        HEADS, KEY_CHANNELS, EDGE_CHANNELS, SCORE, NORMALISER, EDGE_KEY, SCALE, KEY_PADDED, EDGE_PADDED,
    )  # fmt: skip


@triton.jit
def merge_rows(
    items, pointers, weight, out, gradient, kept, statistics, of_query, of_query_stride, of_edge_key, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, COMPUTE: tl.constexpr, EDGE_KEY: tl.constexpr,
    SCALE: tl.constexpr, TILE_HEADS: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's item; any other item is none of its business."""
    LENGTH: tl.constexpr = 2 + 2 * KEY_CHANNELS + 2 * EDGE_CHANNELS
    first_part = tl.program_id(0)
    row, there, degree, parts = cut_row(items, first_part, pointers)
    head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
    vector = None
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    rest = tl.zeros([1, TILE_HEADS, 1], COMPUTE)
    total = tl.zeros([1, TILE_HEADS, 1], COMPUTE)
    query_sum = tl.zeros([1, TILE_HEADS, KEY_PADDED], COMPUTE)
    plain_sum = tl.zeros([1, TILE_HEADS, KEY_PADDED], COMPUTE)
    feature_sum = tl.zeros([1, TILE_HEADS, EDGE_PADDED], COMPUTE)
    plain_feature_sum = tl.zeros([1, TILE_HEADS, EDGE_PADDED], COMPUTE)
    for part in range(parts):
        item = first_part + part
        query_sum += load_state(states, item, head, 2, HEADS, KEY_CHANNELS, LENGTH, KEY_PADDED)
        if needs_delta(NORMALISER):
            rest += load_state(states, item, head, 0, HEADS, 1, LENGTH, 1)
            total += load_state(states, item, head, 1, HEADS, 1, LENGTH, 1)
            plain_sum += load_state(states, item, head, 2 + KEY_CHANNELS, HEADS, KEY_CHANNELS, LENGTH, KEY_PADDED)
        if EDGE_KEY and SCORE == "dot":
            begin = 2 + 2 * KEY_CHANNELS
            feature_sum += load_state(states, item, head, begin, HEADS, EDGE_CHANNELS, LENGTH, EDGE_PADDED)
            if needs_delta(NORMALISER):
                begin += EDGE_CHANNELS
                plain_feature_sum += load_state(states, item, head, begin, HEADS, EDGE_CHANNELS, LENGTH, EDGE_PADDED)
    outer = load_tile(
        gradient, HEADS * VALUE_CHANNELS, row[:, None], there[:, None], head, HEADS, VALUE_CHANNELS, VALUE_PADDED
    ).to(COMPUTE)
    statistic, inverse, mean = _of_rows(
        row, there, degree, head, outer, out, kept, HEADS, VALUE_CHANNELS, NORMALISER, COMPUTE, VALUE_PADDED
    )
    _finish(
        row, there, head, statistic, inverse, mean, tl.sum(rest, 2), tl.sum(total, 2), query_sum, plain_sum,
        feature_sum, plain_feature_sum, vector, statistics, of_query, of_query_stride, of_edge_key,
        HEADS, KEY_CHANNELS, EDGE_CHANNELS, SCORE, NORMALISER, EDGE_KEY, SCALE, KEY_PADDED, EDGE_PADDED,
    )  # fmt: skip


@triton.jit
def _of_rows(
    row, there, degree, head, outer, out, kept,
    HEADS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr, COMPUTE: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
):  # fmt: skip
    """What `weight_of` needs to know of rows and, where they keep a state, their inverse sums and nearly Σ α g, [R, heads]."""
    here, is_there = row[:, None], there[:, None]
    none = tl.zeros([row.shape[0], head.shape[0]], COMPUTE)
    inverse, mean = none, none
    if keeps_state(NORMALISER):
        statistic = tl.sum(load_heads(kept, here, is_there, head, HEADS, 2), 1)
        inverse = tl.sum(load_heads(kept + HEADS, here, is_there, head, HEADS, 2), 1)
    else:
        statistic = row_statistic(degree, NORMALISER, COMPUTE)[:, None] + none
    if needs_delta(NORMALISER):
        mine = load_tile(out, HEADS * VALUE_CHANNELS, here, is_there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
        mean = tl.sum(tl.sum(mine.to(COMPUTE) * outer, 3), 1)
    return statistic, inverse, mean


@triton.jit
def _finish(
    row, there, head, statistic, inverse, mean, rest, total, query_sum, plain_sum, feature_sum, plain_feature_sum,
    vector, statistics, of_query, of_query_stride, of_edge_key,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr, SCORE: tl.constexpr,
    NORMALISER: tl.constexpr, EDGE_KEY: tl.constexpr, SCALE: tl.constexpr, KEY_PADDED: tl.constexpr,
    EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    store_heads(statistics, row, there, head, statistic, HEADS, 3)
    if keeps_state(NORMALISER):
        store_heads(statistics + HEADS, row, there, head, inverse, HEADS, 3)
    if needs_delta(NORMALISER):
        more = rest_of_delta(rest, total, mean, NORMALISER)
        store_heads(statistics + 2 * HEADS, row, there, head, mean + more, HEADS, 3)
        query_sum -= more[:, :, None] * plain_sum
        feature_sum -= more[:, :, None] * plain_feature_sum
    if SCORE == "dot":
        query_sum *= SCALE
    else:
        query_sum *= tl.sum(vector, 1)
    store_tile(of_query, of_query_stride, row, there, head, query_sum, HEADS, KEY_CHANNELS, KEY_PADDED)
    if EDGE_KEY and SCORE == "dot":
        store_tile(of_edge_key, HEADS * EDGE_CHANNELS, row, there, head, feature_sum, HEADS, EDGE_CHANNELS, EDGE_PADDED)
