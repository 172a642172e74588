"""Rows with very many edges are cut into parts: the same answer, and the same bits for any number of threads."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases.compare import assert_all_close, assert_close, gradients
from cases.op import Tensors, assert_parity, attend, draw, expected_step, step
from cases.settings import backend, poisoned_memory
from helpers import threads
from torch import Tensor

from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.cpu import sort
from graphattn.ops.philox import philox4x32

FORMS = [
    ("dot", "softmax", {}),
    ("dot", "sigmoid", {}),
    ("dot", "relu", {}),
    ("additive", "softmax", {}),
    ("additive", "relu", {}),
    ("tanh", "sigmoid", {}),
    ("static", "softmax", {}),
    ("dot", "softmax", {"dropout": 0.4, "seed": 9}),
    ("additive", "softmax", {"dropout": 0.4, "seed": 9}),
]


@pytest.fixture
def small_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more than 32 edges are hubs."""
    monkeypatch.setattr(sort, "SMALLEST_ITEM", 16)
    monkeypatch.setattr(sort, "MOST_ITEMS", 1000)


def hubs(edges: int = 700) -> AdjacencyMask:
    """Two fifths of the edges go to target 3, two fifths come from source 5; the others are anywhere, the order is random."""
    generator = torch.Generator().manual_seed(1)
    target, source = (torch.randint(size, (edges,), generator=generator) for size in (40, 30))
    target[torch.rand(edges, generator=generator) < 0.4] = 3
    source[torch.rand(edges, generator=generator) < 0.4] = 5
    return AdjacencyMask(source, target, 30, 40)


@pytest.mark.usefixtures("small_items")
@pytest.mark.parametrize(("score", "normaliser", "options"), FORMS, ids=str)
def test_rows_in_parts(score: str, normaliser: str, options: dict[str, Any]) -> None:
    mask = hubs()
    for grouped in (mask.by_target("cpu"), mask.by_source("cpu")):
        parts = grouped.items[grouped.items[:, 4] == 1]
        assert len(parts) >= 15  # of one row, 3 or 5
        assert len(parts[:, 0].unique()) == 1
    options = {"score": score, "normaliser": normaliser, **options}
    tensors = draw(mask, score, edge_attr=True)
    assert_parity(tensors, mask, **options)
    if normaliser == "softmax" and "dropout" not in options:  # the same parts, and kernels of their own to compile
        assert_parity(tensors, mask, torch.float32, **options)


@pytest.mark.usefixtures("small_items")
@pytest.mark.parametrize(("score", "normaliser", "options"), FORMS, ids=str)
def test_the_same_bits(score: str, normaliser: str, options: dict[str, Any]) -> None:
    """In so many parts that two threads are in the same row at the same time."""
    mask = hubs(6000)
    tensors = draw(mask, score, edge_attr=True)
    results = []
    for number in (1, 1, 2, 2, 2, 16, 16, 16):
        with threads(number), backend("cpu"):
            results.append(step(tensors, mask, score=score, normaliser=normaliser, **options))
    for name, expected in results[0].items():
        assert all(torch.equal(result[name], expected) for result in results[1:]), name


@pytest.mark.usefixtures("small_items")
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_blocks_in_parts(score: str) -> None:
    """Nodes of a graph of 50 are hubs, those of one of 10 are not."""
    mask = BlockDiagonalMask.from_batch((torch.arange(60) % 6 == 0).long())
    assert mask.layout("cpu").items[:, 4].sum() >= 50 * 3
    pairs = mask.pairs()
    assert_parity(draw(pairs, score), mask, score=score)


@pytest.mark.usefixtures("small_items")
def test_parts_of_nothing() -> None:
    """A hub all of whose first part is forbidden, one all of which is, and one with its largest scores in the last part."""
    target = torch.arange(3).repeat_interleave(100)
    mask = AdjacencyMask(torch.arange(300) % 7, target, 7, 3)
    tensors = draw(mask)
    tensors["bias"][:40] = -math.inf
    tensors["bias"][100:200] = -math.inf
    tensors["bias"][290:] += 500
    assert_parity(tensors, mask)
    with backend("cpu"):
        assert attend(tensors, mask)[1].eq(0).all()


