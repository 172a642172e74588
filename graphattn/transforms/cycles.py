from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from graphattn.errors import InputError
from graphattn.transforms.structure import Graphs, StructuralTransform


class AddCycleCounts(StructuralTransform):
    """Adds `data.cycles_pe` [nodes, longest − 2]: the number of simple cycles of 3, 4, … `longest` nodes through each node.

    A simple cycle visits no node twice; rings of a molecule that share bonds make further ones around both. Edges count once
    and in both directions; self-loops and multi-edges make no cycle: what `networkx.simple_cycles(graph, length_bound=longest)`
    lists for the undirected simple graph. Cycles tell regular graphs apart that walks and distances cannot.

    Every cycle is walked: from its node of highest degree along nodes of lower degree that are near enough to come back. Their
    number grows with length like powers of the degrees, so that hubs make it explode: a graph that takes over `most_steps`
    steps is refused.

    Args:
        longest: the largest number of nodes of a cycle, at least 3.
        most_steps: edges to look at in one graph, some ten seconds for 10⁹.

    Raises:
        InputError: on `longest` below 3, or where a graph takes more steps; the message says which length it can afford.
    """

    def __init__(self, longest: int = 8, most_steps: int = 10**9) -> None:
        if longest < 3:
            raise InputError(f"longest must be at least 3, the nodes of the shortest cycle, got {longest}")
        self.longest = longest
        self.most_steps = most_steps

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
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
        counts, failed = _count_cycles(first_edge, target, ptr, self.longest, self.most_steps)
        if failed >= 0:
            raise InputError(self._refusal(first_edge, target, ptr, failed))
        out = torch.from_numpy(counts[rank]).to(graphs.ptr.device)
        return {"cycles_pe": out.float()}

    def _refusal(self, first_edge: np.ndarray, target: np.ndarray, ptr: np.ndarray, graph: int) -> str:
        """What to do, found out by trying shorter cycles in the graph that took too many steps."""
        alone = ptr[[graph, graph + 1]]
        affordable = 2
        for length in range(3, self.longest):
            if _count_cycles(first_edge, target, alone, length, self.most_steps)[1] >= 0:
                break
            affordable = length
        advice = f"use longest={affordable} or raise most_steps" if affordable > 2 else "raise most_steps"
        return (
            f"the cycles of up to longest={self.longest} nodes in a graph of {alone[1] - alone[0]:,} nodes take more than "
            f"most_steps={self.most_steps:,} steps to walk: {advice}"
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
