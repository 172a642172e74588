"""Linear attention's sums, graph by graph: out_i = q_i · Σ_j k_j v_jᵀ over the nodes j of the graph of i.

The table Σ_j k_j v_jᵀ of a graph and head is made and read for one tile of value channels at a time, so that it stays in the
first-level cache; four rows of it, or four queries, at once. See `graphattn.ops.cpu.linear_sums` for what is called.
"""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import MOST_CHANNELS, STORAGE, VALUE_TILE
from graphattn.ops.cpu.simd import fma, load, load_arguments, load_index, scratch, splat, spread, store, take_next

SIZE = 8 if STORAGE == "float64" else 4
ROW = VALUE_TILE * SIZE
TABLE = MOST_CHANNELS * ROW


@inline
def four_sums(rows, first, last, row_step, count, step, others, other_step, target, target_step):
    """target[r] = Σ_n rows[r, n] · others[n] for four rows r from `first` on, each a vector, added up in the order of n.

    A row after the last is the last again.
    """
    second, third, fourth = min(first + 1, last), min(first + 2, last), min(first + 3, last)
    zero = splat(0.0, VALUE_TILE, STORAGE)
    sum_0, sum_1, sum_2, sum_3 = zero, zero, zero, zero
    for n in range(count):
        other, place = load(others + n * other_step, VALUE_TILE, STORAGE), rows + n * step
        sum_0 = fma(spread(load(place + first * row_step, 1, STORAGE), VALUE_TILE), other, sum_0)
        sum_1 = fma(spread(load(place + second * row_step, 1, STORAGE), VALUE_TILE), other, sum_1)
        sum_2 = fma(spread(load(place + third * row_step, 1, STORAGE), VALUE_TILE), other, sum_2)
        sum_3 = fma(spread(load(place + fourth * row_step, 1, STORAGE), VALUE_TILE), other, sum_3)
    store(target + fourth * target_step, sum_3, STORAGE)
    store(target + third * target_step, sum_2, STORAGE)
    store(target + second * target_step, sum_1, STORAGE)
    store(target + first * target_step, sum_0, STORAGE)


def linear_sums(arguments):
    """Takes a head of a graph after the other until none is left."""
    # fmt: off
    (_, num_graphs, graphs, heads, key_channels, value_channels, queries, query_stride, keys, key_stride, values,
     value_stride, out) = load_arguments(arguments, 13)
    # fmt: on
    table, out_stride = scratch(TABLE), heads * value_channels * SIZE
    while True:
        piece = take_next(arguments)
        if piece >= num_graphs * heads:
            break
        graph, head = graphs + piece // heads * 16, piece % heads
        start, nodes = load_index(graph, 64), load_index(graph + 8, 64)
        query = queries + start * query_stride + head * key_channels * SIZE
        key = keys + start * key_stride + head * key_channels * SIZE
        for turn in range(0, value_channels, VALUE_TILE):
            # The last tile ends with the row: it may do some channels twice.
            column = (head * value_channels + min(turn, value_channels - VALUE_TILE)) * SIZE
            value = values + start * value_stride + column
            for channel in range(0, key_channels, 4):
                four_sums(key, channel, key_channels - 1, SIZE, nodes, key_stride, value, value_stride, table, ROW)
            target = out + start * out_stride + column
            for node in range(0, nodes, 4):
                four_sums(query, node, nodes - 1, query_stride, key_channels, SIZE, table, ROW, target, out_stride)
