"""Backward, one end of the edges at a time; weights are formed anew from the kept statistics, and nothing is atomic.

`backward_rows` goes by targets: gradients of queries and of the dot product's vectors on edge features, and what sources
need to know of a target. `backward_columns` goes by sources: gradients of keys and values, and everything that belongs to an
edge or to all edges, because only there Σ α g of every target is known to the last digit.

Under softmax a slope is α (g - Σ α g). The product of a row's output and its gradient is Σ α g but for rounding, which is much
where the output is stored in half precision. So it is only where sums begin: rows sum α (g - that) · k, and beside it α · k
and α (g - that), from which the rest follows when the row is done. No row is read twice.
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
    neighbours_of,
    row_statistic,
    slope_of,
    slots_of,
    steepness,
    store_tile,
    weight_of,
)


@triton.jit(do_not_specialize=["num_pieces"])
def backward_rows(
    pieces, num_pieces, pointers, neighbours, edges, queries, query_stride, keys, key_stride, values, value_stride, weight,
    bias, attr, edge_keys, seed, threshold, out, gradient, feature_gradient, kept, statistics, of_query,
    of_query_stride, of_edge_key, states,
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
    here, is_there = row[:, None], there[:, None]
    own = load_tile(queries, query_stride, here, is_there, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
    outer = load_tile(gradient, HEADS * VALUE_CHANNELS, here, is_there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(COMPUTE)
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    if EDGE_KEY and SCORE == "dot":
        own_edge_key = load_tile(edge_keys, HEADS * EDGE_CHANNELS, here, is_there, head, HEADS, EDGE_CHANNELS, EDGE_PADDED)
        feature_sum = tl.zeros([ROWS, TILE_HEADS, EDGE_PADDED], COMPUTE)
        plain_feature_sum = feature_sum
    if EDGE_VALUE:
        outer_features = load_tile(
            feature_gradient, HEADS * EDGE_CHANNELS, here, is_there, head, HEADS, EDGE_CHANNELS, EDGE_PADDED
        )
    if NORMALISER == "softmax":
        statistic = load_heads(kept, here, is_there, head, HEADS, 2)
        inverse = load_heads(kept + HEADS, here, is_there, head, HEADS, 2)
        mine = load_tile(out, HEADS * VALUE_CHANNELS, here, is_there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
        mean = tl.sum(mine.to(COMPUTE) * outer, 3)
        rest = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
        total = tl.zeros([ROWS, TILE_HEADS], COMPUTE)
        plain_sum = tl.zeros([ROWS, TILE_HEADS, KEY_PADDED], COMPUTE)
    else:
        statistic = row_statistic(degree, NORMALISER, COMPUTE)[:, None, None] + tl.zeros([1, 1, TILE_HEADS], COMPUTE)
    key_sum = tl.zeros([ROWS, TILE_HEADS, KEY_PADDED], COMPUTE)
    for turn in range(0, tl.max(end - first), EDGES):
        slot, inside = slots_of(first, end, turn, EDGES)
        source = neighbours_of(neighbours, row, start, slot, inside, BLOCKS)
        theirs = load_tile(keys, key_stride, source, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED).to(COMPUTE)
        if SHARED:
            value = theirs
        else:
            value = load_tile(values, value_stride, source, inside, head, HEADS, VALUE_CHANNELS, VALUE_PADDED).to(COMPUTE)
        if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
            edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, False)
        if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
            features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
        product = tl.where(inside[:, :, None], tl.sum(outer * value, 3), 0.0)  # not infinity times nothing
        if EDGE_VALUE:
            product += tl.sum(outer_features * features, 3)
        if SCORE == "dot":
            score = tl.sum(own * theirs, 3) * SCALE
            if EDGE_KEY:
                score += tl.sum(own_edge_key * features, 3)
        else:
            z = own + theirs
            if EDGE_KEY:
                z = add_features(z, weight, attr, edge, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS)
            active = activate(z, SCALE, SCORE)
            score = tl.sum(vector * active, 3)
            theirs = steepness(z, active, SCALE, SCORE)  # what a slope is multiplied by
        if bias is not None:
            score += load_heads(bias, edge, inside, head, HEADS, 1)
        score = tl.where(inside[:, :, None], score, float("-inf"))
        alpha = weight_of(score, statistic, NORMALISER)
        if seed is not None:
            product *= dropout_factors(seed, edge, first_head, threshold, FACTOR, TILE_HEADS, COMPUTE)
        if NORMALISER == "softmax":
            alpha *= inverse
            slope = alpha * (product - mean)
            rest += tl.sum(slope, 1)
            total += tl.sum(alpha, 1)
            plain_sum += tl.sum(alpha[:, :, :, None] * theirs, 1)
            if EDGE_KEY and SCORE == "dot":
                plain_feature_sum += tl.sum(alpha[:, :, :, None] * features, 1)
        else:
            slope = slope_of(alpha, score, product, statistic, NORMALISER)
        key_sum += tl.sum(slope[:, :, :, None] * theirs, 1)
        if EDGE_KEY and SCORE == "dot":
            feature_sum += tl.sum(slope[:, :, :, None] * features, 1)
    if states is not None:
        LENGTH: tl.constexpr = 2 + 2 * KEY_CHANNELS + 2 * EDGE_CHANNELS
        known = (there & (part != 0))[:, None] & (head < HEADS)[None, :]
        place = states + (piece[:, None].to(tl.int64) * HEADS + head[None, :]) * LENGTH
        channel = tl.arange(0, KEY_PADDED)
        inner = known[:, :, None] & (channel < KEY_CHANNELS)[None, None, :]
        inner_place = place[:, :, None] + 2 + channel[None, None, :]
        tl.store(inner_place, key_sum, mask=inner)
        if NORMALISER == "softmax":
            tl.store(place, rest, mask=known)
            tl.store(place + 1, total, mask=known)
            tl.store(inner_place + KEY_CHANNELS, plain_sum, mask=inner)
        if EDGE_KEY and SCORE == "dot":
            channel = tl.arange(0, EDGE_PADDED)
            inner = known[:, :, None] & (channel < EDGE_CHANNELS)[None, None, :]
            inner_place = place[:, :, None] + (2 + 2 * KEY_CHANNELS) + channel[None, None, :]
            tl.store(inner_place, feature_sum, mask=inner)
            if NORMALISER == "softmax":
                tl.store(inner_place + EDGE_CHANNELS, plain_feature_sum, mask=inner)
        there = there & (part == 0)
    known = there[:, None] & (head < HEADS)[None, :]
    place = statistics + row[:, None].to(tl.int64) * (3 * HEADS) + head[None, :]
    tl.store(place, tl.sum(statistic, 1), mask=known)
    if NORMALISER == "softmax":
        more = rest / tl.where(total > 0, total, 1.0)
        tl.store(place + HEADS, tl.sum(inverse, 1), mask=known)
        tl.store(place + 2 * HEADS, tl.sum(mean, 1) + more, mask=known)
        key_sum -= more[:, :, None] * plain_sum
        if EDGE_KEY and SCORE == "dot":
            feature_sum -= more[:, :, None] * plain_feature_sum
    if SCORE == "dot":
        key_sum *= SCALE
    else:
        key_sum *= tl.sum(vector, 1)
    store_tile(of_query, of_query_stride, row, there, head, key_sum, HEADS, KEY_CHANNELS, KEY_PADDED)
    if EDGE_KEY and SCORE == "dot":
        store_tile(of_edge_key, HEADS * EDGE_CHANNELS, row, there, head, feature_sum, HEADS, EDGE_CHANNELS, EDGE_PADDED)


@triton.jit
def merge_rows(
    pieces, pointers, weight, out, gradient, kept, statistics, of_query, of_query_stride, of_edge_key, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, COMPUTE: tl.constexpr, EDGE_KEY: tl.constexpr,
    SCALE: tl.constexpr, TILE_HEADS: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr,
    EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's piece; any other piece is none of its business."""
    piece = tl.program_id(0)
    row, first = tl.load(pieces + piece * 4), tl.load(pieces + piece * 4 + 1)
    start, stop = tl.load(pointers + row), tl.load(pointers + row + 1)
    if (tl.load(pieces + piece * 4 + 3) != 0) & (first == start):
        LENGTH: tl.constexpr = 2 + 2 * KEY_CHANNELS + 2 * EDGE_CHANNELS
        size = tl.load(pieces + piece * 4 + 2) - first
        head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
        channel, feature = tl.arange(0, KEY_PADDED), tl.arange(0, EDGE_PADDED)
        known = head < HEADS
        inner = known[:, None] & (channel < KEY_CHANNELS)[None, :]
        inner_feature = known[:, None] & (feature < EDGE_CHANNELS)[None, :]
        rest = tl.zeros([TILE_HEADS], COMPUTE)
        total = tl.zeros([TILE_HEADS], COMPUTE)
        key_sum = tl.zeros([TILE_HEADS, KEY_PADDED], COMPUTE)
        plain_sum = tl.zeros([TILE_HEADS, KEY_PADDED], COMPUTE)
        feature_sum = tl.zeros([TILE_HEADS, EDGE_PADDED], COMPUTE)
        plain_feature_sum = tl.zeros([TILE_HEADS, EDGE_PADDED], COMPUTE)
        for turn in range((stop - first + size - 1) // size):
            place = states + ((piece + turn).to(tl.int64) * HEADS + head) * LENGTH
            inner_place = place[:, None] + 2 + channel[None, :]
            feature_place = place[:, None] + (2 + 2 * KEY_CHANNELS) + feature[None, :]
            key_sum += tl.load(inner_place, mask=inner, other=0.0)
            if NORMALISER == "softmax":
                rest += tl.load(place, mask=known, other=0.0)
                total += tl.load(place + 1, mask=known, other=0.0)
                plain_sum += tl.load(inner_place + KEY_CHANNELS, mask=inner, other=0.0)
            if EDGE_KEY and SCORE == "dot":
                feature_sum += tl.load(feature_place, mask=inner_feature, other=0.0)
                if NORMALISER == "softmax":
                    plain_feature_sum += tl.load(feature_place + EDGE_CHANNELS, mask=inner_feature, other=0.0)
        here = row + tl.zeros([1, 1], row.dtype)
        there = here >= 0
        place = statistics + row.to(tl.int64) * (3 * HEADS) + head
        if NORMALISER == "softmax":
            mine = load_tile(out, HEADS * VALUE_CHANNELS, here, there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
            outer = load_tile(gradient, HEADS * VALUE_CHANNELS, here, there, head, HEADS, VALUE_CHANNELS, VALUE_PADDED)
            mean = tl.reshape(tl.sum(mine.to(COMPUTE) * outer.to(COMPUTE), 3), [TILE_HEADS])
            more = rest / tl.where(total > 0, total, 1.0)
            of_row = kept + row.to(tl.int64) * (2 * HEADS) + head
            tl.store(place, tl.load(of_row, mask=known, other=0.0), mask=known)
            tl.store(place + HEADS, tl.load(of_row + HEADS, mask=known, other=0.0), mask=known)
            tl.store(place + 2 * HEADS, mean + more, mask=known)
            key_sum -= more[:, None] * plain_sum
            feature_sum -= more[:, None] * plain_feature_sum
        else:
            statistic = row_statistic(stop - start, NORMALISER, COMPUTE)
            tl.store(place, statistic + tl.zeros([TILE_HEADS], COMPUTE), mask=known)
        if SCORE == "dot":
            key_sum *= SCALE
        else:
            key_sum *= tl.reshape(load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED), [TILE_HEADS, KEY_PADDED])
        one, is_there = tl.reshape(here, [1]), tl.reshape(there, [1])
        store_tile(of_query, of_query_stride, one, is_there, head, key_sum[None, :, :], HEADS, KEY_CHANNELS, KEY_PADDED)
        if EDGE_KEY and SCORE == "dot":
            store_tile(
                of_edge_key,
                HEADS * EDGE_CHANNELS,
                one,
                is_there,
                head,
                feature_sum[None, :, :],
                HEADS,
                EDGE_CHANNELS,
                EDGE_PADDED,
            )


@triton.jit(do_not_specialize=["num_pieces"])
def backward_columns(
    pieces, num_pieces, pointers, neighbours, edges, keys, key_stride, values, value_stride, queries, query_stride, weight,
    bias, attr, edge_keys, seed, threshold, gradient, feature_gradient, statistics, of_key, of_key_stride,
    of_value, of_value_stride, of_bias, of_attr, of_weight, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, NORMALISER: tl.constexpr, BLOCKS: tl.constexpr, SHARED: tl.constexpr, COMPUTE: tl.constexpr,
    EDGE_KEY: tl.constexpr, EDGE_VALUE: tl.constexpr, SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, EDGES: tl.constexpr, TILE_HEADS: tl.constexpr,
    KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, EDGE_PADDED: tl.constexpr,
):  # fmt: skip
    """One program takes TILE_HEADS heads and ROWS pieces at a time, more than once where all programs share a weight.

    The gradients of an additive score's weights are sums over all edges: each program keeps a sum of its own.
    """
    first_head = tl.program_id(1) * TILE_HEADS
    head = first_head + tl.arange(0, TILE_HEADS)
    if SCORE != "dot":
        vector = load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED)
    if of_weight is not None:
        own_weights = of_weight + tl.program_id(0).to(tl.int64) * ((1 + EDGE_CHANNELS * EDGE_KEY) * HEADS * KEY_CHANNELS)
        vector_sum = tl.zeros([TILE_HEADS, KEY_PADDED], COMPUTE)
    for turn in range(tl.program_id(0), tl.cdiv(num_pieces, ROWS), tl.num_programs(0)):
        piece = turn * ROWS + tl.arange(0, ROWS)
        there, row, first, end, part, start, degree = load_pieces(pieces, piece, num_pieces, pointers)
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
            if bias is not None or seed is not None or EDGE_KEY or EDGE_VALUE:
                edge = edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS, True)
            if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
                features = load_features(attr, edge, inside, EDGE_CHANNELS, EDGE_PADDED)
            product = tl.where(inside[:, :, None], tl.sum(own_value * outer, 3), 0.0)  # not infinity times nothing
            if EDGE_VALUE:
                outer_features = load_tile(
                    feature_gradient, HEADS * EDGE_CHANNELS, target, inside, head, HEADS, EDGE_CHANNELS, EDGE_PADDED
                )
                product += tl.sum(outer_features * features, 3)
            if SCORE == "dot":
                score = tl.sum(own * theirs, 3) * SCALE
                if EDGE_KEY:
                    edge_key = load_tile(
                        edge_keys, HEADS * EDGE_CHANNELS, target, inside, head, HEADS, EDGE_CHANNELS, EDGE_PADDED
                    )
                    score += tl.sum(edge_key * features, 3)
            else:
                z = own + theirs
                if EDGE_KEY:
                    z = add_features(z, weight, attr, edge, inside, head, HEADS, KEY_CHANNELS, KEY_PADDED, EDGE_CHANNELS)
                active = activate(z, SCALE, SCORE)
                score = tl.sum(vector * active, 3)
                theirs = steepness(z, active, SCALE, SCORE)  # what a slope is multiplied by
            if bias is not None:
                score += load_heads(bias, edge, inside, head, HEADS, 1)
            score = tl.where(inside[:, :, None], score, float("-inf"))
            alpha = weight_of(score, statistic, NORMALISER)
            if NORMALISER == "softmax":
                alpha *= load_heads(statistics + HEADS, target, inside, head, HEADS, 3)
            kept_alpha = alpha
            if seed is not None:
                factors = dropout_factors(seed, edge, first_head, threshold, FACTOR, TILE_HEADS, COMPUTE)
                product *= factors
                kept_alpha *= factors
            if NORMALISER == "softmax":
                product -= load_heads(statistics + 2 * HEADS, target, inside, head, HEADS, 3)
            slope = slope_of(alpha, score, product, statistic, NORMALISER)
            key_sum += tl.sum(slope[:, :, :, None] * theirs, 1)
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
                    of_z = slope[:, :, :, None] * theirs * vector
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
            known = (there & (part != 0))[:, None] & (head < HEADS)[None, :]
            place = states + (piece[:, None].to(tl.int64) * HEADS + head[None, :]) * LENGTH
            channel = tl.arange(0, KEY_PADDED)
            inner = known[:, :, None] & (channel < KEY_CHANNELS)[None, None, :]
            tl.store(place[:, :, None] + channel[None, None, :], key_sum, mask=inner)
            channel = tl.arange(0, VALUE_PADDED)
            inner = known[:, :, None] & (channel < VALUE_CHANNELS)[None, None, :]
            tl.store(place[:, :, None] + KEY_CHANNELS + channel[None, None, :], value_sum, mask=inner)
            there = there & (part == 0)
        if SCORE == "dot":
            key_sum *= SCALE
        else:
            key_sum *= tl.sum(vector, 1)
        if SHARED:
            key_sum += value_sum
        else:
            store_tile(of_value, of_value_stride, row, there, head, value_sum, HEADS, VALUE_CHANNELS, VALUE_PADDED)
        store_tile(of_key, of_key_stride, row, there, head, key_sum, HEADS, KEY_CHANNELS, KEY_PADDED)
    if of_weight is not None:
        _add_to_map(own_weights, 0, head, vector_sum, HEADS, KEY_CHANNELS, KEY_PADDED)


