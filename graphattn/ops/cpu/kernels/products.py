"""Matrix products over rows, head by head, whose bits depend on nothing but their numbers.

Every number of a result is one chain of fused multiply-adds in the order of the terms, or a sum of such chains over fixed
chunks of rows. A BLAS library promises no order, and may take another one for another number of threads.

Columns are taken one tile (a vector) at a time, and four rows of a result at once. See `graphattn.ops.cpu.products` for what is
called.
"""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import MOST_TERMS, STORAGE, TILE
from graphattn.ops.cpu.simd import fma, load, load_arguments, load_index, scratch, splat, spread, store, take_next

SIZE = {"float32": 4, "float64": 8}[STORAGE]
ROW = TILE * SIZE
TABLE = MOST_TERMS * ROW
CHUNK = 3 * 8  # first row, number of rows, and the matrix or the sum that they belong to


@inline
def four_sums(rows, first, last, row_step, count, step, others, other_step, target, target_step, onto):
    """target[r] = Σ_n rows[r, n] · others[n] for four rows r from `first` on, each a vector, added up in the order of n.

    A row after the last is the last again. The sums go on from what `target` holds where `onto` is one, else from zero.
    """
    second, third, fourth = min(first + 1, last), min(first + 2, last), min(first + 3, last)
    sum_0, sum_1 = splat(0.0, TILE, STORAGE), splat(0.0, TILE, STORAGE)
    sum_2, sum_3 = splat(0.0, TILE, STORAGE), splat(0.0, TILE, STORAGE)
    if onto:
        sum_0, sum_1 = load(target + first * target_step, TILE, STORAGE), load(target + second * target_step, TILE, STORAGE)
        sum_2, sum_3 = load(target + third * target_step, TILE, STORAGE), load(target + fourth * target_step, TILE, STORAGE)
    for n in range(count):
        other, place = load(others + n * other_step, TILE, STORAGE), rows + n * step
        sum_0 = fma(spread(load(place + first * row_step, 1, STORAGE), TILE), other, sum_0)
        sum_1 = fma(spread(load(place + second * row_step, 1, STORAGE), TILE), other, sum_1)
        sum_2 = fma(spread(load(place + third * row_step, 1, STORAGE), TILE), other, sum_2)
        sum_3 = fma(spread(load(place + fourth * row_step, 1, STORAGE), TILE), other, sum_3)
    store(target + fourth * target_step, sum_3, STORAGE)
    store(target + third * target_step, sum_2, STORAGE)
    store(target + second * target_step, sum_1, STORAGE)
    store(target + first * target_step, sum_0, STORAGE)


@inline
def copy_tile(rows, step, count, table):
    """A tile's columns of some rows, one after the other: rows a power of two apart would push each other out of the cache."""
    for n in range(count):
        store(table + n * ROW, load(rows + n * step, TILE, STORAGE), STORAGE)


def linear_sums(arguments):
    """out_i = q_i · Σ_j k_j v_jᵀ over the nodes j of the graph of i, a graph and head at a time.

    The matrix Σ_j k_j v_jᵀ is made and read for one tile of value channels at a time, so that it stays in the first-level
    cache.
    """
    # fmt: off
    (_, num_graphs, graphs, heads, key_channels, value_channels, queries, query_stride, keys, key_stride, values,
     value_stride, out) = load_arguments(arguments, 13)
    # fmt: on
    table, out_stride = scratch(TABLE), heads * value_channels * SIZE
    while True:
        item = take_next(arguments)
        if item >= num_graphs * heads:
            break
        graph, head = graphs + item // heads * 16, item % heads
        start, nodes = load_index(graph, 64), load_index(graph + 8, 64)
        query = queries + start * query_stride + head * key_channels * SIZE
        key = keys + start * key_stride + head * key_channels * SIZE
        for turn in range(0, value_channels, TILE):
            # The last tile ends with the row: it may do some channels twice.
            column = (head * value_channels + min(turn, value_channels - TILE)) * SIZE
            value = values + start * value_stride + column
            for channel in range(0, key_channels, 4):
                four_sums(key, channel, key_channels - 1, SIZE, nodes, key_stride, value, value_stride, table, ROW, 0)
            target = out + start * out_stride + column
            for node in range(0, nodes, 4):
                four_sums(query, node, nodes - 1, query_stride, key_channels, SIZE, table, ROW, target, out_stride, 0)


