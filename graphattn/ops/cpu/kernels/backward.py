"""Backward, one end of the edges at a time; weights are recomputed from the saved statistics.

With COLUMNS off a row is a target: the gradients of its query, of the bias, of the edge features and of the weight vector,
and the two statistics of the row that sources will need. With COLUMNS on a row is a source: the gradients of its key and of
its value. Each row is written by one thread, so nothing is atomic. A row with very many edges is cut into parts, which are
added up afterwards in their order.
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
    INDEX,
    ITEM,
    KEY_ROW,
    KEY_TILES,
    SCORES,
    SIZE,
    STORED,
    VALUE_ROW,
    VALUE_TILE_CHANNELS,
    VALUE_TILE_HEADS,
    VALUE_TILES,
    add_bias,
    clear,
    draw_dropout,
    edge_at,
    edge_products,
    node_at,
    pad,
    source_of_row,
    value_products,
)
from graphattn.ops.cpu.kernels.constants import (
    BLOCKS,
    COLUMNS,
    COMPUTE,
    DROPOUT,
    EDGE_CHANNELS,
    EDGE_KEY,
    EDGE_TILE,
    EDGE_VALUE,
    HEADS,
    INDEX_BITS,
    KEEPS_STATE,
    KEY_TILE,
    NEEDS_DELTA,
    SCORE,
    SHARED,
    STORAGE,
    SUMS_TO_ONE,
    VALUE_CHANNELS,
    VALUE_TILE,
)
from graphattn.ops.cpu.kernels.normaliser_softmax import centre, row_statistic, slope_of, weight_of
from graphattn.ops.cpu.kernels.score_dot import WEIGHT_SUMS, own_gradient, score_block, score_gradient
from graphattn.ops.cpu.simd import (
    add,
    as_float,
    div,
    fma,
    fold,
    head_sum,
    load,
    load_arguments,
    load_index,
    mul,
    scratch,
    splat,
    spread,
    store,
    take_next,
    tile,
    where_positive,
)

# The statistics of a target, by head: what is taken off its scores; what the exponentials of softmax are multiplied by; and
# what is taken off the gradients of its weights, Σ α g.
FACTOR, MEAN, STATISTICS = HEADS * SIZE, 2 * HEADS * SIZE, 3 * HEADS * SIZE
# A state: the sums for the gradients of the row's key (or query), of its value, and of its vectors on edge features.
VALUES = KEY_ROW * SIZE
FEATURES = VALUES + (VALUE_ROW * SIZE if COLUMNS else 0)
STATE = FEATURES + (EDGE_ROW * SIZE if EDGE_KEY and SCORE == "dot" and not COLUMNS else 0)


@inline
def begin_statistics(row, degree, kept, place):
    """What is known of a target before its edges are read, see the normalisers; Σ α g is still to come."""
    if KEEPS_STATE:
        store(place, load(kept + row * 2 * HEADS * SIZE, HEADS, COMPUTE), COMPUTE)
        store(place + FACTOR, load(kept + (row * 2 + 1) * HEADS * SIZE, HEADS, COMPUTE), COMPUTE)
    else:
        store(place, splat(row_statistic(degree), HEADS, COMPUTE), COMPUTE)
    if NEEDS_DELTA:
        store(place + MEAN, splat(0.0, HEADS, COMPUTE), COMPUTE)


@inline
def product_of_output(row, out, gradient, feature_sums, feature_gradient, place):
    """Σ α g of a target's edges without looking at them: it is the product of its output and that one's gradient."""
    for t in range(VALUE_TILES):
        mine = load(out + (row * VALUE_ROW + t * VALUE_TILE) * STORED, VALUE_TILE, STORAGE)
        product = mul(mine, load(gradient + (row * VALUE_ROW + t * VALUE_TILE) * STORED, VALUE_TILE, STORAGE))
        head = place + t * VALUE_TILE // VALUE_CHANNELS * SIZE
        store(head, add(load(head, VALUE_TILE_HEADS, COMPUTE), head_sum(product, VALUE_TILE_HEADS)), COMPUTE)
    if EDGE_VALUE and feature_sums != 0:  # else what they add is in the output already
        for t in range(EDGE_TILES):
            mine = load(feature_sums + (row * EDGE_ROW + t * EDGE_TILE) * SIZE, EDGE_TILE, COMPUTE)
            product = mul(mine, load(feature_gradient + (row * EDGE_ROW + t * EDGE_TILE) * SIZE, EDGE_TILE, COMPUTE))
            head = place + t * EDGE_TILE_HEADS * SIZE
            store(head, add(load(head, EDGE_TILE_HEADS, COMPUTE), head_sum(product, EDGE_TILE_HEADS)), COMPUTE)


@inline
def weigh_block(scores, products, weights, factors, begin, count, source, statistics):
    """Scores become weights (in `weights`), products are multiplied by what dropout keeps."""
    if COLUMNS:
        for k in range(count):
            place = k * HEADS * SIZE
            row = statistics + node_at(source, begin + k) * STATISTICS
            score, product = centre(
                load(scores + place, HEADS, COMPUTE), load(products + place, HEADS, COMPUTE),
                load(row, HEADS, COMPUTE), load(row + MEAN, HEADS, COMPUTE),
            )  # fmt: skip
            if DROPOUT:
                kept = mul(load(products + place, HEADS, COMPUTE), load(factors + place, HEADS, COMPUTE))
                _, product = centre(score, kept, load(row, HEADS, COMPUTE), load(row + MEAN, HEADS, COMPUTE))
            store(scores + place, score, COMPUTE)
            store(products + place, product, COMPUTE)
    else:
        first = tile(load(statistics, HEADS, COMPUTE), FLAT_EDGES)
        factor = tile(load(statistics + FACTOR, HEADS, COMPUTE), FLAT_EDGES)
    for k in range(0, count * HEADS, FLAT):
        score = load(scores + k * SIZE, FLAT, COMPUTE)
        if not COLUMNS:
            score, _ = centre(score, score, first, first)
            store(scores + k * SIZE, score, COMPUTE)
            if DROPOUT:
                kept = mul(load(products + k * SIZE, FLAT, COMPUTE), load(factors + k * SIZE, FLAT, COMPUTE))
                store(products + k * SIZE, kept, COMPUTE)
        weight = weight_of(score)
        if KEEPS_STATE and not COLUMNS:
            weight = mul(weight, factor)
        store(weights + k * SIZE, weight, COMPUTE)
    if KEEPS_STATE and COLUMNS:
        for k in range(count):
            place = k * HEADS * SIZE
            row = statistics + node_at(source, begin + k) * STATISTICS
            weight = mul(load(weights + place, HEADS, COMPUTE), load(row + FACTOR, HEADS, COMPUTE))
            store(weights + place, weight, COMPUTE)


@inline
def add_products(sums, weights, products, count, complete):
    """Sums α g over a row's edges, and α.

    Edge by edge it is exact where gradients nearly cancel, or where the output was rounded. Where weights sum to one, Σ α g is
    divided by their sum, which rounding keeps from being one, and so the slopes of a row sum to zero.
    """
    running, total = splat(0.0, FLAT, COMPUTE), splat(0.0, FLAT, COMPUTE)
    for k in range(0, count * HEADS, FLAT):
        weight = load(weights + k * SIZE, FLAT, COMPUTE)
        running = fma(weight, load(products + k * SIZE, FLAT, COMPUTE), running)
        total = add(total, weight)
    running = add(load(sums, HEADS, COMPUTE), fold(running, HEADS))
    total = add(load(sums + HEADS * SIZE, HEADS, COMPUTE), fold(total, HEADS))
    if SUMS_TO_ONE and complete:
        # A row of nothing but -inf has no weights, and nothing to divide by.
        running = div(running, where_positive(total, total, splat(1.0, HEADS, COMPUTE)))
    store(sums, running, COMPUTE)
    store(sums + HEADS * SIZE, total, COMPUTE)


@inline
def slope_block(scores, products, weights, factors, count, statistics):
    """Scores become slopes (∂L/∂s), and weights are multiplied by what dropout keeps."""
    if not COLUMNS:
        first = tile(load(statistics, HEADS, COMPUTE), FLAT_EDGES)
        second = tile(load(statistics + MEAN, HEADS, COMPUTE), FLAT_EDGES)
    for k in range(0, count * HEADS, FLAT):
        score, product = load(scores + k * SIZE, FLAT, COMPUTE), load(products + k * SIZE, FLAT, COMPUTE)
        if not COLUMNS:
            _, product = centre(score, product, first, second)
        weight = load(weights + k * SIZE, FLAT, COMPUTE)
        store(scores + k * SIZE, slope_of(weight, score, product), COMPUTE)
        if DROPOUT and (COLUMNS or EDGE_VALUE):
            store(weights + k * SIZE, mul(weight, load(factors + k * SIZE, FLAT, COMPUTE)), COMPUTE)


@inline
def value_gradient(total, weights, begin, count, source, gradient):
    """total += Σ weight · gradient of the target's output."""
    for t in range(VALUE_TILES):
        place = total + t * VALUE_TILE * SIZE
        running = load(place, VALUE_TILE, COMPUTE)
        head = t * VALUE_TILE // VALUE_CHANNELS
        for k in range(count):
            weight = load(weights + (k * HEADS + head) * SIZE, VALUE_TILE_HEADS, COMPUTE)
            row = gradient + (node_at(source, begin + k) * VALUE_ROW + t * VALUE_TILE) * STORED
            running = fma(spread(weight, VALUE_TILE_CHANNELS), load(row, VALUE_TILE, STORAGE), running)
        store(place, running, COMPUTE)


