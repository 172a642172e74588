"""Few edges that bring all nodes near each other: the mask of a random regular graph on the nodes of each graph."""

from __future__ import annotations

import hashlib
import random
from itertools import count, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask

# Graphs of up to this size are checked against the bound of eigenvalues, and drawn again, at most so many times, if they fail.
CHECKED_NODES = 256
DRAWS = 32
# How far an eigenvalue may exceed that of the best expanders. For degree 3, disconnected graphs are only 0.17 above.
SLACK = 0.1


def expander(mask: AdjacencyMask, blocks: BlockDiagonalMask, degree: int = 4) -> AdjacencyMask:
    """The mask of expander edges: each graph gets a random regular graph on its nodes.

    In a random regular graph of n nodes any two are about log n steps apart, and a signal spreads to all in as many: with
    O(nodes) edges, a few layers reach what full attention reaches at once. How fast depends on the second largest absolute
    eigenvalue of the adjacency matrix: in no large graph is it much below 2√(degree - 1) (Alon and Boppana), and in almost all
    random ones barely above (Friedman, "A proof of Alon's second eigenvalue conjecture and related problems", 2008).

    Every graph is simple, symmetric and connected, and every node has `degree` neighbours, except:

    * with n ≤ degree + 1 nodes the graph is complete;
    * where n and `degree` are both odd there is no regular graph, and one node has one neighbour less.

    Graphs of up to 256 nodes are drawn up to 32 times, until that eigenvalue is at most 2√(degree - 1) + 0.1; larger ones until
    they are connected. They are drawn by `networkx.random_regular_graph` (Kim and Vu, "Generating random regular graphs",
    2003).

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
    edges, edge_ptr = _local_edges(mask, blocks)
    drawn = _draw_all(edges.numpy(), edge_ptr.tolist(), blocks.ptr.tolist(), degree)
    source, target = torch.from_numpy(drawn).to(mask.source.device).unbind(0)
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


def _draw_all(edges: np.ndarray, edge_ptr: list[int], ptr: list[int], degree: int) -> np.ndarray:
    """Source and target of the expander edges of all graphs, [2, edges], target by target."""
    drawn = [np.empty((2, 0), dtype=np.int64)]
    for graph, (start, end) in enumerate(pairwise(ptr)):
        own = np.ascontiguousarray(edges[:, edge_ptr[graph] : edge_ptr[graph + 1]], dtype="<i8")
        digest = hashlib.blake2b(own.tobytes(), digest_size=8, key=str(end - start).encode()).digest()
        source, target = _draw(end - start, degree, int.from_bytes(digest, "little"))
        order = np.lexsort((source, target))
        drawn.append(np.stack([source[order], target[order]]) + start)
    return np.concatenate(drawn, axis=1)


def _draw(nodes: int, degree: int, seed: int) -> np.ndarray:
    """Both directions of the edges of one graph, [2, edges]."""
    if nodes <= degree + 1:
        return np.stack(np.nonzero(~np.eye(nodes, dtype=bool)))
    import networkx as nx

    for draw in count():
        generator = random.Random(seed * 2**16 + draw)
        # Where both numbers are odd there is none: one node is added to a graph of one node less.
        missing = nodes % 2 and degree % 2
        graph = nx.random_regular_graph(degree, nodes - missing, generator)
        if missing and not _insert(graph, nodes - 1, degree // 2, generator):
            continue
        good = nodes > CHECKED_NODES or draw >= DRAWS - 1 or _second_eigenvalue(graph) <= 2 * (degree - 1) ** 0.5 + SLACK
        if good and nx.is_connected(graph):
            break
    one_way = np.array(graph.edges, dtype=np.int64).T
    return np.concatenate([one_way, one_way[::-1]], axis=1)


def _insert(graph: Any, node: int, count: int, generator: random.Random) -> bool:
    """Cuts so many edges, no two of which share a node, and joins their ends with a new node; False where it finds fewer."""
    ends: set[int] = set()
    edges = sorted(tuple(sorted(edge)) for edge in graph.edges)
    for one, other in generator.sample(edges, len(edges)):
        if len(ends) < 2 * count and not ends & {one, other}:
            graph.remove_edge(one, other)
            ends |= {one, other}
    graph.add_edges_from((node, end) for end in sorted(ends))
    return len(ends) == 2 * count


def _second_eigenvalue(graph: Any) -> float:
    """The second largest absolute eigenvalue of the adjacency matrix."""
    adjacency = np.zeros((len(graph), len(graph)))
    one, other = np.array(graph.edges).T
    adjacency[one, other] = adjacency[other, one] = 1
    values = np.linalg.eigvalsh(adjacency)
    return max(float(values[-2]), -float(values[0]))