def row_products(arguments):
    """out[n, h] = Σ_c x[n, h, c] · matrix[h, c], a chunk of rows and a head at a time."""
    # fmt: off
    (_, num_chunks, chunks, heads, channels, width, xs, x_stride, matrices, out, out_stride) = load_arguments(arguments, 11)
    # fmt: on
    table = scratch(TABLE)
    while True:
        item = take_next(arguments)
        if item >= num_chunks * heads:
            break
        chunk, head = chunks + item // heads * CHUNK, item % heads
        start, rows = load_index(chunk, 64), load_index(chunk + 8, 64)
        x = xs + start * x_stride + head * channels * SIZE
        matrix = matrices + (load_index(chunk + 16, 64) * heads + head) * channels * width * SIZE
        for turn in range(0, width, TILE):
            column = min(turn, width - TILE) * SIZE
            target = out + start * out_stride + head * width * SIZE + column
            for term in range(0, channels, MOST_TERMS):
                terms = min(channels - term, MOST_TERMS)
                copy_tile(matrix + term * width * SIZE + column, width * SIZE, terms, table)
                for row in range(0, rows, 4):
                    four_sums(x + term * SIZE, row, rows - 1, x_stride, terms, SIZE, table, ROW, target, out_stride, term > 0)


def chunk_sums(arguments):
    """sums[chunk, h, c] = Σ_n x[n, h, c] · y[n, h] over the rows n of a chunk, a chunk and a head at a time."""
    # fmt: off
    (_, num_chunks, chunks, heads, channels, width, xs, x_stride, ys, y_stride, sums) = load_arguments(arguments, 11)
    # fmt: on
    table = scratch(TABLE)
    while True:
        item = take_next(arguments)
        if item >= num_chunks * heads:
            break
        chunk, head = chunks + item // heads * CHUNK, item % heads
        start, rows = load_index(chunk, 64), load_index(chunk + 8, 64)
        x = xs + start * x_stride + head * channels * SIZE
        y = ys + start * y_stride + head * width * SIZE
        target = sums + item * channels * width * SIZE
        for turn in range(0, width, TILE):
            column = min(turn, width - TILE) * SIZE
            for term in range(0, rows, MOST_TERMS):
                terms, part = min(rows - term, MOST_TERMS), x + term * x_stride
                copy_tile(y + term * y_stride + column, y_stride, terms, table)
                for channel in range(0, channels, 4):
                    # fmt: off
                    four_sums(part, channel, channels - 1, SIZE, terms, x_stride, table, ROW, target + column, width * SIZE,
                              term > 0)
                    # fmt: on


def total_sums(arguments):
    """totals[m] = Σ sums[chunk] over the chunks of m, in their order; each of `length` numbers, a tile or more."""
    _, num_chunks, chunks, num_totals, length, sums, totals = load_arguments(arguments, 7)
    tiles = (length + TILE - 1) // TILE
    while True:
        tile = take_next(arguments)
        if tile >= tiles:
            break
        column = min(tile * TILE, length - TILE) * SIZE
        chunk = 0
        for number in range(num_totals):
            total = splat(0.0, TILE, STORAGE)
            while chunk < num_chunks and load_index(chunks + chunk * CHUNK + 16, 64) == number:
                part = load(sums + chunk * length * SIZE + column, TILE, STORAGE)
                total = fma(part, splat(1.0, TILE, STORAGE), total)
                chunk += 1
            # Stored once, so that two threads whose tiles overlap store the same numbers.
            store(totals + number * length * SIZE + column, total, STORAGE)
