"""Forward: for each row, blocks of edges; scores, then weights, then sums. Nothing larger than a block is kept.

What a row has gathered so far is its state: the largest score and the sum of exponentials of each head, and the weighted
sums of values and of edge features. A row with very many edges is cut into parts, each with a state of its own; the parts
are merged afterwards, always in the same order.
"""

import numpy as np

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.common import (
    BLOCK,
    DRAWN,
    EDGE_ROW,
    EDGE_TILE_HEADS,
    EDGE_TILES,
    FACTORS,
    FLAT,
    FLAT_EDGES,
    HEAD_ROW,
    INDEX,
    ITEM,
    SCORES,
    SIZE,
    STORED,
    VALUE_ROW,
    VALUE_TILE_CHANNELS,
    VALUE_TILE_HEADS,
    VALUE_TILES,
    add_bias,
    ask_for_values,
    clear,
    draw_dropout,
    edge_at,
    edge_products,
    node_at,
    pad,
    source_of_row,
)
from graphattn.ops.cpu.kernels.constants import (
    BLOCKS,
    COMPUTE,
    DROPOUT,
    EDGE_CHANNELS,
    EDGE_KEY,
    EDGE_TILE,
    EDGE_VALUE,
    HEADS,
    INDEX_BITS,
    KEEPS_STATE,
    SCORE,
    STORAGE,
    VALUE_CHANNELS,
    VALUE_TILE,
)
from graphattn.ops.cpu.kernels.normaliser_softmax import centre, close_row, row_statistic, weight_of
from graphattn.ops.cpu.kernels.score_dot import score_block
from graphattn.ops.cpu.simd import (
    add,
    as_float,
    div,
    exp,
    fma,
    fold,
    fold_maximum,
    load,
    load_arguments,
    load_index,
    maximum,
    mul,
    scratch,
    splat,
    spread,
    store,
    sub,
    take_next,
    tile,
    where_positive,
)

LOWEST = float(np.finfo(COMPUTE).min)
# A state: the largest scores, the sums of exponentials, the sums of values, the sums of edge features.
TOTAL, VALUES, FEATURES = HEADS * SIZE, 2 * HEADS * SIZE, (2 * HEADS + VALUE_ROW) * SIZE
STATE = FEATURES + (EDGE_ROW * SIZE if EDGE_VALUE else 0)


