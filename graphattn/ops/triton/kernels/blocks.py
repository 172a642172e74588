"""Full attention inside each graph by matrix products: dot products of one head, a tile of targets × sources at a time.

A program serves one line of a table: the first node of a graph, its number of nodes, and the tile's first target among them.
`backward` takes whole graphs that fit in one tile; the two kernels for larger ones are in `tiles.py`.

The nodes of a tile follow each other, and so do the pairs of a target: places in a tile are 32-bit numbers from its first on.
"""

import triton
import triton.language as tl

from graphattn.ops.triton.kernels.normalisers import (
    close_row,
    keeps_state,
    needs_delta,
    rest_of_delta,
    row_statistic,
    slope_of,
    weight_of,
)

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def load_line(table, begin, HEADS: tl.constexpr):
    """First node, number of nodes and first target of this program's line, and its head: the heads of a line are neighbours."""
    program = tl.program_id(0)
    line = table + (begin + program // HEADS).to(tl.int64) * 3
    return tl.load(line), tl.load(line + 1).to(tl.int32), tl.load(line + 2).to(tl.int32), program % HEADS


@triton.jit
def load_rows(table, stride, first, left, head, channel, CHANNELS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """table[first + i, head, channel + c] as it is stored, [ROWS, WIDTH]; zero from the node `left` and channel CHANNELS on."""
    i, c = tl.arange(0, ROWS), channel + tl.arange(0, WIDTH)
    place = table + first * stride + head * CHANNELS + (i.to(tl.int64)[:, None] * stride + c[None, :])
    return tl.load(place, mask=(i < left)[:, None] & (c < CHANNELS)[None, :], other=0.0)


@triton.jit
def store_rows(table, stride, first, left, head, tile, CHANNELS: tl.constexpr):
    i, c = tl.arange(0, tile.shape[0]), tl.arange(0, tile.shape[1])
    place = table + first * stride + head * CHANNELS + (i.to(tl.int64)[:, None] * stride + c[None, :])
    tl.store(place, tile.to(table.dtype.element_ty), mask=(i < left)[:, None] & (c < CHANNELS)[None, :])


@triton.jit
def product(a, b):
    """a b, summed in float32; `a` is rounded to the type in which `b` is stored."""
    if INTERPRETED and b.dtype == tl.bfloat16:  # the interpreter would multiply the bits, as whole numbers
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a.to(b.dtype), b, input_precision="ieee")


@triton.jit
def products(
    rows, row_stride, row, rows_left, columns, column_stride, column, columns_left, head, CHANNELS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PADDED: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """rows[row + i, head] · columns[column + j, head], [ROWS, COLUMNS], PART channels at a time."""
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    WIDTH: tl.constexpr = PART if PART < PADDED else PADDED
    for channel in range(0, PADDED, WIDTH):
        a = load_rows(rows, row_stride, row, rows_left, head, channel, CHANNELS, ROWS, WIDTH)
        b = load_rows(columns, column_stride, column, columns_left, head, channel, CHANNELS, COLUMNS, WIDTH)
        total += product(a, tl.trans(b))
    return total


@triton.jit
def scores(
    rows, row_stride, row, rows_left, columns, column_stride, column, columns_left, head, bias, first_pair, pair,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, SCALE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PADDED: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """`products` times SCALE, plus the bias of each pair; -inf outside the graph. `pair` counts from `first_pair`."""
    score = SCALE * products(
        rows, row_stride, row, rows_left, columns, column_stride, column, columns_left, head,
        CHANNELS, ROWS, COLUMNS, PADDED, PART,
    )  # fmt: skip
    known = (tl.arange(0, ROWS) < rows_left)[:, None] & (tl.arange(0, COLUMNS) < columns_left)[None, :]
    if bias is not None:
        score += tl.load(bias + first_pair * HEADS + head + pair * HEADS, mask=known, other=0.0)
    return tl.where(known, score, float("-inf"))


@triton.jit
def dropout_factors(seed, pair, head, threshold, FACTOR: tl.constexpr):
    """Zero where a weight of this head is dropped, FACTOR where it is kept: as `graphattn.ops.philox.dropout_mask`."""
    low, high = (pair & 0xFFFFFFFF).to(tl.uint32), (pair >> 32).to(tl.uint32)
    zero = tl.zeros(pair.shape, tl.uint32)
    w0, w1, w2, w3 = tl.philox(tl.load(seed), low, high, zero + (head // 4).to(tl.uint32), zero)
    word = tl.where(head % 2 == 0, tl.where(head % 4 == 0, w0, w2), tl.where(head % 4 == 1, w1, w3))
    return tl.where(word.to(tl.int64) >= threshold, FACTOR, 0.0)


@triton.jit
def finite(largest):
    """The largest score of a row, or zero where all are -inf, so that taking it off never gives NaN."""
    return tl.where(largest == float("-inf"), 0.0, largest)


@triton.jit(do_not_specialize=["begin"])
def forward(
    table, begin, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, seed, threshold,
    out, statistics,
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
    if not keeps_state(NORMALISER):
        statistic = row_statistic(nodes, NORMALISER, tl.float32)
    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    value_sum = tl.zeros([ROWS, VALUE_PADDED], tl.float32)
    for column in range(0, tl.where(left > 0, nodes, 0), COLUMNS):
        pair = tl.arange(0, ROWS)[:, None] * nodes + (column + tl.arange(0, COLUMNS))[None, :]
        score = scores(
            queries, query_stride, own, left, keys, key_stride, first + column, nodes - column, head, bias, first_pair, pair,
            HEADS, KEY_CHANNELS, SCALE, ROWS, COLUMNS, KEY_PADDED, PART,
        )  # fmt: skip
        if keeps_state(NORMALISER):
            higher = tl.maximum(largest, tl.max(score, 1))
            rescale = tl.exp(largest - finite(higher))
            largest = higher
            alpha = weight_of(score, finite(largest)[:, None], NORMALISER)
            total = total * rescale + tl.sum(alpha, 1)
            value_sum *= rescale[:, None]
        else:
            alpha = weight_of(score, statistic, NORMALISER)
        if seed is not None:
            alpha *= dropout_factors(seed, first_pair + pair, head, threshold, FACTOR)
        value = load_rows(values, value_stride, first + column, nodes - column, head, 0, VALUE_CHANNELS, COLUMNS, VALUE_PADDED)
        value_sum += product(alpha, value)
    if keeps_state(NORMALISER):
        top, inverse, factor = close_row(finite(largest), total, NORMALISER)
        place = statistics + own * (2 * HEADS) + head + tl.arange(0, ROWS) * (2 * HEADS)
        tl.store(place, top, mask=here)
        tl.store(place + HEADS, inverse, mask=here)
        value_sum *= factor[:, None]
    store_rows(out, HEADS * VALUE_CHANNELS, own, left, head, value_sum, VALUE_CHANNELS)


@triton.jit(do_not_specialize=["begin"])
def backward(
    table, begin, pointers, queries, query_stride, keys, key_stride, values, value_stride, bias, seed, threshold,
    gradient, statistics, of_query, of_query_stride, of_key, of_key_stride, of_value, of_value_stride, of_bias,
    HEADS: tl.constexpr, KEY_CHANNELS: tl.constexpr, VALUE_CHANNELS: tl.constexpr, NORMALISER: tl.constexpr,
    SCALE: tl.constexpr, FACTOR: tl.constexpr,
    NODES: tl.constexpr, KEY_PADDED: tl.constexpr, VALUE_PADDED: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """One program takes one graph of up to NODES nodes and one head, and has all weights of them at once."""
    first, nodes, _, head = load_line(table, begin, HEADS)
    here = tl.arange(0, NODES) < nodes
    known = here[:, None] & here[None, :]
    first_pair = tl.load(pointers + first)
    pair = tl.arange(0, NODES)[:, None] * nodes + tl.arange(0, NODES)[None, :]
    score = scores(
        queries, query_stride, first, nodes, keys, key_stride, first, nodes, head, bias, first_pair, pair,
        HEADS, KEY_CHANNELS, SCALE, NODES, NODES, KEY_PADDED, PART,
    )  # fmt: skip
    if keeps_state(NORMALISER):
        place = statistics + first * (2 * HEADS) + head + tl.arange(0, NODES) * (2 * HEADS)
        statistic = tl.load(place, mask=here, other=0.0)[:, None]
        alpha = weight_of(score, statistic, NORMALISER) * tl.load(place + HEADS, mask=here, other=0.0)[:, None]
    else:
        statistic = row_statistic(nodes, NORMALISER, tl.float32)
        alpha = weight_of(score, statistic, NORMALISER)
    kept = alpha
    if seed is not None:
        factors = dropout_factors(seed, first_pair + pair, head, threshold, FACTOR)
        kept *= factors
    outer = load_rows(gradient, HEADS * VALUE_CHANNELS, first, nodes, head, 0, VALUE_CHANNELS, NODES, VALUE_PADDED)
    value_sum = product(tl.trans(kept), outer)
    if of_value is not None:
        store_rows(of_value, of_value_stride, first, nodes, head, value_sum, VALUE_CHANNELS)
    of_weight = products(
        gradient, HEADS * VALUE_CHANNELS, first, nodes, values, value_stride, first, nodes, head,
        VALUE_CHANNELS, NODES, NODES, VALUE_PADDED, PART,
    )  # fmt: skip
    if seed is not None:
        of_weight *= factors
    if needs_delta(NORMALISER):
        of_weight -= rest_of_delta(tl.sum(alpha * of_weight, 1), tl.sum(alpha, 1), 0.0, NORMALISER)[:, None]
    slope = slope_of(alpha, score, of_weight, statistic, NORMALISER)
    if of_bias is not None:
        tl.store(of_bias + first_pair * HEADS + head + pair * HEADS, slope, mask=known)
    theirs = load_rows(keys, key_stride, first, nodes, head, 0, KEY_CHANNELS, NODES, KEY_PADDED)
    store_rows(of_query, of_query_stride, first, nodes, head, product(slope, theirs) * SCALE, KEY_CHANNELS)
    own = load_rows(queries, query_stride, first, nodes, head, 0, KEY_CHANNELS, NODES, KEY_PADDED)
    key_sum = product(tl.trans(slope), own) * SCALE
    if of_value is None:
        key_sum += value_sum  # values are the keys
    store_rows(of_key, of_key_stride, first, nodes, head, key_sum, KEY_CHANNELS)
