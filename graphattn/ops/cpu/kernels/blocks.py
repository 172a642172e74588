"""Full attention of the dot product under softmax, graph by graph, as the small dense matrix products that it is.

The general kernels take the sum over the channels of one pair at a time. Inside a block every query meets every key, so
keys are transposed once, and a vector then holds the scores of one query and head with sixteen keys: sums over channels
need no sums across lanes. Queries are taken four at a time, so that a key is loaded once for four. One thread owns a graph:
gradients of keys and values are added up in place.
"""

import numpy as np

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import HEADS, KEY_CHANNELS, STORAGE, VALUE_CHANNELS
from graphattn.ops.cpu.simd import (
    add,
    as_float,
    div,
    exp,
    fma,
    head_maximum,
    head_sum,
    keep_first,
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
    transpose,
    where_positive,
)

SIZE = {"float32": 4, "float64": 8}[STORAGE]
LANES = 64 // SIZE
KEY_ROW, VALUE_ROW = HEADS * KEY_CHANNELS, HEADS * VALUE_CHANNELS
LOWEST = float(np.finfo(STORAGE).min)
ROWS = 4  # queries at a time
# Sums and maxima over the nodes are kept as vectors, and taken across their lanes for some heads at once.
GROUP = max(n for n in range(1, 9) if HEADS % n == 0)
LINES = GROUP * LANES
TWO_LINES = 2 * LINES * SIZE


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
def products(target, first, nodes, padded, rows, stride, transposed, channels, factor, beyond):
    """target[row, head, node] = factor · (row · node) for four rows; a row after the last is the last again.

    What is `beyond` the last node is given, so that nothing later has to look where the nodes end.
    """
    row_0, row_1 = rows + min(first, nodes - 1) * stride, rows + min(first + 1, nodes - 1) * stride
    row_2, row_3 = rows + min(first + 2, nodes - 1) * stride, rows + min(first + 3, nodes - 1) * stride
    scale, outside = splat(factor, LANES, STORAGE), splat(beyond, LANES, STORAGE)
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
            sum_0, sum_1, sum_2, sum_3 = mul(sum_0, scale), mul(sum_1, scale), mul(sum_2, scale), mul(sum_3, scale)
            if node + LANES > nodes:
                inside = nodes - node
                sum_0, sum_1 = keep_first(sum_0, inside, outside), keep_first(sum_1, inside, outside)
                sum_2, sum_3 = keep_first(sum_2, inside, outside), keep_first(sum_3, inside, outside)
            store(place, sum_0, STORAGE)
            store(place + step, sum_1, STORAGE)
            store(place + 2 * step, sum_2, STORAGE)
            store(place + 3 * step, sum_3, STORAGE)


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
def softmax(scores, padded, statistics, lines):
    """Scores of one row become exponentials; the largest score and the inverse of the sum are kept for each head."""
    lowest, zero, one = splat(LOWEST, LANES, STORAGE), splat(0.0, LANES, STORAGE), splat(1.0, GROUP, STORAGE)
    for group in range(0, HEADS, GROUP):
        for k in range(GROUP):
            line, top = scores + (group + k) * padded * SIZE, lowest
            for node in range(0, padded, LANES):
                top = maximum(top, load(line + node * SIZE, LANES, STORAGE))
            store(lines + k * LANES * SIZE, top, STORAGE)
        store(statistics + group * SIZE, head_maximum(load(lines, LINES, STORAGE), GROUP), STORAGE)
        for k in range(GROUP):
            line, total = scores + (group + k) * padded * SIZE, zero
            top = spread(load(statistics + (group + k) * SIZE, 1, STORAGE), LANES)
            for node in range(0, padded, LANES):
                weight = exp(sub(load(line + node * SIZE, LANES, STORAGE), top))
                store(line + node * SIZE, weight, STORAGE)
                total = add(total, weight)
            store(lines + k * LANES * SIZE, total, STORAGE)
        total = head_sum(load(lines, LINES, STORAGE), GROUP)
        # A row of nothing but -inf has the total zero and gets zero; NaN stays NaN.
        store(statistics + (HEADS + group) * SIZE, where_positive(total, div(one, total), total), STORAGE)


@inline
def factor_of(factor, factors, row, head, length):
    """A factor for all, or the one of a row and head: the inverse of softmax's sum, among the statistics."""
    if factors == 0:
        return splat(factor, length, STORAGE)
    return spread(load(factors + ((2 * row + 1) * HEADS + head) * SIZE, 1, STORAGE), length)


