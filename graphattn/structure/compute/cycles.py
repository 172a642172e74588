"""Simple cycles through each node, found by walking each of them."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs


def cycle_counts(graphs: Graphs, longest: int, most_steps: int) -> Tensor:
    """Simple cycles of 3 … `longest` nodes through each node, int64, [nodes, longest - 2].

    Raises:
        InputError: where a graph takes more than `most_steps` steps.
    """
    ptr = graphs.ptr.cpu().numpy()
    source, target = graphs.edge_index.cpu().numpy()
    graph = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    one_way = np.unique(_pairs(source, target, graphs.num_nodes))
    source, target = np.divmod(one_way, max(graphs.num_nodes, 1))
    # By falling degree in each graph: a hub is done with after the cycles that begin there.
    order = np.lexsort((-np.bincount(source, minlength=graphs.num_nodes), graph))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    # Neighbours in falling order, so that those before the root are the last of the list.
    source, target = rank[source], rank[target]
    target = target[np.lexsort((-target, source))]
    first_edge = np.searchsorted(np.sort(source), np.arange(graphs.num_nodes + 1))
    counts, failed = _count_cycles(first_edge, target, ptr, longest, most_steps)
    if failed >= 0:
        raise InputError(_refusal(first_edge, target, ptr, failed, longest, most_steps))
    return torch.from_numpy(counts[rank]).to(graphs.ptr.device)


def _refusal(first_edge: np.ndarray, target: np.ndarray, ptr: np.ndarray, graph: int, longest: int, most_steps: int) -> str:
    """What to do instead, found by counting shorter cycles in the graph that took too many steps."""
    alone = ptr[[graph, graph + 1]]
    affordable = 2
    for length in range(3, longest):
        if _count_cycles(first_edge, target, alone, length, most_steps)[1] >= 0:
            break
        affordable = length
    advice = f"use longest={affordable} or raise most_steps" if affordable > 2 else "raise most_steps"
    return (
        f"the cycles of up to longest={longest} nodes in a graph of {alone[1] - alone[0]:,} nodes take more than "
        f"most_steps={most_steps:,} steps to walk: {advice}"
    )


def _pairs(source: np.ndarray, target: np.ndarray, num_nodes: int) -> np.ndarray:
    """A number for every pair of different nodes that an edge joins, in both directions."""
    joined = source != target
    source, target = source[joined], target[joined]
    return np.concatenate([source * num_nodes + target, target * num_nodes + source])


@njit(nogil=True)
def _count_cycles(
    first_edge: np.ndarray, neighbours: np.ndarray, ptr: np.ndarray, longest: int, most_steps: int
) -> tuple[np.ndarray, int]:
    """Cycles through each node, [nodes, longest - 2], and the place in `ptr` of the graph that took too long, or -1."""
    num_nodes = len(first_edge) - 1
    counts = np.zeros((num_nodes, longest - 2), np.int64)
    # Steps from the root over nodes after it; `longest` stands for too far to come back.
    distance = np.full(num_nodes, longest)
    near = np.empty(num_nodes, np.int64)
    on_path = np.zeros(num_nodes, np.bool_)
    path, edge = np.empty(longest, np.int64), np.empty(longest, np.int64)
    for graph in range(len(ptr) - 1):
        steps = 0
        for root in range(ptr[graph], ptr[graph + 1]):
            found, done = 1, 0
            near[0], distance[root] = root, 0
            while done < found and distance[near[done]] < longest // 2:
                node = near[done]
                done += 1
                for e in range(first_edge[node], first_edge[node + 1]):
                    other = neighbours[e]
                    if other <= root:
                        break
                    steps += 1
                    if distance[other] == longest:
                        distance[other] = distance[node] + 1
                        near[found] = other
                        found += 1
            depth = 0
            path[0], edge[0] = root, first_edge[root]
            while depth >= 0:
                node = path[depth]
                if edge[depth] == first_edge[node + 1] or neighbours[edge[depth]] <= root:
                    on_path[node] = False
                    depth -= 1
                    continue
                other = neighbours[edge[depth]]
                edge[depth] += 1
                steps += 1
                if on_path[other] or depth + 1 + distance[other] > longest:
                    continue
                if steps > most_steps:
                    return counts, graph
                depth += 1
                path[depth], edge[depth] = other, first_edge[other]
                on_path[other] = True
                # Each cycle is walked in both directions: the one that ends at the larger of the root's two neighbours counts.
                if depth >= 2 and distance[other] == 1 and path[1] < other:
                    for place in range(depth + 1):
                        counts[path[place], depth - 2] += 1
                if depth == longest - 1:
                    edge[depth] = first_edge[other + 1]
            for place in range(found):
                distance[near[place]] = longest
    return counts, -1
