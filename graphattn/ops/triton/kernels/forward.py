"""Forward: scores, weights and sums of each row, some edges at a time. Nothing larger than a tile is kept.

What a row has gathered so far is the largest score and the sum of exponentials of each head, and the weighted sums of values
and of edge features. A part of a row leaves these as its state; `merge` joins the states of a row, always in their order.
"""

import triton
import triton.language as tl

from graphattn.ops.triton.kernels.common import (
    activate,
    add_features,
    dropout_factors,
    edges_of,
    load_features,
    load_heads,
    load_map,
    load_pieces,
    load_tile,
    lowest,
    neighbours_of,
    row_statistic,
    slots_of,
    store_tile,
    weight_of,
)


@triton.jit(do_not_specialize=["num_pieces"])  # another number of rows is no other kernel
def forward(
    pieces, num_pieces, pointers, neighbours, edges, queries, query_stride, keys, key_stride, values, value_stride, weight,
    bias, attr, edge_keys, seed, threshold, out, statistics, feature_sums, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, BLOCKS: tl.constexpr, SHARED: tl.constexpr, COMPUTE: tl.constexpr,
    EDGE_KEY: tl.constexpr, EDGE_VALUE: tl.constexpr, SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, EDGES: tl.constexpr, TILE_HEADS: tl.constexpr,
    KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """One program takes ROWS pieces and TILE_HEADS heads; each piece's edges, EDGES at a time."""
    piece = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first_head = tl.program_id(1) * TILE_HEADS
    head = first_head + tl.arange(0, TILE_HEADS)
    there, row, first, end, part, start, degree = load_pieces(pieces, piece, num_pieces, pointers)
    own = load_tile(queries, query_stride, row[:, None], there[:, None], head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
    if SCORE == "dot":
        own *= SCALE
    else:
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    if EDGE_KEY and SCORE == "dot":
        own_edge_key = load_tile(
            edge_keys, HEADS * EDGE_CHANNELS, row[:, None], there[:, None], head, HEADS, EDGE_CHANNELS, EDGE_PADDED
        )
    if NORMALISER != "softmax":
        statistic = row_statistic(degree, NORMALISER, COMPUTE)[:, None, None]
    largest = lowest([ROWS, TILE_HEADS], COMPUTE)
    total = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
    value_sum = tl.zeros([ROWS, TILE_HEADS, VALUE_PADDED], COMPUTE)
    if EDGE_VALUE:
        feature_sum = tl.zeros([ROWS, TILE_HEADS, EDGE_PADDED], COMPUTE)
    for turn in range(0, tl.max(end - first), EDGES):
        slot, inside = slots_of(first, end, turn, EDGES)
        source = neighbours_of(neighbours, row, start, slot, inside, BLOCKS)
        theirs = load_tile(keys, key_stride, source, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED)
        if SHARED:
            value = theirs
        else:
            value = load_tile(values, value_stride, source, inside, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
        if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
            edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, False)
        if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
            features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
        if SCORE == "dot":
            score = tl.sum(own * theirs.to(COMPUTE), 3)
            if EDGE_KEY:
                score += tl.sum(own_edge_key * features, 3)
        else:
            z = own + theirs.to(COMPUTE)
            if EDGE_KEY:
                z = add_features(z, weight, attr, edge, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS)
            score = tl.sum(vector * activate(z, SCALE, SCORE), 3)
        if bias is not None:
            score += load_heads(bias, edge, inside, head, HEADS, 1)
        score = tl.where(inside[:, :, None], score, float("-inf"))
        if NORMALISER == "softmax":
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
        known = is_part[:, None] & (head < HEADS)[None, :]
        place = states + (piece[:, None].to(tl.int64) * HEADS + head[None, :]) * LENGTH
        tl.store(place, largest, mask=known)
        tl.store(place + 1, total, mask=known)
        channel = tl.arange(0, VALUE_PADDED)
        inner = known[:, :, None] & (channel < VALUE_CHANNELS)[None, None, :]
        tl.store(place[:, :, None] + 2 + channel[None, None, :], value_sum, mask=inner)
        if EDGE_VALUE:
            channel = tl.arange(0, EDGE_PADDED)
            inner = known[:, :, None] & (channel < EDGE_CHANNELS)[None, None, :]
            tl.store(place[:, :, None] + (2 + VALUE_CHANNELS) + channel[None, None, :], feature_sum, mask=inner)
        there = there & (part == 0)
    if NORMALISER == "softmax":
        inverse = _inverse(total)
        _store_statistics(statistics, row, there, head, largest, inverse, HEADS)
        value_sum *= inverse[:, :, None]
        if EDGE_VALUE:
            feature_sum *= inverse[:, :, None]
    store_tile(out, HEADS * VALUE_CHANNELS, row, there, head, value_sum, HEADS, VALUE_CHANNELS, VALUE_PADDED)
    if EDGE_VALUE:
        store_tile(feature_sums, HEADS * EDGE_CHANNELS, row, there, head, feature_sum, HEADS, EDGE_CHANNELS, EDGE_PADDED)


@triton.jit
def _inverse(total):
    # A row of nothing, or of nothing but -inf, has the total zero and gets zero; NaN stays NaN. The two statistics are kept
    # apart: in their log-sum-exp a largest score far from zero would swallow the total.
    return tl.where(total > 0, 1.0 / total, total)


@triton.jit
def _store_statistics(statistics, row, there, head, largest, inverse, HEADS: tl.constexpr):
    place = statistics + row[:, None].to(tl.int64) * (2 * HEADS) + head[None, :]
    known = there[:, None] & (head < HEADS)[None, :]
    tl.store(place, largest, mask=known)
    tl.store(place + HEADS, inverse, mask=known)


@triton.jit
def merge(
    pieces, pointers, out, statistics, feature_sums, states,
    HEADS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    COMPUTE: tl.constexpr, EDGE_VALUE: tl.constexpr,
    TILE_HEADS: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's piece; any other piece is none of its business."""
    piece = tl.program_id(0)
    row, first = tl.load(pieces + piece * 4), tl.load(pieces + piece * 4 + 1)
    start, stop = tl.load(pointers + row), tl.load(pointers + row + 1)
    if (tl.load(pieces + piece * 4 + 3) != 0) & (first == start):
        LENGTH: tl.constexpr = 2 + VALUE_CHANNELS + EDGE_CHANNELS
        size = tl.load(pieces + piece * 4 + 2) - first
        head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
        channel, feature = tl.arange(0, VALUE_PADDED), tl.arange(0, EDGE_PADDED)
        known = head < HEADS
        known_value = known[:, None] & (channel < VALUE_CHANNELS)[None, :]
        known_feature = known[:, None] & (feature < EDGE_CHANNELS)[None, :]
        largest = lowest([TILE_HEADS], COMPUTE)
        total = tl.zeros([TILE_HEADS], COMPUTE)
        value_sum = tl.zeros([TILE_HEADS, VALUE_PADDED], COMPUTE)
        feature_sum = tl.zeros([TILE_HEADS, EDGE_PADDED], COMPUTE)
        for part in range((stop - first + size - 1) // size):
            place = states + ((piece + part).to(tl.int64) * HEADS + head) * LENGTH
            theirs = tl.load(place, mask=known, other=0.0)
            higher = tl.maximum(largest, theirs)
            mine, other = tl.exp(largest - higher), tl.exp(theirs - higher)
            largest = higher
            total = total * mine + tl.load(place + 1, mask=known, other=0.0) * other
            value = tl.load(place[:, None] + 2 + channel[None, :], mask=known_value, other=0.0)
            value_sum = value_sum * mine[:, None] + value * other[:, None]
            if EDGE_VALUE:
                value = tl.load(place[:, None] + (2 + VALUE_CHANNELS) + feature[None, :], mask=known_feature, other=0.0)
                feature_sum = feature_sum * mine[:, None] + value * other[:, None]
        # As tiles of one row.
        here = row + tl.zeros([1], row.dtype)
        there = here >= 0
        if NORMALISER == "softmax":
            inverse = _inverse(total)
            _store_statistics(statistics, here, there, head, largest[None, :], inverse[None, :], HEADS)
            value_sum *= inverse[:, None]
            feature_sum *= inverse[:, None]
        store_tile(out, HEADS * VALUE_CHANNELS, here, there, head, value_sum[None, :, :], HEADS, VALUE_CHANNELS, VALUE_PADDED)
        if EDGE_VALUE:
            store_tile(
                feature_sums,
                HEADS * EDGE_CHANNELS,
                here,
                there,
                head,
                feature_sum[None, :, :],
                HEADS,
                EDGE_CHANNELS,
                EDGE_PADDED,
            )