@inline
def weighted_sums(out, out_stride, first, nodes, padded, weights, table, stride, channels, length, factor, factors):
    """out[row, head] = factor · Σ_node weights[row, head, node] · table[node, head], for four rows."""
    step = HEADS * padded * SIZE
    second, third, fourth = min(first + 1, nodes - 1), min(first + 2, nodes - 1), min(first + 3, nodes - 1)
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
        column = out + head * channels * SIZE
        store(column + fourth * out_stride, mul(sum_3, factor_of(factor, factors, fourth, head, length)), STORAGE)
        store(column + third * out_stride, mul(sum_2, factor_of(factor, factors, third, head, length)), STORAGE)
        store(column + second * out_stride, mul(sum_1, factor_of(factor, factors, second, head, length)), STORAGE)
        store(column + first * out_stride, mul(sum_0, factor_of(factor, factors, first, head, length)), STORAGE)


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
def slopes_of(scores, gradients, padded, statistics, lines):
    """Of one row: scores become weights, gradients of weights become those of scores."""
    zero, more = splat(0.0, LANES, STORAGE), lines + LINES * SIZE
    for group in range(0, HEADS, GROUP):
        for k in range(GROUP):
            head = group + k
            line, total, product = head * padded * SIZE, zero, zero
            top = spread(load(statistics + head * SIZE, 1, STORAGE), LANES)
            inverse = spread(load(statistics + (HEADS + head) * SIZE, 1, STORAGE), LANES)
            for node in range(0, padded, LANES):
                place = line + node * SIZE
                weight = mul(exp(sub(load(scores + place, LANES, STORAGE), top)), inverse)
                store(scores + place, weight, STORAGE)
                total = add(total, weight)
                product = fma(weight, load(gradients + place, LANES, STORAGE), product)
            store(lines + k * LANES * SIZE, total, STORAGE)
            store(more + k * LANES * SIZE, product, STORAGE)
        total = head_sum(load(lines, LINES, STORAGE), GROUP)
        mean = div(head_sum(load(more, LINES, STORAGE), GROUP), where_positive(total, total, splat(1.0, GROUP, STORAGE)))
        store(lines, mean, STORAGE)
        for k in range(GROUP):
            line, mean_of_head = (group + k) * padded * SIZE, spread(load(lines + k * SIZE, 1, STORAGE), LANES)
            for node in range(0, padded, LANES):
                place = line + node * SIZE
                gradient = sub(load(gradients + place, LANES, STORAGE), mean_of_head)
                store(gradients + place, mul(load(scores + place, LANES, STORAGE), gradient), STORAGE)


def blocks_forward(arguments):
    """Takes graphs until none is left."""
    # fmt: off
    (_, _, num_graphs, graphs, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, scale_bits, out,
     statistics, room, room_of_thread) = load_arguments(arguments, 17)
    # fmt: on
    scale = as_float(scale_bits)
    keys_t = room + take_next(arguments + 8) * room_of_thread  # the second word counts threads
    lines = scratch(TWO_LINES)
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
            products(scores, first, nodes, padded, own, query_stride, keys_t, KEY_CHANNELS, scale, -np.inf)
            for k in range(ROWS):
                row = min(first + k, nodes - 1)
                line = scores + k * HEADS * padded * SIZE
                if bias != 0:
                    pair = load_index(pointers + (start + row) * 8, 64)
                    add_pair_bias(line, nodes, padded, bias, pair)
                softmax(line, padded, statistics + (start + row) * 2 * HEADS * SIZE, lines)
            block = out + start * VALUE_ROW * SIZE
            weighted_sums(
                block, VALUE_ROW * SIZE, first, nodes, padded, scores, theirs, value_stride, VALUE_CHANNELS, VALUE_CHANNELS,
                1.0, statistics + start * 2 * HEADS * SIZE,
            )  # fmt: skip


def blocks_backward(arguments):
    """Takes graphs until none is left."""
    # fmt: off
    (_, _, num_graphs, graphs, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, scale_bits,
     gradient, statistics, of_queries, of_query_stride, of_keys, of_key_stride, of_values, of_value_stride, bias_gradient,
     room, room_of_thread) = load_arguments(arguments, 24)
    # fmt: on
    scale = as_float(scale_bits)
    keys_t = room + take_next(arguments + 8) * room_of_thread  # the second word counts threads
    lines = scratch(TWO_LINES)
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
            products(scores, first, nodes, padded, own, query_stride, keys_t, KEY_CHANNELS, scale, -np.inf)
            products(slopes, first, nodes, padded, outer, VALUE_ROW * SIZE, values_t, VALUE_CHANNELS, 1.0, 0.0)
            for k in range(ROWS):
                row = min(first + k, nodes - 1)
                line = k * HEADS * padded * SIZE
                pair = load_index(pointers + (start + row) * 8, 64)
                if bias != 0:
                    add_pair_bias(scores + line, nodes, padded, bias, pair)
                slopes_of(scores + line, slopes + line, padded, statistics + (start + row) * 2 * HEADS * SIZE, lines)
                if bias_gradient != 0:
                    store_pair_gradient(slopes + line, nodes, padded, bias_gradient, pair)
            weighted_sums(
                of_queries + start * of_query_stride, of_query_stride, first, nodes, padded, slopes, key, key_stride,
                KEY_CHANNELS, KEY_CHANNELS, scale, 0,
            )  # fmt: skip
            add_outer(of_key, of_key_stride, first, nodes, padded, slopes, own, query_stride, KEY_CHANNELS, KEY_CHANNELS, scale)
            add_outer(
                of_value, of_value_stride, first, nodes, padded, scores, outer, VALUE_ROW * SIZE, VALUE_CHANNELS,
                VALUE_CHANNELS, 1.0,
            )  # fmt: skip
