"""How much of the work a program takes."""

from __future__ import annotations

from itertools import product

import pytest

from graphattn.ops.triton.tiles import Tile, power_of_two, tile_heads, tiles


@pytest.mark.parametrize(("number", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (129, 256)])
def test_power_of_two(number: int, power: int) -> None:
    assert power_of_two(number) == power


def test_heads_by_hand() -> None:
    assert tile_heads(8, 16, together=False) == 8
    assert tile_heads(8, 64, together=False) == 4  # 256 channels
    assert tile_heads(8, 64, together=True) == 8
    assert tile_heads(3, 20, together=False) == 4
    assert tile_heads(2, 1000, together=False) == 1


def test_tiles_by_hand() -> None:
    """1,024 numbers are eight edges of 128 channels: of eight rows with one edge, of one row with many."""
    assert tiles(1, 128, 1)[0] == Tile(rows=8, edges=1, heads=1, warps=1)
    assert tiles(8, 16, 4)[0] == Tile(rows=2, edges=4, heads=8, warps=1)
    assert tiles(8, 16, 64)[0] == Tile(rows=1, edges=8, heads=8, warps=1)
    assert tiles(8, 16, 64, crowded=2)[0] == Tile(rows=1, edges=2, heads=8, warps=1)
    assert tiles(1, 1, 1)[0] == Tile(rows=64, edges=1, heads=1, warps=1)
    assert tiles(1, 1024, 64)[0] == Tile(rows=1, edges=2, heads=1, warps=2)


def test_all_are_powers_of_two_and_different() -> None:
    """As Triton wants the sizes of a tile."""
    for heads, channels, degree in product((1, 2, 8, 128), (1, 3, 16, 128, 1000, 16_384), (1, 2, 16, 1024)):
        made = tiles(heads, channels, degree)
        assert 1 < len(made) == len(set(made)) <= 4
        for tile in made:
            assert tile.heads == heads
            assert all(number == power_of_two(number) for number in tile)
