"""The k-hop mask: against NetworkX's shortest paths on drawn graphs, numbers by hand, and where it refuses."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask
from graphattn.structure import k_hop


def triples(mask: AdjacencyMask) -> list[tuple[int, int, int]]:
    """(target, type, source) of every edge, in order."""
    assert mask.edge_type is not None
    return list(zip(mask.target.tolist(), mask.edge_type.tolist(), mask.source.tolist(), strict=True))


@st.composite
def edge_lists(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Directed graphs with multi-edges, self-loops and nodes without edges; also one node, and none."""
    nodes = draw(st.integers(0, 9))
    node = st.integers(0, max(nodes - 1, 0))
    edges = draw(st.lists(st.tuples(node, node), max_size=16 if nodes else 0))
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), nodes


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(drawn=edge_lists(), k=st.integers(1, 4), first=st.integers(1, 4), chunk=st.sampled_from([1, 2**22]))
def test_shortest_paths_of_networkx(drawn: tuple[Tensor, int], k: int, first: int, chunk: int) -> None:
    edge_index, nodes = drawn
    first = min(first, k)
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edge_index.t().tolist())
    expected = []
    for source, lengths in nx.all_pairs_shortest_path_length(graph, cutoff=k):
        expected += [(target, d - first, source) for target, d in lengths.items() if first <= d]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(k_hop.__globals__, "_CHUNK", chunk)
        made = k_hop(AdjacencyMask.from_edge_index(edge_index, nodes), k, first=first)
    assert triples(made) == sorted(expected)
    assert (made.num_sources, made.num_targets, made.num_types) == (nodes, nodes, k - first + 1)
    assert made.source.dtype == made.target.dtype == made.edge_type.dtype == torch.int64


def test_a_directed_path_by_hand() -> None:
    """0 → 1 → 2 → 3, an edge of it twice, and a self-loop: only later nodes hear earlier ones."""
    mask = AdjacencyMask.from_edge_index(torch.tensor([[0, 1, 1, 2, 2], [1, 2, 2, 3, 2]]))
    assert triples(k_hop(mask, 2)) == [(1, 0, 0), (2, 0, 1), (2, 1, 0), (3, 0, 2), (3, 1, 1)]
    assert triples(k_hop(mask, 3, first=2)) == [(2, 0, 0), (3, 0, 1), (3, 1, 0)]
    union = mask | k_hop(mask, 3, first=2)
    assert union.edge_type.tolist() == [0, 0, 0, 0, 0, 1, 1, 2]
    assert union.num_types == 3


def test_the_order_of_edges_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(50, (2, 120), generator=generator)
    shuffled = edge_index[:, torch.randperm(120, generator=generator)]
    one, other = (k_hop(AdjacencyMask.from_edge_index(edges, 50), 3) for edges in (edge_index, shuffled))
    assert triples(one) == triples(other)


def test_a_long_ring() -> None:
    """Work stays with the walks: 20,000 nodes, each with two others at every distance."""
    node = torch.arange(20_000)
    ring = torch.stack([torch.cat([node, node.roll(1)]), torch.cat([node.roll(1), node])])
    made = k_hop(AdjacencyMask.from_edge_index(ring), 5)
    assert made.num_edges == 200_000
    assert torch.equal(made.edge_type.bincount(), torch.full((5,), 40_000))


def test_a_hub_is_refused() -> None:
    """A star of 3,000 leaves: 2 · 3,000 pairs one step apart, 3,000 · 2,999 two."""
    leaves = torch.arange(1, 3001)
    star = torch.stack([torch.cat([leaves, 0 * leaves]), torch.cat([0 * leaves, leaves])])
    mask = AdjacencyMask.from_edge_index(star)
    assert k_hop(mask, 1, max_edges=6000).num_edges == 6000
    message = r"^k=2 joins about [89],\d{3},\d{3} pairs of nodes, which take 0\.2 GB, but max_edges is 8,000,000:"
    with pytest.raises(InputError, match=message):
        k_hop(mask, 2, max_edges=8 * 10**6)
    assert k_hop(mask, 2).num_edges == 6000 + 3000 * 2999


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (
            AdjacencyMask.from_edge_index(torch.tensor([[4], [0]]), (5, 2)),
            {"k": 1},
            "mask must have as many sources as targets",
        ),
        (AdjacencyMask.from_edge_index(torch.tensor([[0], [0]])), {"k": 0}, "k and first must be .* got k=0 and first=1"),
        (AdjacencyMask.from_edge_index(torch.tensor([[0], [0]])), {"k": 2, "first": 3}, "got k=2 and first=3"),
    ],
)
def test_bad_input(mask: AdjacencyMask, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        k_hop(mask, **options)
