"""Pieces of work of a GPU."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.triton import schedule as module
from graphattn.ops.triton.schedule import PART, schedule


def pointers(*degrees: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor([0, *degrees]).cumsum(0).to(dtype)


def test_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 1 has 7 edges and is cut into parts of 3; the others come in steps of 8 edges, so in their own order."""
    monkeypatch.setattr(module, "PART", 3)
    assert schedule(pointers(2, 7, 0, 3)).tolist() == [
        [1, 2, 5, 1],
        [1, 5, 8, 1],
        [1, 8, 9, 1],
        [0, 0, 2, 0],
        [3, 9, 12, 0],
        [2, 9, 9, 0],
    ]


def test_long_rows_come_first() -> None:
    assert schedule(pointers(1, 9, 8, 17, 2))[:, 0].tolist() == [3, 1, 0, 2, 4]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_no_rows_and_no_edges(dtype: torch.dtype) -> None:
    assert schedule(pointers(dtype=dtype)).shape == (0, 4)
    empty = schedule(pointers(0, 0, dtype=dtype))
    assert empty.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert empty.dtype == dtype


@settings(deadline=None, max_examples=50)
@given(degrees=st.lists(st.one_of(st.integers(0, 20), st.integers(0, 3 * PART + 1)), max_size=12))
def test_every_slot_is_in_one_piece(degrees: list[int]) -> None:
    start = pointers(*degrees)
    items = schedule(start).tolist()
    assert sorted(slot for _, first, end, _ in items for slot in range(first, end)) == list(range(sum(degrees)))
    parts = [item for item in items if item[3]]
    assert items[: len(parts)] == parts
    # The kernels make room for the states of parts, and look for them, by these.
    assert len(parts) <= 2 * (len(items) - len(degrees))
    assert parts == sorted(parts)
    for row, first, end, part in items:
        assert start[row] <= first <= end <= start[row + 1]
        assert bool(part) == (degrees[row] > PART)
        assert end - first <= PART


def test_both_families_of_kernels_group_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = AdjacencyMask.from_edge_index(torch.randint(9, (2, 40), generator=generator), 9)
    blocks = BlockDiagonalMask.from_batch(torch.randint(4, (9,), generator=generator), 5)
    for one, other in ((mask.by_target("cpu"), mask.by_target("triton")), (mask.by_source("cpu"), mask.by_source("triton"))):
        for name in ("pointers", "neighbours", "edges"):
            assert getattr(one, name).dtype == getattr(other, name).dtype
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert one.items.shape[1] == 5
        assert torch.equal(other.items, schedule(other.pointers))
    of_cpu, of_triton = blocks.layout("cpu"), blocks.layout("triton")
    assert torch.equal(of_cpu.pointers, of_triton.pointers)
    assert torch.equal(of_cpu.first_nodes, of_triton.first_nodes)
    assert of_cpu.graphs is not None
    assert of_triton.tiles is not None
    assert torch.equal(of_cpu.graphs, of_triton.tiles[:, :2])  # of graphs as small as these one tile each
