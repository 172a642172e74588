"""A stable counting sort of edges by node, and the items of work that the sorted edges are cut into.

A item is a row of five 64-bit integers in `table`. See `graphattn.ops.cpu.sort` for what is called, and how items are cut.
"""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import INDEX_BITS
from graphattn.ops.cpu.simd import load_arguments, load_index, store_index

INDEX = INDEX_BITS // 8
ITEM = 5 * 8


@inline
def put_item(table, count, first, end, slot, last, part):
    """Writes item number `count`, and gives the number of the next one."""
    item = table + count * ITEM
    store_index(item, first, 64)
    store_index(item + 8, end, 64)
    store_index(item + 16, slot, 64)
    store_index(item + 24, last, 64)
    store_index(item + 32, part, 64)
    return count + 1


@inline
def cut(pointers, num_rows, smallest, most, table):
    """Gathers rows into items that weigh at least `size`, cuts rows longer than two; gives the number of items."""
    weight = load_index(pointers + num_rows * INDEX, INDEX_BITS) + 2 * num_rows
    size = max(smallest, (weight + most - 1) // most)
    count, first, slot, weight = 0, 0, 0, 0
    for row in range(num_rows):
        start = load_index(pointers + row * INDEX, INDEX_BITS)
        stop = load_index(pointers + (row + 1) * INDEX, INDEX_BITS)
        hub = stop - start > 2 * size
        if hub and row > first:
            count = put_item(table, count, first, row, slot, start, 0)
        if hub:
            for begin in range(start, stop, size):
                count = put_item(table, count, row, row + 1, begin, min(begin + size, stop), 1)
        weight += stop - start + 2
        if not hub and (weight >= size or row + 1 == num_rows):
            count = put_item(table, count, first, row + 1, slot, stop, 0)
        if hub or weight >= size:
            first, slot, weight = row + 1, stop, 0
    return count


def group_edges(arguments):
    """Writes pointers, neighbours, edges and items; the number of items is -1 if an index is out of range."""
    # fmt: off
    (_, smallest, most, table, found, num_edges, num_rows, num_neighbours, row, neighbour, pointers, neighbours,
     edges) = load_arguments(arguments, 13)
    # fmt: on
    for r in range(num_rows + 1):
        store_index(pointers + r * INDEX, 0, INDEX_BITS)
    # How many edges row r has is counted in place r + 1.
    for e in range(num_edges):
        r, node = load_index(row + e * 8, 64), load_index(neighbour + e * 8, 64)
        if r < 0 or r >= num_rows or node < 0 or node >= num_neighbours:
            store_index(found, -1, 64)
            return
        place = pointers + (r + 1) * INDEX
        store_index(place, load_index(place, INDEX_BITS) + 1, INDEX_BITS)
    # Place r + 1 becomes the first slot of row r. It moves on by one with each edge that is put there, and so ends as what it
    # must be, the first slot of row r + 1.
    total = 0
    for r in range(num_rows):
        place = pointers + (r + 1) * INDEX
        degree = load_index(place, INDEX_BITS)
        store_index(place, total, INDEX_BITS)
        total += degree
    for e in range(num_edges):
        place = pointers + (load_index(row + e * 8, 64) + 1) * INDEX
        slot = load_index(place, INDEX_BITS)
        store_index(place, slot + 1, INDEX_BITS)
        store_index(neighbours + slot * INDEX, load_index(neighbour + e * 8, 64), INDEX_BITS)
        store_index(edges + slot * INDEX, e, INDEX_BITS)
    store_index(found, cut(pointers, num_rows, smallest, most, table), 64)


def group_blocks(arguments):
    """Writes pointers, the first neighbour of each row, and items; their number is -1 if `ptr` does not rise to the end."""
    _, smallest, most, table, found, num_graphs, num_nodes, ptr, pointers, neighbours = load_arguments(arguments, 10)
    stop, total = 0, 0
    store_index(pointers, 0, INDEX_BITS)
    for graph in range(num_graphs):
        start, stop = stop, load_index(ptr + (graph + 1) * 8, 64)
        if stop < start or stop > num_nodes:
            store_index(found, -1, 64)
            return
        for row in range(start, stop):
            total += stop - start
            store_index(pointers + (row + 1) * INDEX, total, INDEX_BITS)
            store_index(neighbours + row * INDEX, start, INDEX_BITS)
    if load_index(ptr, 64) != 0 or stop != num_nodes:
        store_index(found, -1, 64)
        return
    store_index(found, cut(pointers, num_nodes, smallest, most, table), 64)