@inline
def feature_gradients(slopes, weights, begin, count, edges, step, attr, attr_gradient, key_vectors, value_vectors, total):
    """Of the features of each edge (their gradient: Σ over heads), and of the target's vectors on them (`total`)."""
    for t in range(EDGE_TILES):
        if EDGE_KEY and SCORE == "dot":
            key_vector = load(key_vectors + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE)
            running = load(total + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE)
        if EDGE_VALUE:
            value_vector = load(value_vectors + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE)
        for k in range(count):
            place = edge_at(edges, step, begin + k) * EDGE_CHANNELS * SIZE
            head = (k * HEADS + t * EDGE_TILE_HEADS) * SIZE
            if EDGE_KEY and SCORE == "dot":
                slope = spread(load(slopes + head, EDGE_TILE_HEADS, COMPUTE), EDGE_CHANNELS)
                running = fma(slope, tile(load(attr + place, EDGE_CHANNELS, COMPUTE), EDGE_TILE_HEADS), running)
                if attr_gradient != 0:
                    before = load(attr_gradient + place, EDGE_CHANNELS, COMPUTE)
                    store(attr_gradient + place, add(before, fold(mul(slope, key_vector), EDGE_CHANNELS)), COMPUTE)
            if EDGE_VALUE and attr_gradient != 0:
                weight = spread(load(weights + head, EDGE_TILE_HEADS, COMPUTE), EDGE_CHANNELS)
                before = load(attr_gradient + place, EDGE_CHANNELS, COMPUTE)
                store(attr_gradient + place, add(before, fold(mul(weight, value_vector), EDGE_CHANNELS)), COMPUTE)
        if EDGE_KEY and SCORE == "dot":
            store(total + t * EDGE_TILE * SIZE, running, COMPUTE)


