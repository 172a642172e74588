"""How large a bite of the work a program takes at a time."""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """What a program holds at a time: ROWS × EDGES edges of TILE_HEADS heads.

    Args:
        rows: items of work of a program.
        edges: edges of each of them at a time.
        heads: heads of a program; other programs take the others.
        warps: groups of 32 threads that share the work.
    """

    rows: int
    edges: int
    heads: int = 1
    warps: int = 1


# Numbers of a table that one warp holds at a time, 32 or 64 in each thread's registers.
_NUMBERS = 1024
# Edges that a program holds at a time, each of which has numbers of its own.
_MOST_SLOTS = 64
# Channels of all heads of a program, unless it takes all heads.
_MOST_CHANNELS = 256


def tile_heads(heads: int, channels: int, together: bool) -> int:
    """A power of two: how many heads a program takes. All of them where they write to the same place (`together`)."""
    padded = power_of_two(heads)
    if together:
        return padded
    return max(min(padded, _MOST_CHANNELS // power_of_two(channels)), 1)


def tiles(heads: int, channels: int, degree: int, crowded: int = 0) -> list[Tile]:
    """Tiles that can serve, the likeliest to be fast first.

    Args:
        heads: of a program, a power of two.
        channels: of a head, the widest of keys, values and edge features.
        degree: edges of an item on average, as a power of two.
        crowded: how often to halve a tile, for the room that other numbers take in registers.
    """
    width = heads * power_of_two(channels)
    warps = min(max(width // 512, 1), 8)
    slots = min(max((_NUMBERS >> crowded) * warps // width, 1), _MOST_SLOTS)
    edges = min(degree, slots)
    rows = slots // edges
    made = [Tile(rows, edges), Tile(rows, 2 * edges), Tile(2 * rows, edges)]
    made.append(Tile(rows, edges // 2) if edges > 1 else Tile(max(rows // 2, 1), edges))
    return [tile._replace(heads=heads, warps=warps) for tile in dict.fromkeys(made)]


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(number - 1, 0).bit_length()
