"""Graphs to run on, drawn from a seed, or networks whose files are on this machine: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from graphattn.data import load_network_dataset, local_folder
from graphattn.ops import AdjacencyMask, BlockDiagonalMask


@dataclass(frozen=True)
class Graph:
    """A graph, or a batch of graphs.

    Args:
        edge_index: [2, edges], sources in row 0; sorted by source, as `torch_geometric.utils.coalesce` leaves it.
        num_nodes: number of nodes.
        batch: graph number of each node, sorted, [nodes].
        origin: "drawn", or "catalogue" for a network of our catalogue of data sets.
        edge_order: where each edge stood before the edges were sorted anew, [edges]; None: they were not.
    """

    edge_index: Tensor
    num_nodes: int
    batch: Tensor
    origin: str = "drawn"
    edge_order: Tensor | None = None

    @property
    def num_edges(self) -> int:
        return self.edge_index.shape[1]

    def mask(self) -> AdjacencyMask:
        return AdjacencyMask.from_edge_index(self.edge_index, self.num_nodes)

    def blocks(self) -> BlockDiagonalMask:
        return BlockDiagonalMask.from_batch(self.batch)

    def with_cached_index(self) -> Graph:
        """The same graph with a torch_geometric `EdgeIndex`: sorted by target, row pointers of both directions computed."""
        index = EdgeIndex(self.edge_index, sparse_size=(self.num_nodes, self.num_nodes))
        by_target, order = index.sort_by("col")
        return replace(self, edge_index=by_target.fill_cache_(), edge_order=order)


def random_graph(num_nodes: int, num_edges: int) -> Graph:
    """Edges drawn uniformly among all pairs, without repetition."""
    generator = _seeded()
    return _distinct(lambda count: torch.randint(num_nodes, (2, count), generator=generator), num_nodes, num_edges, generator)


def power_law_graph(num_nodes: int, num_edges: int, exponent: float = 2.1) -> Graph:
    r"""Chung–Lu graph: both ends of an edge are drawn with probability :math:`\propto i^{-1/(\gamma - 1)}`, without repetition.

    The degrees then follow a power law with that exponent, below the hubs that have met every other node (Chung and Lu, "The
    average distances in random graphs with given expected degrees", 2002). Hubs get arbitrary numbers, separate for in and out.
    """
    generator = _seeded()
    draw_ranks = _ranks(num_nodes, exponent, generator)
    names = torch.stack([torch.randperm(num_nodes, generator=generator) for _ in range(2)])
    return _distinct(lambda count: names.gather(1, draw_ranks(count)), num_nodes, num_edges, generator)


def symmetric_power_law_graph(num_nodes: int, num_edges: int, exponent: float) -> Graph:
    """The same, each pair of different nodes in both directions: `num_edges` counts both."""
    generator = _seeded()
    draw_ranks, names = _ranks(num_nodes, exponent, generator), torch.randperm(num_nodes, generator=generator)
    return _both_directions(lambda count: names[draw_ranks(count)], num_nodes, num_edges, generator)


def molecules(sizes: tuple[tuple[int, int, int], ...]) -> Graph:
    """A batch of graphs like molecules: a tree with short branches, and a ring for about every eighth atom.

    Args:
        sizes: (number of graphs, fewest atoms, most atoms) of each kind.
    """
    generator = _seeded()
    counts = torch.cat([torch.randint(low, high + 1, (number,), generator=generator) for number, low, high in sizes])
    counts = counts[torch.randperm(counts.shape[0], generator=generator)]
    edges = [_molecule(int(count), generator) + start for count, start in zip(counts, counts.cumsum(0) - counts, strict=True)]
    batch = torch.repeat_interleave(torch.arange(counts.shape[0]), counts)
    num_nodes = int(counts.sum())
    return Graph(_coalesce(torch.cat(edges, 1), num_nodes), num_nodes, batch)


def undirected_graph(num_nodes: int, num_edges: int) -> Graph:
    """Random pairs of different nodes, each in both directions: `num_edges` counts both."""
    generator = _seeded()
    return _both_directions(
        lambda count: torch.randint(num_nodes, (2, count), generator=generator), num_nodes, num_edges, generator
    )


def catalogue_graph(name: str, otherwise: Callable[[], Graph]) -> Graph:
    """The edges of a network of the catalogue where its files are on this machine, a graph drawn in its place elsewhere."""
    if local_folder(name) is None:
        return otherwise()
    data = load_network_dataset(name).data
    edges, batch = _coalesce(data.edge_index, data.num_nodes), torch.zeros(data.num_nodes, dtype=torch.int64)
    return Graph(edges, data.num_nodes, batch, origin="catalogue")


def _molecule(num_atoms: int, generator: torch.Generator) -> Tensor:
    """Every atom is bound to one of the three before it, and some to the sixth before it, which closes a ring."""
    atom = torch.arange(1, num_atoms)
    parent = (atom - torch.randint(1, 4, atom.shape, generator=generator)).clamp(min=0)
    closing = torch.arange(5, num_atoms, 8)
    bonds = torch.cat([torch.stack([atom, parent]), torch.stack([closing, closing - 5])], 1)
    return torch.cat([bonds, bonds.flip(0)], 1)


def _ranks(num_nodes: int, exponent: float, generator: torch.Generator) -> Callable[[int], Tensor]:
    """Draws so many pairs of ranks, from 0, with the probabilities of a Chung–Lu graph."""
    weight = torch.arange(1, num_nodes + 1, dtype=torch.float64) ** (-1 / (exponent - 1))
    cumulated = weight.cumsum(0) / weight.sum()

    def draw(count: int) -> Tensor:
        uniform = torch.rand(2, count, dtype=torch.float64, generator=generator)
        return torch.searchsorted(cumulated, uniform).clamp(max=num_nodes - 1)

    return draw


def _both_directions(draw: Callable[[int], Tensor], num_nodes: int, num_edges: int, generator: torch.Generator) -> Graph:
    """Pairs of different nodes as `draw` draws them, each in both directions."""

    def draw_pairs(count: int) -> Tensor:
        ends = draw(count).sort(0).values
        return ends[:, ends[0] != ends[1]]

    triangle = _distinct(draw_pairs, num_nodes, num_edges // 2, generator)
    both = torch.cat([triangle.edge_index, triangle.edge_index.flip(0)], 1)
    return replace(triangle, edge_index=_coalesce(both, num_nodes))


def _distinct(draw: Callable[[int], Tensor], num_nodes: int, num_edges: int, generator: torch.Generator) -> Graph:
    """Exactly `num_edges` different edges: draws more until there are enough, then leaves out some at random."""
    count = num_edges
    while True:
        count += count // 4 + 8
        edges = _coalesce(draw(count), num_nodes)
        if edges.shape[1] >= num_edges:
            break
    kept = torch.randperm(edges.shape[1], generator=generator)[:num_edges].sort().values
    return Graph(edges[:, kept], num_nodes, torch.zeros(num_nodes, dtype=torch.int64))


def _coalesce(edges: Tensor, num_nodes: int) -> Tensor:
    number = (edges[0] * num_nodes + edges[1]).unique()
    return torch.stack([number // num_nodes, number % num_nodes])


def _seeded() -> torch.Generator:
    """On torch's default device, where everything else of a graph is made, too."""
    return torch.Generator(torch.get_default_device()).manual_seed(0)


@dataclass(frozen=True)
class Recipe:
    """How to draw a graph at full size, and a small one of the same kind for parity checks and quick runs."""

    full: Callable[[], Graph]
    small: Callable[[], Graph]


GRAPHS: dict[str, Recipe] = {
    "random": Recipe(partial(random_graph, 100_000, 1_000_000), partial(random_graph, 1_000, 10_000)),
    "power-law": Recipe(partial(power_law_graph, 40_000, 600_000), partial(power_law_graph, 1_000, 10_000)),
    "molecules": Recipe(partial(molecules, ((128, 10, 40),)), partial(molecules, ((16, 10, 40),))),
    "skewed": Recipe(partial(molecules, ((490, 10, 40), (10, 100, 220))), partial(molecules, ((24, 10, 40), (1, 100, 220)))),
    "molecules-even": Recipe(partial(molecules, ((128, 25, 25),)), partial(molecules, ((16, 25, 25),))),
    "molecules-one-large": Recipe(
        partial(molecules, ((127, 20, 20), (1, 400, 400))), partial(molecules, ((15, 20, 20), (1, 99, 99)))
    ),
    "power-law-100k": Recipe(partial(power_law_graph, 100_000, 1_000_000), partial(power_law_graph, 1_000, 10_000)),
    "cora": Recipe(
        partial(catalogue_graph, "cora", partial(undirected_graph, 2_708, 10_556)), partial(undirected_graph, 300, 1_200)
    ),
    "pubmed": Recipe(
        partial(catalogue_graph, "pubmed", partial(undirected_graph, 19_717, 88_648)), partial(undirected_graph, 300, 1_200)
    ),
    "cora-sized": Recipe(partial(undirected_graph, 2_708, 10_556), partial(undirected_graph, 300, 1_200)),
    "tiny": Recipe(partial(molecules, ((1, 25, 25),)), partial(molecules, ((1, 25, 25),))),
    # The sizes of ogbn-arxiv and ogbn-products with every edge in both directions; with these exponents the largest degrees
    # are about theirs, 13,000 and 17,000.
    "arxiv-sized": Recipe(
        partial(symmetric_power_law_graph, 169_343, 2_315_598, 2.5), partial(symmetric_power_law_graph, 1_000, 10_000, 2.5)
    ),
    "products-sized": Recipe(
        partial(symmetric_power_law_graph, 2_449_029, 123_718_280, 3.3),
        partial(symmetric_power_law_graph, 1_000, 10_000, 3.3),
    ),
    "molecules-1024": Recipe(partial(molecules, ((1024, 25, 25),)), partial(molecules, ((16, 25, 25),))),
    "large": Recipe(partial(random_graph, 1_000_000, 10_000_000), partial(random_graph, 1_000, 10_000)),
}
