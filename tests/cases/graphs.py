"""Graphs by hand, at random, and as hypothesis draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from graphattn.ops import AdjacencyMask, BlockDiagonalMask, Mask


@dataclass(frozen=True)
class Graphs:
    """Some graphs as one: edges never join two of them, and `batch` need not be sorted."""

    batch: Tensor
    edge_index: Tensor
    num_graphs: int

    @property
    def num_nodes(self) -> int:
        return self.batch.shape[0]

    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    def adjacency(self) -> AdjacencyMask:
        """Made anew each time: the mask that is remembered of an edge list has its items cut already."""
        return AdjacencyMask.from_edge_index(self.edge_index.clone(), self.num_nodes)

    def blocks(self) -> BlockDiagonalMask:
        return BlockDiagonalMask.from_batch(self.batch.clone(), self.num_graphs)

    def mask(self, kind: str) -> Mask:
        return self.adjacency() if kind == "adjacency" else self.blocks()

    def pairs(self, kind: str) -> list[tuple[int, int]]:
        """(source, target) of every edge or of every pair of a block, listed without the help of the masks."""
        if kind == "adjacency":
            return [(int(j), int(i)) for j, i in self.edge_index.t()]
        listed = []
        for graph in range(self.num_graphs):
            nodes = [node for node in range(self.num_nodes) if int(self.batch[node]) == graph]
            listed += [(j, i) for i in nodes for j in nodes]
        return listed

    def only(self, graph: int) -> tuple[Graphs, Tensor, Tensor]:
        """One of the graphs alone; its nodes and its edges among all."""
        nodes = (self.batch == graph).nonzero().flatten()
        edges = (self.batch[self.edge_index[1]] == graph).nonzero().flatten()
        place = torch.full((self.num_nodes,), -1)
        place[nodes] = torch.arange(nodes.shape[0])
        alone = Graphs(torch.zeros_like(nodes), place[self.edge_index[:, edges]], 1)
        return alone, nodes, edges

    def permuted(self, nodes: Tensor, edges: Tensor) -> Graphs:
        """Node `nodes[k]` becomes node k; edge `edges[k]` becomes edge k."""
        place = torch.empty_like(nodes)
        place[nodes] = torch.arange(nodes.shape[0])
        return Graphs(self.batch[nodes], place[self.edge_index[:, edges]], self.num_graphs)


@st.composite
def graphs(draw: st.DrawFn) -> Graphs:
    """One to four graphs, some empty or of one node, with hubs, self-loops, multi-edges and nodes without edges."""
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    batch, edges = [], []
    for graph, size in enumerate(sizes):
        first = len(batch)
        batch += [graph] * size
        if size:
            node = st.integers(first, first + size - 1)
            edges += draw(st.lists(st.tuples(node, node), max_size=2 * size))
            if draw(st.booleans()):
                edges += [(source, first) for source in range(first, first + size)]
    made = Graphs(torch.tensor(batch, dtype=torch.long), torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), len(sizes))
    if not draw(st.booleans()):
        return made
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return made.permuted(
        torch.randperm(made.num_nodes, generator=generator), torch.randperm(made.num_edges, generator=generator)
    )


@st.composite
def rectangular(draw: st.DrawFn) -> AdjacencyMask:
    """Keys and queries on different nodes; hubs and empty rows among the targets."""
    sources, targets = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    edges: list[tuple[int, int]] = []
    if sources and targets:
        edges = draw(st.lists(st.tuples(st.integers(0, sources - 1), st.integers(0, targets - 1)), max_size=15))
        if draw(st.booleans()):
            edges += [(source, 0) for source in range(sources)]
    return AdjacencyMask.from_edge_index(torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t(), (sources, targets))


def large_graphs(nodes: int = 600, edges: int = 6000, num_graphs: int = 6) -> Graphs:
    """Large enough for torch to share the work among threads; half of the edges go to hubs."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.arange(nodes) * num_graphs // nodes
    size = nodes // num_graphs
    first = torch.randint(num_graphs, (edges,), generator=generator) * size
    source = torch.randint(size, (edges,), generator=generator)
    target = torch.randint(size, (edges,), generator=generator) * (torch.arange(edges) % 2)
    return Graphs(batch, torch.stack([first + source, first + target]), num_graphs)


def bipartite(targets: int = 9, sources: int = 7, edges: int = 60) -> AdjacencyMask:
    """A third of the edges go to target 0, a sixth come from source 0; edges are unsorted, and some stand twice.

    The last target has no edges, nor has the last source, where there are others.
    """
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(max(1, sources - 1), (edges,), generator=generator)
    target = torch.randint(max(1, targets - 1), (edges,), generator=generator)
    target[: edges // 3] = 0
    source[edges // 3 : edges // 2] = 0
    return AdjacencyMask(source, target, sources, targets)


def blocks(sizes: Sequence[int], in_order: bool = True) -> BlockDiagonalMask:
    """Graphs of so many nodes each, whose nodes are mixed if not `in_order`."""
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if not in_order:
        batch = batch[torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))]
    return BlockDiagonalMask.from_batch(batch, len(sizes))