@triton.jit
def _add_to_map(sums, row, head, more, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    channel = tl.arange(0, PADDED)
    place = sums + (row * HEADS + head[:, None]) * CHANNELS + channel[None, :]
    known = (head[:, None] < HEADS) & (channel[None, :] < CHANNELS)
    tl.store(place, tl.load(place, mask=known, other=0.0) + more, mask=known)


@triton.jit
def merge_columns(
    pieces, pointers, weight, of_key, of_key_stride, of_value, of_value_stride, states,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, SCORE: tl.constexpr,
    SHARED: tl.constexpr, COMPUTE: tl.constexpr, SCALE: tl.constexpr, TILE_HEADS: tl.constexpr, KEY_PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
):  # fmt: skip
    """Finishes the row whose first part is this program's piece; any other piece is none of its business."""
    piece = tl.program_id(0)
    row, first = tl.load(pieces + piece * 4), tl.load(pieces + piece * 4 + 1)
    start, stop = tl.load(pointers + row), tl.load(pointers + row + 1)
    if (tl.load(pieces + piece * 4 + 3) != 0) & (first == start):
        LENGTH: tl.constexpr = KEY_CHANNELS + VALUE_CHANNELS
        size = tl.load(pieces + piece * 4 + 2) - first
        head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
        channel, value_channel = tl.arange(0, KEY_PADDED), tl.arange(0, VALUE_PADDED)
        known = head < HEADS
        inner = known[:, None] & (channel < KEY_CHANNELS)[None, :]
        inner_value = known[:, None] & (value_channel < VALUE_CHANNELS)[None, :]
        key_sum = tl.zeros([TILE_HEADS, KEY_PADDED], COMPUTE)
        value_sum = tl.zeros([TILE_HEADS, VALUE_PADDED], COMPUTE)
        for turn in range((stop - first + size - 1) // size):
            place = states + ((piece + turn).to(tl.int64) * HEADS + head) * LENGTH
            key_sum += tl.load(place[:, None] + channel[None, :], mask=inner, other=0.0)
            value_sum += tl.load(place[:, None] + KEY_CHANNELS + value_channel[None, :], mask=inner_value, other=0.0)
        if SCORE == "dot":
            key_sum *= SCALE
        else:
            key_sum *= tl.reshape(load_map(weight, 0, head, HEADS, KEY_CHANNELS, KEY_PADDED), [TILE_HEADS, KEY_PADDED])
        here = row + tl.zeros([1], row.dtype)
        there = here >= 0
        if SHARED:
            key_sum += value_sum
        else:
            store_tile(of_value, of_value_stride, here, there, head, value_sum[None, :, :], HEADS, VALUE_CHANNELS, VALUE_PADDED)
        store_tile(of_key, of_key_stride, here, there, head, key_sum[None, :, :], HEADS, KEY_CHANNELS, KEY_PADDED)