@inline
def finish(state, row, weight, scale, own_out, own_stride, value_out, value_out_stride, edge_key_out):
    """A row's state becomes its gradients."""
    for t in range(KEY_TILES):
        gradient = own_gradient(state, weight, t, scale)
        if COLUMNS and SHARED:
            gradient = add(gradient, load(state + VALUES + t * KEY_TILE * SIZE, KEY_TILE, COMPUTE))
        store(own_out + row * own_stride + t * KEY_TILE * STORED, gradient, STORAGE)
    if COLUMNS and not SHARED:
        for t in range(VALUE_TILES):
            gradient = load(state + VALUES + t * VALUE_TILE * SIZE, VALUE_TILE, COMPUTE)
            store(value_out + row * value_out_stride + t * VALUE_TILE * STORED, gradient, STORAGE)
    if EDGE_KEY and SCORE == "dot" and not COLUMNS:
        for t in range(EDGE_TILES):
            gradient = load(state + FEATURES + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE)
            store(edge_key_out + (row * EDGE_ROW + t * EDGE_TILE) * SIZE, gradient, COMPUTE)


def backward(arguments):
    """Takes items of work until none is left. `own` tables belong to the row, `other` tables to its neighbours."""
    # fmt: off
    (_, num_items, items, pointers, neighbours, edge_list, own_keys, own_key_stride, own_values, own_value_stride,
     other_keys, other_key_stride, other_values, other_value_stride, weight, bias, attr, edge_keys, feature_gradient,
     feature_sums, seed, threshold, factor_bits, scale_bits, out, kept, statistics, own_out, own_out_stride, value_out,
     value_out_stride, bias_gradient, attr_gradient, edge_key_out, states, sums) = load_arguments(arguments, 36)
    # fmt: on
    scale, dropout_factor = as_float(scale_bits), as_float(factor_bits)
    own_state, scores, products, weights = scratch(STATE), scratch(SCORES), scratch(SCORES), scratch(SCORES)
    sums_of_row, statistics_of_part = scratch(STATISTICS), scratch(STATISTICS)
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
        item_sums = sums + item * WEIGHT_SUMS * SIZE
        if WEIGHT_SUMS:
            clear(item_sums, WEIGHT_SUMS)
        for row in range(first, end):
            row_start = load_index(pointers + row * INDEX, INDEX_BITS)
            degree = load_index(pointers + (row + 1) * INDEX, INDEX_BITS) - row_start
            start = load_index(table + 16, 64) if part else row_start
            stop = last + 1 if part else row_start + degree
            source = source_of_row(neighbours, pointers, row)
            edges, step = edge_list, 1
            if BLOCKS:
                edges = 0
                if COLUMNS:
                    # The row of a source holds every degree-th pair of its block, from its own column on.
                    origin = load_index(neighbours + row * INDEX, INDEX_BITS)
                    step = degree
                    edges = load_index(pointers + origin * INDEX, INDEX_BITS) + row - origin - row_start * degree
            own_key, own_value = own_keys + row * own_key_stride, own_values + row * own_value_stride
            row_of_statistics = statistics
            edge_key, edge_key_table = edge_keys + row * EDGE_ROW * SIZE, 0
            edge_value, edge_value_table = feature_gradient + row * EDGE_ROW * SIZE, 0
            if COLUMNS:
                edge_key_table, edge_value_table = edge_keys, feature_gradient
            else:
                # Other threads may have other parts of this row. All find the same numbers, each in a place of its own; the
                # first part's are kept.
                row_of_statistics = statistics_of_part if part else statistics + row * STATISTICS
                begin_statistics(row, degree, kept, row_of_statistics)
            # Σ α g is summed over the edges of a row. Where they are more than a block, that would take a sweep of
            # its own; there the output's product serves, unless the output was rounded to bfloat16.
            at_once = stop - start <= BLOCK and not part
            sweeps = 1
            if NEEDS_DELTA and not COLUMNS and not at_once:
                if STORAGE == "bfloat16" and not part:
                    sweeps = 2
                else:
                    product_of_output(row, out, own_values, feature_sums, feature_gradient, row_of_statistics + MEAN)
            if part and start == row_start and not COLUMNS:
                for k in range(0, 3 * HEADS if KEEPS_STATE or NEEDS_DELTA else HEADS, HEADS):
                    statistic = load(statistics_of_part + k * SIZE, HEADS, COMPUTE)
                    store(statistics + row * STATISTICS + k * SIZE, statistic, COMPUTE)
            clear(state, STATE // SIZE)
            clear(sums_of_row, 2 * HEADS)
            blocks = (stop - start + BLOCK - 1) // BLOCK
            for turn in range(sweeps * blocks):
                begin = start + turn % blocks * BLOCK
                count, looking = min(BLOCK, stop - begin), turn < (sweeps - 1) * blocks
                score_block(
                    scores, begin, count, last, source, edges, step, own_key, other_keys, other_key_stride, weight, attr, scale
                )
                if EDGE_KEY and SCORE == "dot":
                    edge_products(scores, begin, count, source, edges, step, attr, edge_key, edge_key_table)
                if bias != 0:
                    add_bias(scores, begin, count, edges, step, bias)
                value_products(products, begin, count, last, source, own_value, other_values, other_value_stride, statistics)
                if EDGE_VALUE:
                    edge_products(products, begin, count, source, edges, step, attr, edge_value, edge_value_table)
                pad(scores, count, -np.inf)
                pad(products, count, 0.0)
                if DROPOUT:
                    draw_dropout(factors, begin, count, edges, step, seed, threshold, dropout_factor, numbers, drawn)
                weigh_block(scores, products, weights, factors, begin, count, source, row_of_statistics)
                if NEEDS_DELTA and not COLUMNS and (at_once or looking):
                    add_products(sums_of_row, weights, products, count, at_once or turn == blocks - 1)
                    store(row_of_statistics + MEAN, load(sums_of_row, HEADS, COMPUTE), COMPUTE)
                if looking:
                    continue
                slope_block(scores, products, weights, factors, count, row_of_statistics)
                score_gradient(
                    state, scores, begin, count, source, edges, step, own_key, other_keys, other_key_stride, weight, attr,
                    attr_gradient, item_sums, scale,
                )  # fmt: skip
                if COLUMNS:
                    value_gradient(state + VALUES, weights, begin, count, source, other_values)
                else:
                    if bias_gradient != 0:
                        for k in range(count):
                            place = bias_gradient + edge_at(edges, step, begin + k) * HEADS * SIZE
                            store(place, load(scores + k * HEADS * SIZE, HEADS, COMPUTE), COMPUTE)
                    if EDGE_VALUE or (EDGE_KEY and SCORE == "dot"):
                        feature_gradients(
                            scores, weights, begin, count, edges, step, attr, attr_gradient, edge_key, edge_value,
                            state + FEATURES,
                        )  # fmt: skip
            if not part:
                finish(state, row, weight, scale, own_out, own_out_stride, value_out, value_out_stride, edge_key_out)


def backward_merge(arguments):
    """Adds up the states of rows that were cut into parts, and what each item has summed over all its edges."""
    # fmt: off
    (_, num_items, items, pointers, weight, scale_bits, own_out, own_out_stride, value_out, value_out_stride, edge_key_out,
     states, sums) = load_arguments(arguments, 13)
    # fmt: on
    whole = 0
    for item in range(num_items):
        table = items + item * ITEM
        if load_index(table + 32, 64):
            row, state = load_index(table, 64), states + item * STATE
            if load_index(table + 16, 64) == load_index(pointers + row * INDEX, INDEX_BITS):
                whole = state
            else:
                for k in range(0, STATE // SIZE, HEADS):
                    place = whole + k * SIZE
                    store(place, add(load(place, HEADS, COMPUTE), load(state + k * SIZE, HEADS, COMPUTE)), COMPUTE)
            if load_index(table + 24, 64) == load_index(pointers + (row + 1) * INDEX, INDEX_BITS):
                finish(
                    whole, row, weight, as_float(scale_bits), own_out, own_out_stride, value_out, value_out_stride, edge_key_out
                )
        if item > 0:
            for k in range(0, WEIGHT_SUMS, HEADS):
                item_sum = load(sums + (item * WEIGHT_SUMS + k) * SIZE, HEADS, COMPUTE)
                store(sums + k * SIZE, add(load(sums + k * SIZE, HEADS, COMPUTE), item_sum), COMPUTE)
