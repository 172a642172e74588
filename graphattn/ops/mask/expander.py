"""Few edges that bring all nodes near each other: the mask of a random regular graph on the nodes of each graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask

# Graphs up to this size are held against the bound of eigenvalues, and drawn anew, at most so many times, where they fail.
CHECKED_NODES = 64
DRAWS = 32
# How far an eigenvalue may exceed that of the best expanders. For degree 3, disconnected graphs are only 0.17 above.
SLACK = 0.1


def expander(mask: AdjacencyMask, blocks: BlockDiagonalMask, degree: int = 4) -> AdjacencyMask:
    """The mask of expander edges: each graph gets a random regular graph on its nodes.

    In a random regular graph of n nodes any two are about log n steps apart, and a signal spreads to all in as many: with
    O(nodes) edges, a few layers reach what full attention reaches at once. How fast is told by the second largest absolute
    eigenvalue of the adjacency matrix: in no large graph is it much below 2√(degree - 1) (Alon and Boppana), and in almost all
    random ones barely above (Friedman, "A proof of Alon's second eigenvalue conjecture and related problems", 2008).

    Every graph is simple, symmetric and connected, and every node has `degree` neighbours, except:

    * with n ≤ degree + 1 nodes the graph is complete;
    * where n and `degree` are both odd there is no regular graph, and one node has one neighbour less.

    Graphs of up to 64 nodes are drawn up to 32 times, until that eigenvalue is at most 2√(degree - 1) + 0.1; larger ones until
    they are connected. Drawn means: a ring where every node has the next ones on both sides as neighbours, with its nodes
    shuffled; then ten times as many attempts as there are edges to exchange the ends of two edges (Milo et al., "On the uniform
    generation of random graphs with prescribed degree sequences", 2003).

    A graph's edges depend on itself alone: the seed is a hash of its number of nodes and its edges of `mask` in their order,
    with nodes numbered as they follow each other in the graph. So it has the same edges in any batch, but others if its nodes
    or edges are listed in another order. Edges stand graph by graph and target by target. A step of preprocessing: it cannot be
    traced. Shirzad et al., "Exphormer: sparse transformers for graphs" (2023).

    Args:
        mask: the edges of the graphs; they seed the drawing, and are not among those that are returned.
        blocks: the graphs that the nodes belong to.
        degree: the number of neighbours, at least 3: connected graphs of degree 2 are rings, no expanders.

    Raises:
        InputError: on a degree below 3, or where `mask` and `blocks` are not of the same nodes, or edges join two graphs.
    """
    if degree < 3:
        raise InputError(f"degree must be at least 3, got {degree}")
    if (mask.num_sources, mask.num_targets) != (blocks.num_nodes, blocks.num_nodes):
        raise InputError(
            f"mask must be of the {blocks.num_nodes} nodes of blocks, got {mask.num_sources} → {mask.num_targets} nodes"
        )
    if bool((blocks.batch[mask.source] != blocks.batch[mask.target]).any()):
        raise InputError("mask must join nodes of the same graph of blocks, but has edges between two graphs")
    source, target = _draw_all(*_local_edges(mask, blocks), blocks.ptr.cpu(), degree).to(mask.source.device).unbind(0)
    if blocks.order is not None:
        source, target = blocks.order[source], blocks.order[target]
    return AdjacencyMask(source, target, blocks.num_nodes, blocks.num_nodes)


def _local_edges(mask: AdjacencyMask, blocks: BlockDiagonalMask) -> tuple[Tensor, Tensor]:
    """Edges graph by graph, between places in the graph, [2, edges], and where those of each graph begin, [graphs + 1]."""
    place = torch.arange(blocks.num_nodes, device=blocks.ptr.device)
    if blocks.order is not None:
        place = torch.empty_like(place).index_copy(0, blocks.order, place)
    graph = blocks.batch[mask.source]
    by_graph = graph.argsort(stable=True)
    edge_ptr = torch.searchsorted(graph[by_graph], torch.arange(blocks.num_graphs + 1, device=graph.device))
    edges = torch.stack([place[mask.source], place[mask.target]]) - blocks.ptr[graph]
    return edges[:, by_graph].cpu(), edge_ptr.cpu()


def _draw_all(edges: Tensor, edge_ptr: Tensor, ptr: Tensor, degree: int) -> Tensor:
    """Source and target of the expander edges of all graphs, [2, edges]."""
    # Numba takes time to import, and nothing else here needs it.
    from graphattn.ops.mask.regular import draw_regular, hash_graphs

    sizes = ptr.diff()
    seeds = hash_graphs(edges.numpy(), edge_ptr.numpy(), sizes.numpy())
    neighbours = np.full((int(ptr[-1]), degree), -1)
    graphs = torch.arange(len(sizes))
    for draw in range(DRAWS):
        draw_regular(neighbours, ptr.numpy(), graphs.numpy(), seeds, draw, degree)
        graphs = _poor(neighbours, ptr, graphs, degree)
        if not len(graphs):
            break
    rows = torch.from_numpy(neighbours).sort(dim=1).values
    target, slot = (rows >= 0).nonzero().unbind(1)
    start = torch.repeat_interleave(ptr[:-1], sizes)
    return torch.stack([rows[target, slot] + start[target], target])


def _poor(neighbours: np.ndarray, ptr: Tensor, graphs: Tensor, degree: int) -> Tensor:
    """Those of the graphs whose second largest absolute eigenvalue is above the bound; large and complete ones pass."""
    poor = []
    sizes = ptr.diff()[graphs]
    for size in range(degree + 2, CHECKED_NODES + 1):
        some = graphs[sizes == size]
        if len(some):
            nodes = ptr[some].unsqueeze(1) + torch.arange(size)
            near = torch.from_numpy(neighbours)[nodes]
            # A missing neighbour is counted in a column of its own, which is then left out.
            column = torch.where(near < 0, size, near)
            adjacency = torch.zeros(len(some), size, size + 1, dtype=torch.float64).scatter_(2, column, 1.0)[..., :size]
            values = torch.linalg.eigvalsh(adjacency)
            second = torch.maximum(values[:, -2], -values[:, 0])
            poor.append(some[second > 2 * (degree - 1) ** 0.5 + SLACK])
    return torch.cat(poor).sort().values if poor else graphs[:0]
