"""Full attention of the dot product under softmax, graph by graph, as the small dense matrix products that it is.

The general kernels take the sum over the channels of one pair at a time. Inside a block every query meets every key, so
keys are transposed once, and a vector then holds the scores of one query and head with sixteen keys: sums over channels
need no sums across lanes. Queries are taken four at a time, so that a key is loaded once for four. One thread owns a graph:
gradients of keys and values are added up in place.
"""

import numpy as np
from numba import njit

from graphattn.ops.cpu.kernels.constants import HEADS, KEY_CHANNELS, STORAGE, VALUE_CHANNELS
from graphattn.ops.cpu.simd import (
    add,
    as_float,
    div,
    exp,
    fma,
    head_sum,
    keep_first,
    largest,
    load,
    load_arguments,
    load_index,
    maximum,
    mul,
    splat,
    spread,
    store,
    sub,
    take_next,
    transpose,
    where_positive,
)

inline = njit(forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

SIZE = 8 if STORAGE == "float64" else 4
LANES = 64 // SIZE
KEY_ROW, VALUE_ROW = HEADS * KEY_CHANNELS, HEADS * VALUE_CHANNELS
LOWEST = float(np.finfo(np.float64 if STORAGE == "float64" else np.float32).min)
ROWS = 4  # queries at a time


@inline
def transpose_table(table, stride, nodes, width, target, padded):
    """target[column, node] = table[node, column]; columns beyond the nodes repeat the last node."""
    for node in range(0, nodes, LANES):
        for turn in range(0, width, LANES):
            column = min(turn, width - LANES)
            source = table + node * stride + column * SIZE
            place = target + (column * padded + node) * SIZE
            transpose(source, stride, nodes - 1 - node, place, padded * SIZE, LANES, STORAGE)


@inline
def products(target, first, nodes, padded, rows, stride, transposed, channels, factor):
    """target[row, head, node] = factor · (row · node) for four rows; a row after the last is the last again."""
    row_0, row_1 = rows + min(first, nodes - 1) * stride, rows + min(first + 1, nodes - 1) * stride
    row_2, row_3 = rows + min(first + 2, nodes - 1) * stride, rows + min(first + 3, nodes - 1) * stride
    scale = splat(factor, LANES, STORAGE)
    for head in range(HEADS):
        for node in range(0, padded, LANES):
            zero = splat(0.0, LANES, STORAGE)
            sum_0, sum_1, sum_2, sum_3 = zero, zero, zero, zero
            for channel in range(channels):
                column = (head * channels + channel) * SIZE
                other = load(transposed + (head * channels + channel) * padded * SIZE + node * SIZE, LANES, STORAGE)
                sum_0 = fma(spread(load(row_0 + column, 1, STORAGE), LANES), other, sum_0)
                sum_1 = fma(spread(load(row_1 + column, 1, STORAGE), LANES), other, sum_1)
                sum_2 = fma(spread(load(row_2 + column, 1, STORAGE), LANES), other, sum_2)
                sum_3 = fma(spread(load(row_3 + column, 1, STORAGE), LANES), other, sum_3)
            place = target + (head * padded + node) * SIZE
            step = HEADS * padded * SIZE
            store(place, mul(sum_0, scale), STORAGE)
            store(place + step, mul(sum_1, scale), STORAGE)
            store(place + 2 * step, mul(sum_2, scale), STORAGE)
            store(place + 3 * step, mul(sum_3, scale), STORAGE)


@inline
def add_pair_bias(scores, nodes, padded, bias, pair):
    """scores[head, node] += bias[pair + node, head], for one row."""
    for node in range(nodes):
        for head in range(HEADS):
            place = scores + (head * padded + node) * SIZE
            term = load(bias + ((pair + node) * HEADS + head) * SIZE, 1, STORAGE)
            store(place, add(load(place, 1, STORAGE), term), STORAGE)


@inline
def store_pair_gradient(slopes, nodes, padded, gradient, pair):
    for node in range(nodes):
        for head in range(HEADS):
            place = gradient + ((pair + node) * HEADS + head) * SIZE
            store(place, load(slopes + (head * padded + node) * SIZE, 1, STORAGE), STORAGE)


@inline
def softmax(scores, nodes, padded, statistics):
    """Scores of one row become weights; the largest score and the inverse of the sum are kept for each head."""
    lowest, zero, one = splat(LOWEST, LANES, STORAGE), splat(0.0, LANES, STORAGE), splat(1.0, LANES, STORAGE)
    for head in range(HEADS):
        line = scores + head * padded * SIZE
        top = lowest
        for node in range(0, padded, LANES):
            score = keep_first(load(line + node * SIZE, LANES, STORAGE), nodes - node, lowest)
            top = maximum(top, score)
        top = largest(top)
        total = zero
        for node in range(0, padded, LANES):
            weight = keep_first(exp(sub(load(line + node * SIZE, LANES, STORAGE), top)), nodes - node, zero)
            store(line + node * SIZE, weight, STORAGE)
            total = add(total, weight)
        total = spread(head_sum(total, 1), LANES)
        # A row of nothing but -inf has the total zero and gets zero; NaN stays NaN.
        inverse = where_positive(total, div(one, total), total)
        for node in range(0, padded, LANES):
            store(line + node * SIZE, mul(load(line + node * SIZE, LANES, STORAGE), inverse), STORAGE)
        store(statistics + head * SIZE, head_sum(keep_first(top, 1, zero), 1), STORAGE)
        store(statistics + (HEADS + head) * SIZE, head_sum(keep_first(inverse, 1, zero), 1), STORAGE)


@inline
def weighted_sums(out, out_stride, first, nodes, padded, weights, table, stride, channels, length, factor):
    """out[row, head] = factor · Σ_node weights[row, head, node] · table[node, head], for four rows."""
    step = HEADS * padded * SIZE
    scale = splat(factor, length, STORAGE)
    for head in range(HEADS):
        zero = splat(0.0, length, STORAGE)
        sum_0, sum_1, sum_2, sum_3 = zero, zero, zero, zero
        for node in range(nodes):
            place = weights + (head * padded + node) * SIZE
            row = load(table + node * stride + head * channels * SIZE, length, STORAGE)
            sum_0 = fma(spread(load(place, 1, STORAGE), length), row, sum_0)
            sum_1 = fma(spread(load(place + step, 1, STORAGE), length), row, sum_1)
            sum_2 = fma(spread(load(place + 2 * step, 1, STORAGE), length), row, sum_2)
            sum_3 = fma(spread(load(place + 3 * step, 1, STORAGE), length), row, sum_3)
        # From the last row to the first: one that stands for a row after the last is written over by it.
        column = head * channels * SIZE
        store(out + min(first + 3, nodes - 1) * out_stride + column, mul(sum_3, scale), STORAGE)
        store(out + min(first + 2, nodes - 1) * out_stride + column, mul(sum_2, scale), STORAGE)
        store(out + min(first + 1, nodes - 1) * out_stride + column, mul(sum_1, scale), STORAGE)
        store(out + first * out_stride + column, mul(sum_0, scale), STORAGE)


@inline
def add_outer(out, out_stride, first, nodes, padded, weights, rows, stride, channels, length, factor):
    """out[node, head] += factor · Σ_row weights[row, head, node] · rows[row, head], for four rows; none after the last."""
    row_0, row_1 = rows + first * stride, rows + min(first + 1, nodes - 1) * stride
    row_2, row_3 = rows + min(first + 2, nodes - 1) * stride, rows + min(first + 3, nodes - 1) * stride
    step = HEADS * padded * SIZE
    one, zero = splat(factor, length, STORAGE), splat(0.0, length, STORAGE)
    for head in range(HEADS):
        column = head * channels * SIZE
        mine_0 = mul(load(row_0 + column, length, STORAGE), one)
        mine_1 = mul(load(row_1 + column, length, STORAGE), one) if first + 1 < nodes else zero
        mine_2 = mul(load(row_2 + column, length, STORAGE), one) if first + 2 < nodes else zero
        mine_3 = mul(load(row_3 + column, length, STORAGE), one) if first + 3 < nodes else zero
        for node in range(nodes):
            place = weights + (head * padded + node) * SIZE
            target = out + node * out_stride + column
            running = load(target, length, STORAGE)
            running = fma(spread(load(place, 1, STORAGE), length), mine_0, running)
            running = fma(spread(load(place + step, 1, STORAGE), length), mine_1, running)
            running = fma(spread(load(place + 2 * step, 1, STORAGE), length), mine_2, running)
            running = fma(spread(load(place + 3 * step, 1, STORAGE), length), mine_3, running)
            store(target, running, STORAGE)


@inline
def slopes_of(scores, gradients, nodes, padded, statistics):
    """Of one row: scores become weights, gradients of weights become those of scores."""
    zero = splat(0.0, LANES, STORAGE)
    for head in range(HEADS):
        line = head * padded * SIZE
        top = spread(load(statistics + head * SIZE, 1, STORAGE), LANES)
        inverse = spread(load(statistics + (HEADS + head) * SIZE, 1, STORAGE), LANES)
        total, product = zero, zero
        for node in range(0, padded, LANES):
            place = line + node * SIZE
            weight = mul(exp(sub(load(scores + place, LANES, STORAGE), top)), inverse)
            weight = keep_first(weight, nodes - node, zero)
            store(scores + place, weight, STORAGE)
            total = add(total, weight)
            gradient = keep_first(load(gradients + place, LANES, STORAGE), nodes - node, zero)
            product = fma(weight, gradient, product)
        total, product = spread(head_sum(total, 1), LANES), spread(head_sum(product, 1), LANES)
        mean = div(product, where_positive(total, total, splat(1.0, LANES, STORAGE)))
        for node in range(0, padded, LANES):
            place = line + node * SIZE
            gradient = keep_first(load(gradients + place, LANES, STORAGE), nodes - node, mean)
            store(gradients + place, mul(load(scores + place, LANES, STORAGE), sub(gradient, mean)), STORAGE)


def blocks_forward(arguments):
    """Takes graphs until none is left."""
    # fmt: off
    (_, _, num_graphs, graphs, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, scale_bits, out,
     statistics, room, room_of_thread) = load_arguments(arguments, 17)
    # fmt: on
    scale = as_float(scale_bits)
    keys_t = room + take_next(arguments + 8) * room_of_thread  # the second word counts threads
    while True:
        graph = take_next(arguments)
        if graph >= num_graphs:
            break
        start, nodes = load_index(graphs + graph * 16, 64), load_index(graphs + graph * 16 + 8, 64)
        padded = (nodes + LANES - 1) // LANES * LANES
        scores = keys_t + KEY_ROW * padded * SIZE
        transpose_table(keys + start * key_stride, key_stride, nodes, KEY_ROW, keys_t, padded)
        own, theirs = queries + start * query_stride, values + start * value_stride
        for first in range(0, nodes, ROWS):
            products(scores, first, nodes, padded, own, query_stride, keys_t, KEY_CHANNELS, scale)
            for k in range(ROWS):
                row = min(first + k, nodes - 1)
                line = scores + k * HEADS * padded * SIZE
                if bias != 0:
                    pair = load_index(pointers + (start + row) * 8, 64)
                    add_pair_bias(line, nodes, padded, bias, pair)
                softmax(line, nodes, padded, statistics + (start + row) * 2 * HEADS * SIZE)
            block = out + start * VALUE_ROW * SIZE
            weighted_sums(
                block, VALUE_ROW * SIZE, first, nodes, padded, scores, theirs, value_stride, VALUE_CHANNELS, VALUE_CHANNELS, 1.0
            )


def blocks_backward(arguments):
    """Takes graphs until none is left."""
    # fmt: off
    (_, _, num_graphs, graphs, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, scale_bits,
     gradient, statistics, of_queries, of_query_stride, of_keys, of_key_stride, of_values, of_value_stride, bias_gradient,
     room, room_of_thread) = load_arguments(arguments, 24)
    # fmt: on
    scale = as_float(scale_bits)
    keys_t = room + take_next(arguments + 8) * room_of_thread  # the second word counts threads
    while True:
        graph = take_next(arguments)
        if graph >= num_graphs:
            break
        start, nodes = load_index(graphs + graph * 16, 64), load_index(graphs + graph * 16 + 8, 64)
        padded = (nodes + LANES - 1) // LANES * LANES
        values_t = keys_t + KEY_ROW * padded * SIZE
        scores = values_t + VALUE_ROW * padded * SIZE
        slopes = scores + ROWS * HEADS * padded * SIZE
        key, value = keys + start * key_stride, values + start * value_stride
        transpose_table(key, key_stride, nodes, KEY_ROW, keys_t, padded)
        transpose_table(value, value_stride, nodes, VALUE_ROW, values_t, padded)
        own, outer = queries + start * query_stride, gradient + start * VALUE_ROW * SIZE
        of_key, of_value = of_keys + start * of_key_stride, of_values + start * of_value_stride
        for node in range(nodes):
            for head in range(HEADS):
                zero_key, zero_value = splat(0.0, KEY_CHANNELS, STORAGE), splat(0.0, VALUE_CHANNELS, STORAGE)
                store(of_key + node * of_key_stride + head * KEY_CHANNELS * SIZE, zero_key, STORAGE)
                store(of_value + node * of_value_stride + head * VALUE_CHANNELS * SIZE, zero_value, STORAGE)
        for first in range(0, nodes, ROWS):
            products(scores, first, nodes, padded, own, query_stride, keys_t, KEY_CHANNELS, scale)
            products(slopes, first, nodes, padded, outer, VALUE_ROW * SIZE, values_t, VALUE_CHANNELS, 1.0)
            for k in range(ROWS):
                row = min(first + k, nodes - 1)
                line = k * HEADS * padded * SIZE
                pair = load_index(pointers + (start + row) * 8, 64)
                if bias != 0:
                    add_pair_bias(scores + line, nodes, padded, bias, pair)
                slopes_of(scores + line, slopes + line, nodes, padded, statistics + (start + row) * 2 * HEADS * SIZE)
                if bias_gradient != 0:
                    store_pair_gradient(slopes + line, nodes, padded, bias_gradient, pair)
            weighted_sums(
                of_queries + start * of_query_stride, of_query_stride, first, nodes, padded, slopes, key, key_stride,
                KEY_CHANNELS, KEY_CHANNELS, scale,
            )  # fmt: skip
            add_outer(of_key, of_key_stride, first, nodes, padded, slopes, own, query_stride, KEY_CHANNELS, KEY_CHANNELS, scale)
            add_outer(
                of_value, of_value_stride, first, nodes, padded, scores, outer, VALUE_ROW * SIZE, VALUE_CHANNELS,
                VALUE_CHANNELS, 1.0,
            )  # fmt: skip
