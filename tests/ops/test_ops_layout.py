"""Edges grouped by node: the counting sort against torch's sort, the items of work, and what tracers make of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils import _pytree as pytree

from graphattn.errors import InputError
from graphattn.ops import layout
from graphattn.ops.cpu import sort
from graphattn.ops.layout import BlockLayout, EdgeLayout, group_blocks, group_edges
from graphattn.ops.triton.grouping import TritonGrouping
from graphattn.ops.triton.schedule import schedule

drawn = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
Edges = tuple[Tensor, Tensor, int, int]


@st.composite
def edge_lists(draw: st.DrawFn) -> Edges:
    """Unsorted edges between up to 7 and 5 nodes: multi-edges, self-loops, empty rows, no edges; sometimes a hub."""
    num_rows, num_neighbours = draw(st.integers(0, 7)), draw(st.integers(0, 5))
    none = num_rows == 0 or num_neighbours == 0
    end = st.tuples(st.integers(0, max(0, num_rows - 1)), st.integers(0, max(0, num_neighbours - 1)))
    pairs = [] if none else draw(st.lists(end, max_size=30))
    if not none and draw(st.booleans()):
        pairs += [(draw(st.integers(0, num_rows - 1)), k % num_neighbours) for k in range(draw(st.integers(1, 80)))]
    row, neighbour = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return row, neighbour, num_rows, num_neighbours


def assert_sorted(grouped: EdgeLayout, edges: Edges, dtype: torch.dtype) -> None:
    row, neighbour, num_rows, _ = edges
    order = torch.argsort(row, stable=True)
    assert {grouped.pointers.dtype, grouped.neighbours.dtype, grouped.edges.dtype} == {dtype}
    assert grouped.edges.tolist() == order.tolist()
    assert grouped.neighbours.tolist() == neighbour[order].tolist()
    assert grouped.pointers.tolist() == [int((row < r).sum()) for r in range(num_rows + 1)]


def assert_items(items: list[list[int]], degrees: list[int]) -> None:
    """All rows and slots are taken once, in order; whole rows to the size, hubs in parts of the size."""
    size = max(sort.SMALLEST_ITEM, -(-(sum(degrees) + 2 * len(degrees)) // sort.MOST_ITEMS))
    starts = [sum(degrees[:row]) for row in range(len(degrees) + 1)]
    slot, row = 0, 0
    for number, (first, end, begin, stop, part) in enumerate(items):
        assert begin == slot
        if part:
            assert end == first + 1
            assert degrees[first] > 2 * size
            assert stop == min(begin + size, starts[end])
            assert first == row
            row += stop == starts[end]
        else:
            assert (first, begin, stop) == (row, starts[first], starts[end])
            weights = [degree + 2 for degree in degrees[first:end]]
            assert sum(weights[:-1]) < size
            assert max(degrees[first:end]) <= 2 * size
            assert sum(weights) >= size or number + 1 == len(items) or items[number + 1][4]
            row = end
        slot = stop
    assert (row, slot) == (len(degrees), sum(degrees))


@drawn
@given(edge_lists())
def test_as_torch_sorts(edges: Edges) -> None:
    assert_sorted(group_edges(*edges, "cpu"), edges, torch.int32)


@drawn
@given(edge_lists())
def test_int64(monkeypatch: pytest.MonkeyPatch, edges: Edges) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(layout, "INT32_LIMIT", 0)
        assert_sorted(group_edges(*edges, "cpu"), edges, torch.int64)


@drawn
@given(edge_lists(), st.sampled_from([32, 64]))
def test_for_triton(edges: Edges, bits: int) -> None:
    """In torch's own operations."""
    grouped = EdgeLayout(*TritonGrouping().edges(*edges, bits))
    assert_sorted(grouped, edges, torch.int32 if bits == 32 else torch.int64)
    assert torch.equal(grouped.items, schedule(grouped.pointers))


def test_edges_that_are_not_contiguous() -> None:
    pairs = torch.tensor([[1, 5], [0, 6], [1, 7]])
    grouped = group_edges(pairs[:, 0], pairs[:, 1], 2, 8, "cpu")
    assert (grouped.pointers.tolist(), grouped.neighbours.tolist()) == ([0, 1, 3], [6, 5, 7])


