"""What forward and backward share: where things lie in memory, and the walk over the edges of a row."""

from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.kernels.constants import (
    BLOCKS,
    COLUMNS,
    COMPUTE,
    DROPOUT,
    EDGE_CHANNELS,
    EDGE_TILE,
    HEADS,
    INDEX_BITS,
    KEY_CHANNELS,
    KEY_TILE,
    SHARED,
    STORAGE,
    VALUE_CHANNELS,
    VALUE_TILE,
)
from graphattn.ops.cpu.simd import (
    add,
    dropout_factors,
    head_sum,
    load,
    load_index,
    load_indices,
    mul,
    prefetch,
    splat,
    store,
    store_index,
    tile,
)

SIZE = {"float32": 4, "float64": 8}[COMPUTE]
STORED = {"float32": 4, "float64": 8, "bfloat16": 2}[STORAGE]
INDEX = INDEX_BITS // 8
ITEM = 5 * 8  # an item of work: first row, end row, first slot, end slot, and whether it is a part of one row

HEAD_ROW = HEADS * SIZE
KEY_ROW, KEY_TILES = HEADS * KEY_CHANNELS, HEADS * KEY_CHANNELS // KEY_TILE
VALUE_ROW, VALUE_TILES = HEADS * VALUE_CHANNELS, HEADS * VALUE_CHANNELS // VALUE_TILE
EDGE_ROW, EDGE_TILES = HEADS * EDGE_CHANNELS, HEADS * EDGE_CHANNELS // EDGE_TILE
KEY_TILE_HEADS, VALUE_TILE_HEADS = max(1, KEY_TILE // KEY_CHANNELS), max(1, VALUE_TILE // VALUE_CHANNELS)
KEY_TILE_CHANNELS, VALUE_TILE_CHANNELS = KEY_TILE // KEY_TILE_HEADS, VALUE_TILE // VALUE_TILE_HEADS
EDGE_TILE_HEADS = EDGE_TILE // EDGE_CHANNELS

# The edges of a row are taken in blocks: all scores, then all weights, then all sums. A block's scores of all heads stay in
# the first-level cache, and so do the gathered rows that backward reads twice.
BLOCK = max(8, min(64, 16384 // ((KEY_ROW + VALUE_ROW) * STORED) // 8 * 8))
# Elementwise work runs over a block's [edges, heads] as one flat array, in vectors of whole edges: a few registers at once,
# since one alone would wait for its own results. The last vector may run over the block's end.
REGISTER_EDGES = max(1, 64 // SIZE // HEADS)
FLAT_EDGES = REGISTER_EDGES * max(1, min(4, 8 // REGISTER_EDGES))
FLAT = FLAT_EDGES * HEADS
SCORES = (BLOCK + 16) * HEADS * SIZE
# How many edges ahead a row is asked for: far enough for memory to answer, near enough to find it in the cache still.
AHEAD = 24
KEY_LINES, VALUE_LINES = (KEY_ROW * STORED + 63) // 64, 0 if SHARED and not COLUMNS else (VALUE_ROW * STORED + 63) // 64
STATISTICS_LINES = (3 * HEADS * SIZE + 63) // 64

DROPOUT_LANES = 16
REST = max(1, HEADS % 4)
DRAWN = DROPOUT_LANES * 4 * SIZE
FACTORS = SCORES if DROPOUT else SIZE


@inline
def source_of_row(neighbours, pointers, row):
    """What `node_at` needs: the list of neighbours or, on a block, the first node less the first slot."""
    if BLOCKS:
        return load_index(neighbours + row * INDEX, INDEX_BITS) - load_index(pointers + row * INDEX, INDEX_BITS)
    return neighbours


@inline
def node_at(source, slot):
    """The neighbour at a slot of the sorted edges."""
    if BLOCKS:
        return source + slot
    return load_index(source + slot * INDEX, INDEX_BITS)


@inline
def edge_at(edges, step, slot):
    """The caller's number of the edge at a slot. On a block edges are numbered, not listed: edges + step · slot."""
    if BLOCKS:
        return edges + step * slot
    return load_index(edges + slot * INDEX, INDEX_BITS)


@inline
def ask_for_keys(source, slot, last, keys, key_stride):
    """Prefetches the key of the neighbour some edges further on, also beyond the row's end."""
    if not BLOCKS:
        node = node_at(source, min(slot + AHEAD, last))
        for line in range(KEY_LINES):
            prefetch(keys + node * key_stride + 64 * line)


@inline
def ask_for_values(source, slot, last, values, value_stride, statistics):
    """The same for its value and, where a row is a source, for its statistics."""
    if not BLOCKS and (VALUE_LINES or COLUMNS):
        node = node_at(source, min(slot + AHEAD, last))
        for line in range(VALUE_LINES):
            prefetch(values + node * value_stride + 64 * line)
        if COLUMNS:
            for line in range(STATISTICS_LINES):
                prefetch(statistics + node * 3 * HEADS * SIZE + 64 * line)


@inline
def put_sum(target, k, position, step, channels, value):
    """Stores a tile's sums by head for edge k; the later parts of a head wider than a tile are added to the first."""
    place = target + (k * HEADS + position // channels) * SIZE
    if position % channels != 0:
        value = add(value, load(place, step, COMPUTE))
    store(place, value, COMPUTE)


@inline
def value_products(target, begin, count, last, source, own, table, stride, statistics):
    """target[edge, head] = own · row of the neighbour, over the channels of values."""
    for t in range(VALUE_TILES):
        mine = load(own + t * VALUE_TILE * STORED, VALUE_TILE, STORAGE)
        for k in range(count):
            if t == 0:
                ask_for_values(source, begin + k, last, table, stride, statistics)
            theirs = load(table + node_at(source, begin + k) * stride + t * VALUE_TILE * STORED, VALUE_TILE, STORAGE)
            put_sum(target, k, t * VALUE_TILE, VALUE_TILE_HEADS, VALUE_CHANNELS, head_sum(mul(mine, theirs), VALUE_TILE_HEADS))


@inline
def edge_products(target, begin, count, source, edges, step, features, own, table):
    """target[edge, head] += vector of that head · edge features; the vectors are `own` or, if that is 0, the neighbour's."""
    for t in range(EDGE_TILES):
        for k in range(count):
            vectors = own if table == 0 else table + node_at(source, begin + k) * EDGE_ROW * SIZE
            feature = load(features + edge_at(edges, step, begin + k) * EDGE_CHANNELS * SIZE, EDGE_CHANNELS, COMPUTE)
            product = mul(load(vectors + t * EDGE_TILE * SIZE, EDGE_TILE, COMPUTE), tile(feature, EDGE_TILE_HEADS))
            place = target + (k * HEADS + t * EDGE_TILE_HEADS) * SIZE
            store(place, add(load(place, EDGE_TILE_HEADS, COMPUTE), head_sum(product, EDGE_TILE_HEADS)), COMPUTE)


@inline
def add_bias(scores, begin, count, edges, step, bias):
    for k in range(count):
        place = scores + k * HEADS * SIZE
        term = load(bias + edge_at(edges, step, begin + k) * HEADS * SIZE, HEADS, COMPUTE)
        store(place, add(load(place, HEADS, COMPUTE), term), COMPUTE)


@inline
def clear(address, length):
    """Writes `length` zeros in whole rows of heads."""
    for k in range(0, length, HEADS):
        store(address + k * SIZE, splat(0.0, HEADS, COMPUTE), COMPUTE)


@inline
def pad(target, count, value):
    """Fills what the last flat vector of a block reads beyond its edges.

    Chance numbers there would count in sums, and where they were subnormal, each operation on them would take a hundred
    times as long.
    """
    store(target + count * HEADS * SIZE, splat(value, FLAT, COMPUTE), COMPUTE)


@inline
def draw_dropout(factors, begin, count, edges, step, seed, threshold, factor, numbers, drawn):
    """factors[edge, head] = 0 where the weight is dropped, 1 / (1 - p) where it is kept; by sixteen edges and four heads."""
    for k in range(0, count, DROPOUT_LANES):
        for lane in range(DROPOUT_LANES):
            store_index(numbers + 8 * lane, edge_at(edges, step, begin + min(k + lane, count - 1)), 64)
        lanes = load_indices(numbers, DROPOUT_LANES)
        for group in range(HEADS // 4):
            store(drawn, dropout_factors(lanes, group, 4, seed, threshold, factor, COMPUTE), COMPUTE)
            for lane in range(DROPOUT_LANES):
                place = factors + ((k + lane) * HEADS + 4 * group) * SIZE
                store(place, load(drawn + lane * 4 * SIZE, 4, COMPUTE), COMPUTE)
        if HEADS % 4:
            store(drawn, dropout_factors(lanes, HEADS // 4, REST, seed, threshold, factor, COMPUTE), COMPUTE)
            for lane in range(DROPOUT_LANES):
                place = factors + ((k + lane) * HEADS + HEADS // 4 * 4) * SIZE
                store(place, load(drawn + lane * REST * SIZE, REST, COMPUTE), COMPUTE)
    pad(factors, count, 0.0)
