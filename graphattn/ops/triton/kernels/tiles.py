"""Backward of full attention in graphs that are larger than a tile, one end of the pairs at a time; see `blocks.py`.

`backward_rows` goes by targets: gradients of queries, and what sources need to know of a target. `backward_columns` goes by
sources: gradients of keys, values and the bias, because only there Σ α g of every target is known to the last digit (how that
comes about stands at the head of `backward_rows.py`).
"""

import triton
import triton.language as tl

from graphattn.ops.triton.kernels.blocks import dropout_factors, load_line, load_rows, product, products, scores, store_rows
from graphattn.ops.triton.kernels.normalisers import keeps_state, needs_delta, rest_of_delta, row_statistic, slope_of, weight_of


@triton.jit(do_not_specialize=["begin"])
def backward_rows(
    table, begin, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, seed, threshold,
    out, gradient, statistics, means, of_query, of_query_stride,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """One program takes ROWS targets and one head; all sources of their graph, COLUMNS at a time."""
    first, nodes, row, head = load_line(table, begin, HEADS)
    row += tl.program_id(1) * ROWS
    left = nodes - row
    here = tl.arange(0, ROWS) < left
    own = first + row
    first_pair = tl.load(pointers + first) + nodes.to(tl.int64) * row
    if keeps_state(NORMALISER):
        place = statistics + own * (2 * HEADS) + head + tl.arange(0, ROWS) * (2 * HEADS)
        statistic = tl.load(place, mask=here, other=0.0)[:, None]
        inverse = tl.load(place + HEADS, mask=here, other=0.0)
    else:
        statistic = row_statistic(nodes, NORMALISER, tl.float32)
    if needs_delta(NORMALISER):
        outer = load_rows(gradient, HEADS * VALUE_CHANNELS, own, left, head, 0, VALUE_CHANNELS, ROWS, VALUE_PADDED)
        mine = load_rows(out, HEADS * VALUE_CHANNELS, own, left, head, 0, VALUE_CHANNELS, ROWS, VALUE_PADDED)
        mean = tl.sum(mine.to(tl.float32) * outer.to(tl.float32), 1)
        rest = tl.zeros([ROWS], tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        plain_sum = tl.zeros([ROWS, KEY_PADDED], tl.float32)
    query_sum = tl.zeros([ROWS, KEY_PADDED], tl.float32)
    for column in range(0, tl.where(left > 0, nodes, 0), COLUMNS):
        pair = tl.arange(0, ROWS)[:, None] * nodes + (column + tl.arange(0, COLUMNS))[None, :]
        score = scores(
            queries, query_stride, own, left, keys, key_stride, first + column, nodes - column, head, bias, first_pair, pair,
            HEADS, KEY_CHANNELS, SCALE, ROWS, COLUMNS, KEY_PADDED, PART,
        )  # fmt: skip
        alpha = weight_of(score, statistic, NORMALISER)
        of_weight = products(
            gradient, HEADS * VALUE_CHANNELS, own, left, values, value_stride, first + column, nodes - column, head,
            VALUE_CHANNELS, ROWS, COLUMNS, VALUE_PADDED, PART,
        )  # fmt: skip
        if seed is not None:
            of_weight *= dropout_factors(seed, first_pair + pair, head, threshold, FACTOR)
        theirs = load_rows(keys, key_stride, first + column, nodes - column, head, 0, KEY_CHANNELS, COLUMNS, KEY_PADDED)
        if keeps_state(NORMALISER):
            alpha *= inverse[:, None]
        if needs_delta(NORMALISER):
            slope = slope_of(alpha, score, of_weight - mean[:, None], statistic, NORMALISER)
            rest += tl.sum(slope, 1)
            total += tl.sum(alpha, 1)
            plain_sum += product(alpha, theirs)
        else:
            slope = slope_of(alpha, score, of_weight, statistic, NORMALISER)
        query_sum += product(slope, theirs)
    if needs_delta(NORMALISER):
        more = rest_of_delta(rest, total, mean, NORMALISER)
        tl.store(means + own * HEADS + head + tl.arange(0, ROWS) * HEADS, mean + more, mask=here)
        query_sum -= more[:, None] * plain_sum
    store_rows(of_query, of_query_stride, own, left, head, query_sum * SCALE, KEY_CHANNELS)


@triton.jit(do_not_specialize=["begin"])
def backward_columns(
    table, begin, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, seed, threshold,
    gradient, statistics, means, of_key, of_key_stride, of_value, of_value_stride, of_bias,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    SCALE: tl.constexpr, FACTOR: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """One program takes ROWS sources and one head; all targets of their graph, COLUMNS at a time."""
    first, nodes, row, head = load_line(table, begin, HEADS)
    row += tl.program_id(1) * ROWS
    left = nodes - row
    here = tl.arange(0, ROWS) < left
    own = first + row
    if not keeps_state(NORMALISER):
        statistic = row_statistic(nodes, NORMALISER, tl.float32)
    key_sum = tl.zeros([ROWS, KEY_PADDED], tl.float32)
    value_sum = tl.zeros([ROWS, VALUE_PADDED], tl.float32)
    for column in range(0, tl.where(left > 0, nodes, 0), COLUMNS):
        inside = tl.arange(0, COLUMNS) < nodes - column
        known = here[:, None] & inside[None, :]
        target = first + column
        first_pair = tl.load(pointers + first) + nodes.to(tl.int64) * column + row
        pair = tl.arange(0, COLUMNS)[None, :] * nodes + tl.arange(0, ROWS)[:, None]
        score = scores(
            keys, key_stride, own, left, queries, query_stride, target, nodes - column, head, bias, first_pair, pair,
            HEADS, KEY_CHANNELS, SCALE, ROWS, COLUMNS, KEY_PADDED, PART,
        )  # fmt: skip
        if keeps_state(NORMALISER):
            place = statistics + target * (2 * HEADS) + head + tl.arange(0, COLUMNS) * (2 * HEADS)
            statistic = tl.load(place, mask=inside, other=0.0)[None, :]
            alpha = weight_of(score, statistic, NORMALISER) * tl.load(place + HEADS, mask=inside, other=0.0)[None, :]
        else:
            alpha = weight_of(score, statistic, NORMALISER)
        kept = alpha
        if seed is not None:
            factors = dropout_factors(seed, first_pair + pair, head, threshold, FACTOR)
            kept *= factors
        outer = load_rows(
            gradient, HEADS * VALUE_CHANNELS, target, nodes - column, head, 0, VALUE_CHANNELS, COLUMNS, VALUE_PADDED
        )
        value_sum += product(kept, outer)
        of_weight = products(
            values, value_stride, own, left, gradient, HEADS * VALUE_CHANNELS, target, nodes - column, head,
            VALUE_CHANNELS, ROWS, COLUMNS, VALUE_PADDED, PART,
        )  # fmt: skip
        if seed is not None:
            of_weight *= factors
        if needs_delta(NORMALISER):
            place = means + target * HEADS + head + tl.arange(0, COLUMNS) * HEADS
            of_weight -= tl.load(place, mask=inside, other=0.0)[None, :]
        slope = slope_of(alpha, score, of_weight, statistic, NORMALISER)
        if of_bias is not None:
            tl.store(of_bias + first_pair * HEADS + head + pair * HEADS, slope, mask=known)
        theirs = load_rows(queries, query_stride, target, nodes - column, head, 0, KEY_CHANNELS, COLUMNS, KEY_PADDED)
        key_sum += product(slope, theirs)
    key_sum *= SCALE
    if of_value is None:
        key_sum += value_sum  # values are the keys
    else:
        store_rows(of_value, of_value_stride, own, left, head, value_sum, VALUE_CHANNELS)
    store_rows(of_key, of_key_stride, own, left, head, key_sum, KEY_CHANNELS)
