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
    pieces = schedule(start).tolist()
    assert sorted(slot for _, first, end, _ in pieces for slot in range(first, end)) == list(range(sum(degrees)))
    parts = [piece for piece in pieces if piece[3]]
    assert pieces[: len(parts)] == parts
    # The kernels make room for the states of parts, and look for them, by these.
    assert len(parts) <= 2 * (len(pieces) - len(degrees))
    assert parts == sorted(parts)
    for row, first, end, part in pieces:
        assert start[row] <= first <= end <= start[row + 1]
        assert bool(part) == (degrees[row] > PART)
        assert end - first <= PART


def test_masks_for_the_triton_kernels_hold_them(monkeypatch: pytest.MonkeyPatch) -> None:
    edge_index, batch = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 1]]), torch.tensor([0, 0, 1])
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    mask = AdjacencyMask.from_edge_index(edge_index, 3)
    assert torch.equal(mask.by_target.pieces, schedule(mask.by_target.pointers))
    assert torch.equal(mask.by_source.pieces, schedule(mask.by_source.pointers))
    grouped = BlockDiagonalMask.from_batch(batch).grouped
    assert torch.equal(grouped.pieces, schedule(grouped.pointers))
    monkeypatch.delenv("GRAPHATTN_BACKEND")
    assert AdjacencyMask.from_edge_index(edge_index.clone(), 3).by_target.pieces.shape[1] == 5


def test_both_kinds_of_kernels_group_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(9, (2, 40), generator=generator)
    batch = torch.randint(4, (9,), generator=generator)

    def groups() -> list[torch.Tensor]:
        mask, blocks = AdjacencyMask.from_edge_index(ends.clone(), 9), BlockDiagonalMask.from_batch(batch.clone(), 5)
        made = (mask.by_target, mask.by_source, blocks.grouped)
        parts = [part for of in made for part in (of.pointers, of.neighbours, of.edges)]
        return [*parts[:-1], parts[-1][:, :2]]  # graphs, or tiles: of graphs as small as these one each

    of_cpu = groups()
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    for one, other in zip(of_cpu, groups(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
