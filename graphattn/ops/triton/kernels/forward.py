"""Forward: scores, weights and sums of each row, some edges at a time. Nothing larger than a tile is kept.

What a row has gathered so far is the largest score and the sum of exponentials of each head, and the weighted sums of values
and of edge features. A part of a row leaves these as its state; `merge` joins the states of a row, always in their order.
"""

import triton
import triton.language as tl

from graphattn.ops.triton.kernels.common import (
    cut_row,
    dropout_factors,
    edges_of,
    load_features,
    load_items,
    load_map,
    load_state,
    load_tile,
    lowest,
    neighbours_of,
    score_edges,
    slots_of,
    store_heads,
    store_state,
    store_tile,
)
from graphattn.ops.triton.kernels.normalisers import close_row, keeps_state, row_statistic, weight_of


@triton.jit(do_not_specialize=["num_items"])  # another number of rows is no other kernel
def forward(
    items, num_items, pointers, neighbours, edges, queries, query_stride, keys, key_stride, values, value_stride, weight,
    bias, attr, edge_keys, seed, threshold, out, statistics, feature_sums, states,
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
    vector, edge_key = None, None
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    elif EDGE_KEY:
        edge_key = load_tile(edge_keys, HEADS * EDGE_CHANNELS, here, is_there, head, HEADS, EDGE_CHANNELS, EDGE_PADDED)
    if not keeps_state(NORMALISER):
        statistic = row_statistic(degree, NORMALISER, COMPUTE)[:, None, None]
    largest = lowest([ROWS, TILE_HEADS], COMPUTE)
    total = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
    value_sum = tl.zeros([ROWS, TILE_HEADS, VALUE_PADDED], COMPUTE)
    feature_sum = tl.zeros([ROWS, TILE_HEADS, EDGE_PADDED], COMPUTE)
    for turn in range(0, tl.max(end - first), EDGES):
        slot, inside = slots_of(first, end, turn, EDGES)
        source = neighbours_of(neighbours, row, start, slot, inside, BLOCKS)
        theirs = load_tile(keys, key_stride, source, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED)
        if SHARED:
            value = theirs
        else:
            value = load_tile(values, value_stride, source, inside, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
        edge, features = None, None
        if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
            edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, False)
        if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
            features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
        score, _, _ = score_edges(
            own, theirs.to(COMPUTE), vector, edge_key, features, weight, bias, attr, edge, inside, head,
            HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS, SCORE, EDGE_KEY, SCALE,
        )  # fmt: skip
        if keeps_state(NORMALISER):
            higher = tl.maximum(largest, tl.max(score, 1))
            rescale = tl.exp(largest - higher)
            largest = higher
            alpha = weight_of(score, largest[:, None, :], NORMALISER)
            total = total * rescale + tl.sum(alpha, 1)
            value_sum *= rescale[:, :, None]
            if EDGE_VALUE:
                feature_sum *= rescale[:, :, None]
        else:
            alpha = weight_of(score, statistic, NORMALISER)
        if seed is not None:
            alpha *= dropout_factors(seed, edge, first_head, threshold, FACTOR, TILE_HEADS, COMPUTE)
        value_sum += tl.sum(alpha[:, :, :, None] * value.to(COMPUTE), 1)
        if EDGE_VALUE:
            feature_sum += tl.sum(alpha[:, :, :, None] * features, 1)
    if states is not None:
        LENGTH: tl.constexpr = 2 + VALUE_CHANNELS + EDGE_CHANNELS
        is_part = there & (part != 0)
        store_state(states, item, is_part, head, 0, largest[:, :, None], HEADS, 1, LENGTH)
        store_state(states, item, is_part, head, 1, total[:, :, None], HEADS, 1, LENGTH)
        store_state(states, item, is_part, head, 2, value_sum, HEADS, VALUE_CHANNELS, LENGTH)
        if EDGE_VALUE:
            store_state(states, item, is_part, head, 2 + VALUE_CHANNELS, feature_sum, HEADS, EDGE_CHANNELS, LENGTH)
        there = there & (part == 0)
    _finish(
        row, there, head, largest, total, value_sum, feature_sum, out, statistics, feature_sums,
        HEADS, VALUE_CHANNELS, EDGE_CHANNELS, NORMALISER, EDGE_VALUE, VALUE_PADDED, EDGE_PADDED,
    )  # fmt: skip


@triton.jit
def merge(
    items, pointers, out, statistics, feature_sums, states,
    HEADS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    COMPUTE: tl.constexpr, EDGE_VALUE: tl.constexpr,
    TILE_HEADS: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's item; any other item is none of its business."""
    LENGTH: tl.constexpr = 2 + VALUE_CHANNELS + EDGE_CHANNELS
    first_part = tl.program_id(0)
    row, there, _, parts = cut_row(items, first_part, pointers)
    head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
    largest = lowest([1, TILE_HEADS, 1], COMPUTE)
    total = tl.zeros([1, TILE_HEADS, 1], COMPUTE)
    value_sum = tl.zeros([1, TILE_HEADS, VALUE_PADDED], COMPUTE)
    feature_sum = tl.zeros([1, TILE_HEADS, EDGE_PADDED], COMPUTE)
    for part in range(parts):
        item = first_part + part
        theirs = load_state(states, item, head, 0, HEADS, 1, LENGTH, 1)
        higher = tl.maximum(largest, theirs)
        mine, other = tl.exp(largest - higher), tl.exp(theirs - higher)
        largest = higher
        total = total * mine + load_state(states, item, head, 1, HEADS, 1, LENGTH, 1) * other
        more = load_state(states, item, head, 2, HEADS, VALUE_CHANNELS, LENGTH, VALUE_PADDED)
        value_sum = value_sum * mine + more * other
        if EDGE_VALUE:
            more = load_state(states, item, head, 2 + VALUE_CHANNELS, HEADS, EDGE_CHANNELS, LENGTH, EDGE_PADDED)
            feature_sum = feature_sum * mine + more * other
    _finish(
        row, there, head, tl.sum(largest, 2), tl.sum(total, 2), value_sum, feature_sum, out, statistics, feature_sums,
        HEADS, VALUE_CHANNELS, EDGE_CHANNELS, NORMALISER, EDGE_VALUE, VALUE_PADDED, EDGE_PADDED,
    )  # fmt: skip


@triton.jit
def _finish(
    row, there, head, largest, total, value_sum, feature_sum, out, statistics, feature_sums,
    HEADS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    EDGE_VALUE: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    if keeps_state(NORMALISER):
        top, inverse, factor = close_row(largest, total, NORMALISER)
        store_heads(statistics, row, there, head, top, HEADS, 2)
        store_heads(statistics + HEADS, row, there, head, inverse, HEADS, 2)
        value_sum *= factor[:, :, None]
        feature_sum *= factor[:, :, None]
    store_tile(out, HEADS * VALUE_CHANNELS, row, there, head, value_sum, HEADS, VALUE_CHANNELS, VALUE_PADDED)
    if EDGE_VALUE:
        store_tile(feature_sums, HEADS * EDGE_CHANNELS, row, there, head, feature_sum, HEADS, EDGE_CHANNELS, EDGE_PADDED)