@inline
def begin_state(state):
    store(state, splat(LOWEST, HEADS, COMPUTE), COMPUTE)
    clear(state + TOTAL, STATE // SIZE - HEADS)


@inline
def rescale(state, factor):
    """Multiplies all sums of a state by a factor for each head."""
    store(state + TOTAL, mul(load(state + TOTAL, HEADS, COMPUTE), load(factor, HEADS, COMPUTE)), COMPUTE)
    for t in range(VALUE_TILES):
        place = state + VALUES + t * VALUE_TILE * SIZE
        of_head = load(factor + t * VALUE_TILE // VALUE_CHANNELS * SIZE, VALUE_TILE_HEADS, COMPUTE)
        store(place, mul(load(place, VALUE_TILE, COMPUTE), spread(of_head, VALUE_TILE_CHANNELS)), COMPUTE)
    if EDGE_VALUE:
        for t in range(EDGE_TILES):
            place = state + FEATURES + t * EDGE_TILE * SIZE
            of_head = load(factor + t * EDGE_TILE_HEADS * SIZE, EDGE_TILE_HEADS, COMPUTE)
            store(place, mul(load(place, EDGE_TILE, COMPUTE), spread(of_head, EDGE_CHANNELS)), COMPUTE)


@inline
def softmax_block(scores, count, state, factor, fresh):
    """Scores become exponentials, with the largest score so far taken off; older sums are rescaled to it."""
    highest = splat(LOWEST, FLAT, COMPUTE)
    for k in range(0, count * HEADS, FLAT):
        highest = maximum(highest, load(scores + k * SIZE, FLAT, COMPUTE))
    before = load(state, HEADS, COMPUTE)
    largest = maximum(before, fold_maximum(highest, HEADS))
    store(state, largest, COMPUTE)
    if not fresh:
        store(factor, exp(sub(before, largest)), COMPUTE)
        rescale(state, factor)
    flat, total = tile(largest, FLAT_EDGES), splat(0.0, FLAT, COMPUTE)
    for k in range(0, count * HEADS, FLAT):
        weight = exp(sub(load(scores + k * SIZE, FLAT, COMPUTE), flat))
        total = add(total, weight)
        store(scores + k * SIZE, weight, COMPUTE)
    store(state + TOTAL, add(load(state + TOTAL, HEADS, COMPUTE), fold(total, HEADS)), COMPUTE)


@inline
def weigh_block(scores, count, statistic):
    """Scores become weights, under a normaliser that looks at one score at a time."""
    flat = splat(statistic, FLAT, COMPUTE)
    for k in range(0, count * HEADS, FLAT):
        score = load(scores + k * SIZE, FLAT, COMPUTE)
        score, _ = centre(score, score, flat, flat)
        store(scores + k * SIZE, weight_of(score), COMPUTE)


@inline
def add_values(state, weights, begin, count, last, source, values, stride):
    """State += Σ weight · value."""
    for t in range(VALUE_TILES):
        place = state + VALUES + t * VALUE_TILE * SIZE
        running = load(place, VALUE_TILE, COMPUTE)
        head = t * VALUE_TILE // VALUE_CHANNELS
        for k in range(count):
            if t == 0:
                ask_for_values(source, begin + k, last, values, stride, 0)
            weight = load(weights + (k * HEADS + head) * SIZE, VALUE_TILE_HEADS, COMPUTE)
            row = load(values + node_at(source, begin + k) * stride + t * VALUE_TILE * STORED, VALUE_TILE, STORAGE)
            running = fma(spread(weight, VALUE_TILE_CHANNELS), row, running)
        store(place, running, COMPUTE)


@inline
def add_features(state, weights, begin, count, edges, step, attr):
    """State += Σ weight · edge features."""
    for t in range(EDGE_TILES):
        place = state + FEATURES + t * EDGE_TILE * SIZE
        running = load(place, EDGE_TILE, COMPUTE)
        for k in range(count):
            weight = load(weights + (k * HEADS + t * EDGE_TILE_HEADS) * SIZE, EDGE_TILE_HEADS, COMPUTE)
            feature = load(attr + edge_at(edges, step, begin + k) * EDGE_CHANNELS * SIZE, EDGE_CHANNELS, COMPUTE)
            running = fma(spread(weight, EDGE_CHANNELS), tile(feature, EDGE_TILE_HEADS), running)
        store(place, running, COMPUTE)


@inline
def finish(state, row, factor, out, statistics, feature_sums):
    """A row's state becomes its output; the largest score and the inverse of the sum are kept for backward."""
    one = splat(1.0, HEADS, COMPUTE)
    if KEEPS_STATE:
        largest, total, rescaling = close_row(load(state, HEADS, COMPUTE), load(state + TOTAL, HEADS, COMPUTE))
        # A row of nothing, or of nothing but -inf, has the total zero and gets zero; NaN stays NaN. The two statistics are
        # kept apart: in their log-sum-exp a largest score far from zero would swallow the total.
        inverse = where_positive(total, div(one, total), total)
        store(factor, mul(inverse, rescaling), COMPUTE)
        store(statistics + row * 2 * HEADS * SIZE, largest, COMPUTE)
        store(statistics + (row * 2 + 1) * HEADS * SIZE, inverse, COMPUTE)
        rescale(state, factor)
    for t in range(VALUE_TILES):
        place = out + (row * VALUE_ROW + t * VALUE_TILE) * STORED
        store(place, load(state + VALUES + t * VALUE_TILE * SIZE, VALUE_TILE, COMPUTE), STORAGE)
    if EDGE_VALUE:
        for t in range(EDGE_TILES):
            place = feature_sums + (row * EDGE_ROW + t * EDGE_TILE) * SIZE
            store(place, load(state + FEATURES + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE), COMPUTE)


def forward(arguments):
    """Takes items of work until none is left: whole rows are finished, parts of a row leave their state."""
    # fmt: off
    (_, num_items, items, pointers, neighbours, edge_list, queries, query_stride, keys, key_stride, values, value_stride,
     weight, bias, attr, edge_keys, seed, threshold, factor_bits, scale_bits, out, statistics, feature_sums,
     states) = load_arguments(arguments, 24)
    # fmt: on
    scale, dropout_factor = as_float(scale_bits), as_float(factor_bits)
    own_state, scores, factor = scratch(STATE), scratch(SCORES), scratch(HEAD_ROW)
    factors, numbers, drawn = scratch(FACTORS), scratch(128), scratch(DRAWN)
    while True:
        item = take_next(arguments)
        if item >= num_items:
            break
        table = items + item * ITEM
        first, end = load_index(table, 64), load_index(table + 8, 64)
        part = load_index(table + 32, 64)
        state = states + item * STATE if part else own_state
        last = load_index(table + 24, 64) - 1
        for row in range(first, end):
            start = load_index(table + 16, 64) if part else load_index(pointers + row * INDEX, INDEX_BITS)
            stop = last + 1 if part else load_index(pointers + (row + 1) * INDEX, INDEX_BITS)
            degree = load_index(pointers + (row + 1) * INDEX, INDEX_BITS) - load_index(pointers + row * INDEX, INDEX_BITS)
            source = source_of_row(neighbours, pointers, row)
            edges, step = edge_list, 1
            if BLOCKS:
                edges = 0
            own = queries + row * query_stride
            begin_state(state)
            for begin in range(start, stop, BLOCK):
                count = min(BLOCK, stop - begin)
                score_block(scores, begin, count, last, source, edges, step, own, keys, key_stride, weight, attr, scale)
                if EDGE_KEY and SCORE == "dot":
                    edge_products(scores, begin, count, source, edges, step, attr, edge_keys + row * EDGE_ROW * SIZE, 0)
                if bias != 0:
                    add_bias(scores, begin, count, edges, step, bias)
                pad(scores, count, -np.inf)
                if KEEPS_STATE:
                    softmax_block(scores, count, state, factor, begin == start)
                else:
                    weigh_block(scores, count, row_statistic(degree))
                if DROPOUT:
                    draw_dropout(factors, begin, count, edges, step, seed, threshold, dropout_factor, numbers, drawn)
                    for k in range(0, count * HEADS, FLAT):
                        kept = mul(load(scores + k * SIZE, FLAT, COMPUTE), load(factors + k * SIZE, FLAT, COMPUTE))
                        store(scores + k * SIZE, kept, COMPUTE)
                add_values(state, scores, begin, count, last, source, values, value_stride)
                if EDGE_VALUE:
                    add_features(state, scores, begin, count, edges, step, attr)
            if not part:
                finish(state, row, factor, out, statistics, feature_sums)


def forward_merge(arguments):
    """Merges the states of rows that were cut into parts, by (largest, total, sums), and finishes those rows."""
    _, num_items, items, pointers, out, statistics, feature_sums, states = load_arguments(arguments, 8)
    factor = scratch(HEAD_ROW)
    whole = 0
    for item in range(num_items):
        table = items + item * ITEM
        if load_index(table + 32, 64):
            row, state = load_index(table, 64), states + item * STATE
            if load_index(table + 16, 64) == load_index(pointers + row * INDEX, INDEX_BITS):
                whole = state
            else:
                largest = maximum(load(whole, HEADS, COMPUTE), load(state, HEADS, COMPUTE))
                for merged in (whole, state):
                    store(factor, exp(sub(load(merged, HEADS, COMPUTE), largest)), COMPUTE)
                    if KEEPS_STATE:
                        rescale(merged, factor)
                    store(merged, largest, COMPUTE)
                for k in range(HEADS, STATE // SIZE, HEADS):
                    place = whole + k * SIZE
                    total = add(load(place, HEADS, COMPUTE), load(state + k * SIZE, HEADS, COMPUTE))
                    store(place, total, COMPUTE)
            if load_index(table + 24, 64) == load_index(pointers + (row + 1) * INDEX, INDEX_BITS):
                finish(whole, row, factor, out, statistics, feature_sums)