@pytest.mark.usefixtures("small_items")
def test_not_a_number_in_one_part() -> None:
    mask = hubs()
    tensors = draw(mask)
    edge = int((mask.target == 3).nonzero()[-1])
    tensors["bias"][edge, 0] = math.nan
    with backend("cpu"):
        out = attend(tensors, mask)
    assert out[3, 0].isnan().all()
    out[3, 0] = 0
    assert not out.isnan().any()


@pytest.mark.usefixtures("small_items")
@pytest.mark.parametrize("score", ["dot", "additive"])
@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid"])
def test_nothing_is_read_before_it_is_written(score: str, normaliser: str) -> None:
    """Every torch.empty is filled with NaN."""
    mask = hubs()
    tensors = draw(mask, score, edge_attr=True)
    with poisoned_memory():
        assert torch.empty(3).isnan().all()
        assert_parity(tensors, mask, score=score, normaliser=normaliser)


@pytest.mark.parametrize("inwards", [True, False], ids=["to the centre", "from the centre"])
def test_star(inwards: bool) -> None:
    """20,000 edges at one node, in items of the usual size."""
    centre, ends = torch.zeros(20_000, dtype=torch.long), torch.arange(20_000)
    mask = AdjacencyMask(ends, centre, 20_000, 1) if inwards else AdjacencyMask(centre, ends, 1, 20_000)
    grouped = mask.by_target("cpu") if inwards else mask.by_source("cpu")
    assert grouped.items[:, 4].tolist() == [1] * 10
    assert_parity(draw(mask, edge_attr=True), mask)
    tensors = {name: tensor.float() for name, tensor in draw(mask, edge_attr=True).items()}
    results = []
    for number in (1, 2, 16):
        with threads(number), backend("cpu"):
            results.append(step(tensors, mask))
    for name, expected in expected_step(tensors, mask).items():
        # Sums of 20,000 terms, float32 itself.
        assert_close(results[0][name], expected, name, tolerance=5e-5)
        assert all(torch.equal(result[name], results[0][name]) for result in results[1:]), name


def test_edge_numbers_beyond_32_bits() -> None:
    """The operator itself, with 64-bit indices and edges numbered from 2³² - 20 on: dropout is drawn by their numbers."""
    mask = hubs(60)
    tensors = draw(mask, bias=False)
    rows, columns = (
        [g.pointers.long(), g.neighbours.long(), g.edges.long()] for g in (mask.by_target("cpu"), mask.by_source("cpu"))
    )
    first, p, seed = 2**32 - 20, 0.4, 2**33 + 7

    def run(grouped: list[Tensor], items: Tensor) -> tuple[Tensor, ...]:
        pointers, neighbours, edges = grouped
        return pointers, neighbours, edges + first, items

    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    out, _, _ = torch.ops.graphattn.fused_attention(
        *(leaves["query"], leaves["key"], leaves["value"], None, None, None, None, torch.tensor(seed)),
        *run(rows, mask.by_target("cpu").items),
        *(*run(columns, mask.by_source("cpu").items), None, None, None),
        *("cpu", "dot", "softmax", False, False, 1 / math.sqrt(3), p),
    )
    edge = torch.arange(60) + first
    words = philox4x32(
        (edge & 0xFFFFFFFF, edge >> 32, torch.zeros_like(edge), torch.zeros_like(edge)),
        (torch.tensor(seed & 0xFFFFFFFF), torch.tensor(seed >> 32)),
    )
    keep = torch.stack(words[:2], 1) >= math.ceil(p * 2**32)
    expected = by_hand(leaves, mask, keep.double() / (1 - p))
    assert_close(out, expected)
    assert_all_close(*(gradients(y, list(leaves.values()), unused=False) for y in (out, expected)))


def by_hand(tensors: Tensors, mask: AdjacencyMask, factors: Tensor) -> Tensor:
    """Σ_j weight · factor · value, row by row."""
    rows = []
    for target in range(mask.num_targets):
        edges = (mask.target == target).nonzero().flatten()
        source = mask.source[edges]
        scores = (tensors["query"][target] * tensors["key"][source]).sum(-1) / math.sqrt(3)
        weights = scores.softmax(0) * factors[edges]
        rows.append((weights.unsqueeze(-1) * tensors["value"][source]).sum(0))
    return torch.stack(rows)
