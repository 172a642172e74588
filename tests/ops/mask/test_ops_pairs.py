"""Where pairs stand in the flat order, and when they are too many."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import BlockDiagonalMask
from graphattn.ops.mask.pairs import count_pairs, pair_numbers, refuse_too_many_pairs


@settings(deadline=None, derandomize=True, max_examples=50, database=None)
@given(st.lists(st.integers(0, 4), max_size=12))
def test_pairs_of_the_mask_are_numbered_in_turn(batch: list[int]) -> None:
    """The mask's own list of pairs is made another way."""
    blocks = BlockDiagonalMask.from_batch(torch.tensor(batch, dtype=torch.long))
    pairs = blocks.pairs()
    assert torch.equal(pair_numbers(blocks, pairs.source, pairs.target), torch.arange(blocks.num_pairs))
    assert count_pairs(blocks) == blocks.num_pairs == sum(batch.count(graph) ** 2 for graph in range(5))


def test_by_hand() -> None:
    """Graphs {1, 3} and {0, 2, 4}: pair 0 → 4 is in the second one's row 2, column 0, after the four pairs of the first."""
    blocks = BlockDiagonalMask.from_batch(torch.tensor([1, 0, 1, 0, 1]))
    assert pair_numbers(blocks, torch.tensor([0, 3]), torch.tensor([4, 1])).tolist() == [4 + 2 * 3 + 0, 1]


def test_compiles_and_follows_sizes() -> None:
    def numbers(batch: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        blocks = BlockDiagonalMask.from_batch(batch)
        return pair_numbers(blocks, source, target), torch.zeros(count_pairs(blocks), 2)

    function = torch.compile(numbers, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (torch.tensor([1, 0, 1, 0, 1]), torch.tensor([0, 0, 0, 2, 2, 2, 2])):
        source, target = torch.arange(len(batch)), torch.arange(len(batch))
        for actual, expected in zip(function(batch, source, target), numbers(batch, source, target), strict=True):
            assert torch.equal(actual, expected)


def test_pair_between_two_graphs() -> None:
    with pytest.raises(InputError, match="nodes of the same graph"):
        pair_numbers(BlockDiagonalMask.from_batch(torch.tensor([0, 0, 1])), torch.tensor([0]), torch.tensor([2]))


def test_more_than_half_of_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4, "SC_PHYS_PAGES": 500}.__getitem__)
    refuse_too_many_pairs("walks", 10, 1000)
    message = "^walks of 1,234 pairs of nodes would take about 1,001 bytes, more than half of the 2,000 here; use encodings of"
    with pytest.raises(InputError, match=message):
        refuse_too_many_pairs("walks", 1234, 1001)


def test_of_a_gpu_its_own_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 3000

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    refuse_too_many_pairs("walks", 10, 1500, torch.device("cuda"))
    with pytest.raises(InputError, match="more than half of the 3,000 here"):
        refuse_too_many_pairs("walks", 10, 1501, torch.device("cuda"))
