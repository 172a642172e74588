"""What every kernel of this folder reads, and how: tiles of [rows, edges, heads, channels] and the formulas on them.

A program takes some items of work at a time: rows of nearly one length, or parts of one length of rows with very many edges.
In each it looks at some edges at a time. Channels and heads are padded to powers of two inside a tile, never in memory.
"""

import triton
import triton.language as tl

# No finite score is below, and what is taken off it never gives NaN.
LOWEST_32, LOWEST_64 = tl.constexpr(-3.4028234663852886e38), tl.constexpr(-1.7976931348623157e308)


@triton.jit
def load_tile(table, stride, node, inside, head, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """table[node, head, channel], zero outside: `node` and `inside` [R, E] → [R, E, heads, PADDED], as it is stored."""
    channel = tl.arange(0, PADDED)
    place = head[:, None] * CHANNELS + channel[None, :]
    known = (head[:, None] < HEADS) & (channel[None, :] < CHANNELS)
    place = node[:, :, None, None].to(tl.int64) * stride + place[None, None, :, :]
    return tl.load(table + place, mask=inside[:, :, None, None] & known[None, None, :, :], other=0.0)


@triton.jit
def store_tile(table, stride, node, inside, head, values, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """table[node, head, channel] = values: `node` and `inside` [R], values [R, heads, PADDED]."""
    channel = tl.arange(0, PADDED)
    place = head[:, None] * CHANNELS + channel[None, :]
    known = (head[:, None] < HEADS) & (channel[None, :] < CHANNELS)
    place = node[:, None, None].to(tl.int64) * stride + place[None, :, :]
    tl.store(table + place, values.to(table.dtype.element_ty), mask=inside[:, None, None] & known[None, :, :])


@triton.jit
def load_heads(table, node, inside, head, HEADS: tl.constexpr, STEP: tl.constexpr):
    """table[node · STEP, head]: `node` and `inside` [R, E] → [R, E, heads]."""
    place = node[:, :, None].to(tl.int64) * (STEP * HEADS) + head[None, None, :]
    return tl.load(table + place, mask=inside[:, :, None] & (head < HEADS)[None, None, :], other=0.0)


@triton.jit
def load_map(weight, row, head, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """weight[row] of an additive score, [1, 1, heads, PADDED]: row 0 is its vector, the others map the edge features."""
    channel = tl.arange(0, PADDED)
    place = (row * HEADS + head[:, None]) * CHANNELS + channel[None, :]
    known = (head[:, None] < HEADS) & (channel[None, :] < CHANNELS)
    return tl.load(weight + place, mask=known, other=0.0)[None, None, :, :]


@triton.jit
def load_items(items, item, num_items, pointers):
    """Row, first and end slot, whether it is a part, and the row's degree; an item beyond the last has no slots."""
    there = item < num_items
    place = items + item.to(tl.int64) * 4
    row = tl.load(place, mask=there, other=0)
    first = tl.load(place + 1, mask=there, other=0)
    end = tl.load(place + 2, mask=there, other=0)
    part = tl.load(place + 3, mask=there, other=0)
    start = tl.load(pointers + row, mask=there, other=0)
    degree = tl.load(pointers + row + 1, mask=there, other=0) - start
    return there, row, first, end, part, start, degree


@triton.jit
def store_state(
    states, item, there, head, begin, values, HEADS: tl.constexpr, CHANNELS: tl.constexpr, LENGTH: tl.constexpr
):  # fmt: skip
    """states[item, head, begin + channel] = values: `item` and `there` [R], values [R, heads, padded]."""
    channel = tl.arange(0, values.shape[2])
    place = (item[:, None].to(tl.int64) * HEADS + head[None, :]) * LENGTH + begin
    known = there[:, None] & (head < HEADS)[None, :]
    known = known[:, :, None] & (channel < CHANNELS)[None, None, :]
    tl.store(states + place[:, :, None] + channel[None, None, :], values, mask=known)


@triton.jit
def load_state(
    states, item, head, begin, HEADS: tl.constexpr, CHANNELS: tl.constexpr, LENGTH: tl.constexpr, PADDED: tl.constexpr
):  # fmt: skip
    """states[item, head, begin + channel] of one item, as a tile of one row: [1, heads, PADDED]."""
    channel = tl.arange(0, PADDED)
    place = (item.to(tl.int64) * HEADS + head) * LENGTH + begin
    known = (head < HEADS)[:, None] & (channel < CHANNELS)[None, :]
    return tl.load(states + place[:, None] + channel[None, :], mask=known, other=0.0)[None, :, :]


@triton.jit
def store_heads(table, row, there, head, values, HEADS: tl.constexpr, STEP: tl.constexpr):
    """table[row · STEP, head] = values: `row` and `there` [R], values [R, heads] or what becomes that."""
    place = table + row[:, None].to(tl.int64) * (STEP * HEADS) + head[None, :]
    tl.store(place, values, mask=there[:, None] & (head < HEADS)[None, :])


@triton.jit
def cut_row(items, item, pointers):
    """Row, [1], whether the item is that row's first part, [1], the row's degree, and of a first part the number of parts."""
    row, first = tl.load(items + item * 4), tl.load(items + item * 4 + 1)
    start, stop = tl.load(pointers + row), tl.load(pointers + row + 1)
    is_first = (tl.load(items + item * 4 + 3) != 0) & (first == start)
    size = tl.maximum(tl.load(items + item * 4 + 2) - first, 1)
    parts = tl.where(is_first, (stop - start + size - 1) // size, 0)
    here = row + tl.zeros([1], row.dtype)
    return here, (here >= 0) & is_first, stop - start, parts


@triton.jit
def slots_of(first, end, turn, EDGES: tl.constexpr):
    """Slots from the turn-th of each item on, and which of them are still in it, [R, EDGES]."""
    place = turn + tl.arange(0, EDGES)[None, :]
    # Beyond the end of the last item of a huge graph slots are beyond what 32 bits hold; places are not.
    return first[:, None] + place, place < (end - first)[:, None]


@triton.jit
def neighbours_of(neighbours, row, start, slot, inside, BLOCKS: tl.constexpr):
    """The node in each slot. Full attention lists only the first node of the row's graph: the others follow it."""
    if BLOCKS:
        origin = tl.load(neighbours + row)
        return tl.where(inside, origin[:, None] + slot - start[:, None], 0)
    return tl.load(neighbours + slot, mask=inside, other=0)


@triton.jit
def edges_of(edges, pointers, neighbours, row, start, degree, slot, inside, BLOCKS: tl.constexpr, COLUMNS: tl.constexpr):
    """The caller's number of the edge in each slot. Pairs of full attention are numbered block after block, row by row."""
    if not BLOCKS:
        edge = tl.load(edges + slot, mask=inside, other=0)
    elif COLUMNS:
        # The row of a source holds every degree-th pair of its block, from its own column on.
        origin = tl.load(neighbours + row)
        first = tl.load(pointers + origin) + row - origin
        edge = tl.where(inside, first[:, None] + (slot - start[:, None]) * degree[:, None], 0)
    else:
        edge = tl.where(inside, slot, 0)
    return edge


@triton.jit
def tanh(z):
    """1 - 2 / (1 + e²ᶻ), which loses the digits of a small z; below 0.625 Cephes' approximation z + z³ R(z²)."""
    square = z * z
    large = 1.0 - 2.0 / (1.0 + tl.exp(2.0 * tl.minimum(tl.abs(z), 50.0)))
    large = tl.where(z < 0, -large, large)
    if z.dtype == tl.float64:
        above = (-9.64399179425052238628e-1 * square - 9.92877231001918586564e1) * square - 1.61468768441708447952e3
        below = (square + 1.12811678491631932402e2) * square + 2.23548839060100448583e3
        ratio = above / (below * square + 4.84406305325125486048e3)
    else:
        ratio = (-5.70498872745e-3 * square + 2.06390887954e-2) * square - 5.37397155531e-2
        ratio = (ratio * square + 1.33314422036e-1) * square - 3.33332819422e-1
    return tl.where(square < 0.390625, z + z * square * ratio, large)


@triton.jit
def activate(z, SLOPE: tl.constexpr, SCORE: tl.constexpr):
    if SCORE == "tanh":
        active = tanh(z)
    elif SCORE == "leaky_relu":
        active = tl.where(z > 0, z, z * SLOPE)
    else:
        tl.static_assert(False, "there is no Triton kernel for this activation")
    return active


@triton.jit
def steepness(z, active, SLOPE: tl.constexpr, SCORE: tl.constexpr):
    """The derivative of the activation."""
    if SCORE == "tanh":
        steep = 1.0 - active * active
    elif SCORE == "leaky_relu":
        steep = tl.where(z > 0, 1.0, tl.full(z.shape, SLOPE, z.dtype))  # of two plain numbers the result is float32
    else:
        tl.static_assert(False, "there is no Triton kernel for this activation")
    return steep


@triton.jit
def add_features(z, weight, attr, edge, inside, head, HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr,
                 EDGE_CHANNELS: tl.constexpr):  # fmt: skip
    """z + W e of an additive score, formed here from the features at their own width."""
    for c in range(EDGE_CHANNELS):
        feature = tl.load(attr + edge.to(tl.int64) * EDGE_CHANNELS + c, mask=inside, other=0.0)
        z += feature[:, :, None, None] * load_map(weight, 1 + c, head, HEADS, CHANNELS, PADDED)
    return z


@triton.jit
def load_features(attr, edge, inside, EDGE_CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """attr[edge]: `edge` and `inside` [R, E] → [R, E, 1, PADDED]."""
    channel = tl.arange(0, PADDED)
    place = edge[:, :, None].to(tl.int64) * EDGE_CHANNELS + channel[None, None, :]
    known = inside[:, :, None] & (channel < EDGE_CHANNELS)[None, None, :]
    return tl.load(attr + place, mask=known, other=0.0)[:, :, None, :]


@triton.jit
def score_edges(
    own, theirs, vector, edge_key, features, weight, bias, attr, edge, inside, head,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, EDGE_CHANNELS: tl.constexpr,
    SCORE: tl.constexpr, EDGE_KEY: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    """Scores [R, E, heads], -inf outside, and what their gradients want, [R, E, heads, PADDED].

    Of the latter, the first is what the vector of an additive score is multiplied by, the second what a slope is multiplied by
    on the way to a query or a key, but for the scale or the vector, which are the same on all edges of a row.

    Args:
        own: queries or keys of the rows, [R, 1, heads, PADDED].
        theirs: of the other ends of the edges, [R, E, heads, PADDED].
        vector: of an additive score, see `load_map`.
        edge_key: of a dot product, what the features of an edge are multiplied by, [R, 1 or E, heads, …].
        features: of the edges, see `load_features`; only with an edge_key.
    """
    if SCORE == "dot":
        active, steep = theirs, theirs
        score = tl.sum(own * theirs, 3) * SCALE
        if EDGE_KEY:
            score += tl.sum(edge_key * features, 3)
    else:
        z = own + theirs
        if EDGE_KEY:
            z = add_features(z, weight, attr, edge, inside, head, HEADS, CHANNELS, PADDED, EDGE_CHANNELS)
        active = activate(z, SCALE, SCORE)
        steep = steepness(z, active, SCALE, SCORE)
        score = tl.sum(vector * active, 3)
    if bias is not None:
        score += load_heads(bias, edge, inside, head, HEADS, 1)
    return tl.where(inside[:, :, None], score, float("-inf")), active, steep


@triton.jit
def lowest(LENGTHS: tl.constexpr, COMPUTE: tl.constexpr):
    """What the largest score so far is, before there is any."""
    return tl.full(LENGTHS, LOWEST_64 if tl.float64 == COMPUTE else LOWEST_32, COMPUTE)


@triton.jit
def dropout_factors(seed, edge, first_head, threshold, FACTOR: tl.constexpr, TILE_HEADS: tl.constexpr, COMPUTE: tl.constexpr):
    """Zero where a weight is dropped, FACTOR where it is kept, [R, E, heads]: as `graphattn.ops.philox.dropout_mask`."""
    key = tl.load(seed)
    number = edge.to(tl.int64)
    low, high = (number & 0xFFFFFFFF).to(tl.uint32), (number >> 32).to(tl.uint32)
    # Four heads at a time are the four words of one draw.
    GROUPS: tl.constexpr = (TILE_HEADS + 3) // 4
    group = (first_head // 4 + tl.arange(0, GROUPS)).to(tl.uint32)[None, None, :]
    zero = tl.zeros([edge.shape[0], edge.shape[1], GROUPS], tl.uint32)
    w0, w1, w2, w3 = tl.philox(key, zero + low[:, :, None], zero + high[:, :, None], zero + group, zero)
    if TILE_HEADS >= 4:
        words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), [edge.shape[0], edge.shape[1], TILE_HEADS])
    elif TILE_HEADS == 2:
        first, second = _word(w0, w2, first_head), _word(w1, w3, first_head)
        words = tl.reshape(tl.join(first, second), [edge.shape[0], edge.shape[1], TILE_HEADS])
    else:
        words = tl.where(first_head % 2 == 0, _word(w0, w2, first_head), _word(w1, w3, first_head))
    return tl.where(words.to(tl.int64) >= threshold, tl.full(words.shape, FACTOR, COMPUTE), 0.0)


@triton.jit
def _word(early, late, first_head):
    return tl.where(first_head % 4 < 2, early, late)