def test_a_large_graph() -> None:
    generator = torch.Generator().manual_seed(0)
    row, neighbour = torch.randint(0, 5000, (2, 300_000), generator=generator)
    row[:50_000] = 7
    grouped = group_edges(row, neighbour, 5000, 5000, "cpu")
    order = torch.argsort(row, stable=True)
    assert torch.equal(grouped.edges.long(), order)
    assert torch.equal(grouped.neighbours.long(), neighbour[order])
    degrees = torch.bincount(row, minlength=5000).tolist()
    assert_items(grouped.items.tolist(), degrees)
    assert grouped.items[:, 4].sum() == -(-degrees[7] // 2048)  # no other row is a hub


@drawn
@given(edge_lists(), st.integers(1, 12), st.integers(1, 12))
def test_items(monkeypatch: pytest.MonkeyPatch, edges: Edges, smallest: int, most: int) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sort, "SMALLEST_ITEM", smallest)
        patch.setattr(sort, "MOST_ITEMS", most)
        grouped = group_edges(*edges, "cpu")
        degrees = grouped.pointers.diff().tolist()
        assert_items(grouped.items.tolist(), degrees)
        weight = sum(degrees) + 2 * len(degrees)
        assert len(grouped.items) <= min(2 * weight // smallest, 2 * most) + 1  # the room there is for them


def test_items_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size 4: rows weigh 3, 2, (a hub of 9 edges), 3, 3, 2, 2; then a hub behind an unfinished item; then no hub."""
    monkeypatch.setattr(sort, "SMALLEST_ITEM", 4)

    def items(*degrees: int) -> list[list[int]]:
        row = torch.repeat_interleave(torch.arange(len(degrees)), torch.tensor(degrees, dtype=torch.int64))
        return group_edges(row, torch.zeros_like(row), len(degrees), 1, "cpu").items.tolist()

    hub = [[2, 3, 1, 5, 1], [2, 3, 5, 9, 1], [2, 3, 9, 10, 1]]
    assert items(1, 0, 9, 1, 1, 0, 0) == [[0, 2, 0, 1, 0], *hub, [3, 5, 10, 12, 0], [5, 7, 12, 12, 0]]
    assert items(1, 9) == [[0, 1, 0, 1, 0], [1, 2, 1, 5, 1], [1, 2, 5, 9, 1], [1, 2, 9, 10, 1]]
    assert items(8) == [[0, 1, 0, 8, 0]]
    assert items(0) == [[0, 1, 0, 0, 0]]
    assert items() == []


@drawn
@given(st.lists(st.integers(0, 6), max_size=8), st.sampled_from([4, 2048]))
def test_blocks(monkeypatch: pytest.MonkeyPatch, sizes: list[int], smallest: int) -> None:
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    with monkeypatch.context() as patch:
        patch.setattr(sort, "SMALLEST_ITEM", smallest)
        grouped = group_blocks(ptr, sum(sizes), "cpu")
        degrees = [size for size in sizes for _ in range(size)]
        assert grouped.pointers.diff().tolist() == degrees
        assert grouped.first_nodes.tolist() == [
            int(start) for start, size in zip(ptr, sizes, strict=False) for _ in range(size)
        ]
        graphs = [[int(start), size] for start, size in zip(ptr, sizes, strict=False)]
        assert grouped.graphs is not None
        assert grouped.graphs.tolist() == sorted(graphs, key=lambda graph: -graph[1])  # stable
        assert_items(grouped.items.tolist(), degrees)
    other = group_blocks(ptr, sum(sizes), "triton")
    assert torch.equal(other.pointers, grouped.pointers)
    assert torch.equal(other.first_nodes, grouped.first_nodes)
    assert torch.equal(other.items, schedule(other.pointers))
    assert other.tiles is not None
    whole = other.tiles[:, 2] == 0  # the first tile of a graph
    assert torch.equal(other.tiles[whole, :2], grouped.graphs)


def test_blocks_by_hand() -> None:
    """A graph of one node, an empty one, and one of two."""
    grouped = group_blocks(torch.tensor([0, 1, 1, 3]), 3, "cpu")
    assert grouped.pointers.tolist() == [0, 1, 3, 5]
    assert grouped.first_nodes.tolist() == [0, 1, 1]
    assert grouped.graphs is not None
    assert grouped.graphs.tolist() == [[1, 2], [0, 1], [1, 0]]
    assert grouped.items.tolist() == [[0, 3, 0, 5, 0]]


@pytest.mark.parametrize("grouping", ["cpu", "triton"])
def test_bad_edges(grouping: str) -> None:
    def group(*arguments: object) -> None:
        torch.ops.graphattn.group_edges.default(*arguments, 32, grouping)

    one, two = torch.tensor([0, 1]), torch.tensor([3, 0])
    with pytest.raises(InputError, match=r"^the other end of the edges must lie in \[0, 3\), got values from 0 to 3$"):
        group(one, two, 2, 3)
    with pytest.raises(InputError, match=r"^one end of the edges must lie in \[0, 9\), got values from -1 to 0$"):
        group(one - 1, two, 9, 9)
    with pytest.raises(InputError, match=r"of one shape \[edges\], got torch.int64 \[2\] and torch.int64 \[1\]$"):
        group(one, two[:1], 9, 9)
    with pytest.raises(InputError, match=r"^the two ends of the edges must be int64 tensors"):
        group(one, two.int(), 9, 9)
    with pytest.raises(InputError, match=r"takes fewer than 2³¹ edges and nodes"):
        group(one, two, 2**31, 9)


@pytest.mark.parametrize("ptr", [[0, 2], [0, 4], [1, 3], [0, 2, 1, 3], [0, -1, 3]])
def test_bad_blocks(ptr: list[int]) -> None:
    with pytest.raises(InputError, match=r"^ptr must rise from 0 to the number of nodes, 3, got tensor"):
        group_blocks(torch.tensor(ptr), 3, "cpu")


def test_operators_are_registered_as_tracers_want_them() -> None:
    row, neighbour = torch.tensor([[0, 2, 2], [1, 1, 0]])
    for grouping in ("cpu", "triton"):
        for bits in (32, 64):
            torch.library.opcheck(torch.ops.graphattn.group_edges.default, (row, neighbour, 3, 3, bits, grouping))
        torch.library.opcheck(torch.ops.graphattn.group_blocks.default, (torch.tensor([0, 2, 3]), 3, grouping))


def test_pytree_round_trip() -> None:
    for grouping, tensors in (("cpu", 4), ("triton", 5)):
        grouped = group_blocks(torch.tensor([0, 1, 3]), 3, grouping)
        leaves, spec = pytree.tree_flatten(grouped)
        assert len(leaves) == tensors
        assert type(pytree.tree_unflatten(leaves, spec)) is BlockLayout
