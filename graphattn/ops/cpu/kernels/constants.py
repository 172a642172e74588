"""The constants that a specialisation gives to the templates of this folder. These values are for editors and linters only.

A table (queries, keys, values) has rows of heads × channels numbers, read in tiles: vectors of some whole heads, or of a
part of one head where that is wider than a tile.
"""

HEADS = 8
KEY_CHANNELS, KEY_TILE = 8, 64  # channels of a head in queries and keys; numbers in a tile
VALUE_CHANNELS, VALUE_TILE = 8, 64  # the same of values
EDGE_CHANNELS, EDGE_TILE = 1, 8  # the same of edge features, which are read once for all heads of a tile
STORAGE, COMPUTE = "float32", "float32"  # type of the tables in memory; type of the arithmetic and of everything else
INDEX_BITS = 32
MOST_TERMS, TILE = 256, 16  # of products over rows: terms of a sum that are kept on the stack; columns of a tile
SCORE = "dot"  # "dot", "leaky_relu" or "tanh" (the additive scores, by their activation)
KEEPS_STATE, NEEDS_DELTA, SUMS_TO_ONE = True, True, True  # of the normaliser, see `graphattn.ops.normaliser.base`
BLOCKS = False  # full attention on each graph's own block: neighbours are consecutive, and are not listed
DROPOUT = False
EDGE_KEY, EDGE_VALUE = False, False  # whether edge features enter the scores, and the values
SHARED = False  # values are keys: one table, one gradient
COLUMNS = False  # backward: gradients of sources (keys, values) instead of those of targets (queries)
