from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphattn.errors import InputError

# Sweeps over the nodes at one level of `community_order`; each finds less, and the next level finds the rest.
_MAX_SWEEPS = 10


class Reorder(BaseTransform):
    """Renumbers the nodes of a graph so that neighbours lie near each other in memory.

    Attention reads a row for every edge; on a large graph those reads cost more than the arithmetic, and they are quicker
    where neighbours share pages and caches. It pays where the graph has communities, its node vectors exceed the caches and
    there are many steps to train; random edges gain nothing. `benchmarks/reorder.py` measures it.

    Every node attribute is permuted (what `data.is_node_attr` says: `x`, dense or sparse, `y`, `pos`, masks, encodings,
    lists), and every integer tensor that holds node numbers by torch_geometric's convention is renumbered (`face`, and all
    with `index` in their name). Edges keep the caller's order, so that edge attributes and attention weights stay as they
    are. In a batch the nodes are reordered inside each graph, and `batch` ends up sorted. Node numbers held under other
    names, such as a list of training nodes, are not recognised: use masks.

    Adds `data.node_order`, int64, [nodes]: the caller's node at each new place. `Reorder.undo` brings outputs back with it.
    Applied twice, it still leads back to the first order. The same graph always gets the same order, for any number of threads.

    Args:
        method: "communities": nodes of a community next to each other, and communities of a larger community likewise
            (see `community_order`); "rcm": reverse Cuthill–McKee, nodes by breadth-first layers: for meshes and chains.

    Raises:
        InputError: on an unknown method, or data that is not one graph with an `edge_index` of nodes that exist.

    Example:
        >>> near = Reorder()(data)  # doctest: +SKIP
        >>> out = Reorder.undo(layer(near.x, near.edge_index), near.node_order)  # doctest: +SKIP
    """

    def __init__(self, method: str = "communities") -> None:
        if method not in ORDERS:
            raise InputError(f"method must be one of {', '.join(ORDERS)}, got {method!r}")
        self.method = method

    def forward(self, data: Data) -> Data:
        edge_index, num_nodes = _check(data)
        source, target = edge_index.cpu().numpy()
        order_array = np.arange(num_nodes)
        if edge_index.shape[1]:
            order_array = ORDERS[self.method](_symmetric(source, target, num_nodes))
        order = torch.from_numpy(order_array).long().to(edge_index.device)
        if data.get("batch") is not None:
            order = order[torch.argsort(data.batch[order], stable=True)]
        place = torch.empty_like(order)
        place[order] = torch.arange(num_nodes, device=order.device)

        if "node_order" not in data:
            data.node_order = torch.arange(num_nodes, device=order.device)
        # All names before any change: what torch_geometric takes for a node attribute depends on the others.
        indices = [key for key, value in data if _holds_nodes(key, value)]
        # `ptr` and `class_names` are no node attributes, though they may be as long as one.
        rows = [key for key in data.node_attrs() if key not in indices and key != "class_names" and not key.endswith("ptr")]
        for key in indices:
            data[key] = place[_in_range(key, data[key], num_nodes)].to(data[key].dtype)
        for key in rows:
            data[key] = _permute(data[key], order, data.__cat_dim__(key, data[key]))
        return data

    @staticmethod
    def undo(out: Tensor, node_order: Tensor) -> Tensor:
        """Brings the rows of an output on the reordered graph back into the caller's order; differentiable.

        Args:
            out: a row for each node, [nodes, …].
            node_order: `data.node_order` of the reordered graph, [nodes].

        Raises:
            InputError: where `node_order` is not an order of the rows of `out`, as that of several graphs put together.
        """
        if not torch.compiler.is_compiling() and not _is_order(node_order, out.shape[0]):
            given = f"{node_order.dtype} {list(node_order.shape)}"
            raise InputError(f"node_order must hold each of the {out.shape[0]} rows of out once, int64, got {given}")
        return torch.empty_like(out).index_copy(0, node_order, out)


def community_order(adjacency: sparse.csr_array) -> np.ndarray:
    """Orders nodes by community, communities by the larger one they belong to, and so on; inside the smallest by degree.

    Communities are those of the Louvain method (Blondel et al., "Fast unfolding of communities in large networks", 2008):
    each node in turn moves to the neighbouring community that raises modularity most; then communities become nodes and
    it starts again. Nodes are taken in their order and the first of equals wins: nothing is drawn.

    Args:
        adjacency: symmetric weights, zero where there is no edge, [nodes, nodes]; at least one is not zero.

    Returns:
        The node at each new place, [nodes].
    """
    degree = np.diff(adjacency.indptr)
    levels: list[np.ndarray] = []
    while True:
        nodes = adjacency.shape[0]
        count, community = _communities(adjacency)
        if count == nodes:
            # The last key sorts first: the coarsest level.
            return np.lexsort((-degree, *levels))
        levels.append(community[levels[-1]] if levels else community)
        member = sparse.csr_array((np.ones(nodes), community, np.arange(nodes + 1)), shape=(nodes, count))
        adjacency = (member.T @ (adjacency @ member)).tocsr()


def rcm_order(adjacency: sparse.csr_array) -> np.ndarray:
    """Orders nodes by reverse Cuthill–McKee (1969), which keeps the bandwidth low: neighbours get near numbers.

    Args and returns as in `community_order`.
    """
    # It comes as a view from back to front, which torch does not take.
    return reverse_cuthill_mckee(adjacency, symmetric_mode=True).copy()


ORDERS: dict[str, Callable[[sparse.csr_array], np.ndarray]] = {"communities": community_order, "rcm": rcm_order}


def _communities(adjacency: sparse.csr_array) -> tuple[int, np.ndarray]:
    """The communities of one level: their number, and that of each node, from 0."""
    nodes = adjacency.shape[0]
    strength = adjacency.sum(1)
    community, total = np.arange(nodes), strength.copy()
    for _ in range(_MAX_SWEEPS):
        moved = _sweep(adjacency.indptr, adjacency.indices, adjacency.data, strength, community, total)
        if moved <= nodes // 100:
            break
    names, community = np.unique(community, return_inverse=True)
    return len(names), community


@njit
def _sweep(
    indptr: np.ndarray, indices: np.ndarray, weight: np.ndarray, strength: np.ndarray, community: np.ndarray, total: np.ndarray
) -> int:
    """Moves each node where modularity rises most; changes `community` and its `total` strength; returns how many moved."""
    nodes = len(community)
    all_strength = strength.sum()
    shared = np.zeros(nodes)  # weight between the node at hand and each community
    near = np.empty(nodes, dtype=np.int64)  # the communities where it is not zero
    moved = 0
    for i in range(nodes):
        found = 0
        for edge in range(indptr[i], indptr[i + 1]):
            if indices[edge] != i:
                c = community[indices[edge]]
                if shared[c] == 0:
                    near[found] = c
                    found += 1
                shared[c] += weight[edge]
        old = community[i]
        total[old] -= strength[i]
        best, best_gain = old, shared[old] - strength[i] * total[old] / all_strength
        for c in near[:found]:
            gain = shared[c] - strength[i] * total[c] / all_strength
            if gain > best_gain:
                best, best_gain = c, gain
            shared[c] = 0
        total[best] += strength[i]
        community[i] = best
        moved += best != old
    return moved


def _symmetric(source: np.ndarray, target: np.ndarray, num_nodes: int) -> sparse.csr_array:
    """The number of edges between two nodes, in either direction."""
    one_way = sparse.csr_array((np.ones(len(source)), (source, target)), shape=(num_nodes, num_nodes))
    return (one_way + one_way.T).tocsr()


def _check(data: Data) -> tuple[Tensor, int]:
    """The edges, as a plain tensor, and the number of nodes."""
    if not isinstance(data, Data):
        raise InputError(f"data must be a torch_geometric Data with nodes of one kind, got {type(data).__name__}")
    if "adj" in data or "adj_t" in data:
        raise InputError("data holds an adjacency matrix (adj or adj_t), expected edge_index alone: reorder before making one")
    for key, _ in data:
        if key.endswith("_pair") or key == "khop_distance":
            raise InputError(f"data holds {key}, which is ordered by pairs of nodes: reorder before computing it")
    edge_index = data.get("edge_index")
    if not _holds_nodes("edge_index", edge_index) or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        given = f"{edge_index.dtype} {list(edge_index.shape)}" if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise InputError(f"data.edge_index must be a dense tensor of integers, [2, edges], got {given}")
    return _in_range("edge_index", edge_index, data.num_nodes), data.num_nodes


def _holds_nodes(key: str, value: Any) -> bool:
    """Whether an attribute holds node numbers, by torch_geometric's convention for batches."""
    numbers = isinstance(value, Tensor) and value.layout == torch.strided and value.dim() > 0
    return numbers and ("index" in key or key == "face") and not value.is_floating_point() and value.dtype != torch.bool


def _in_range(key: str, index: Tensor, num_nodes: int) -> Tensor:
    low, high = (int(index.min()), int(index.max())) if index.numel() else (0, -1)
    if low < 0 or high >= num_nodes:
        raise InputError(f"data.{key} must hold nodes in [0, {num_nodes}), got values from {low} to {high}")
    return index.long()


def _permute(value: Any, order: Tensor, dim: int) -> Any:
    """The rows of a node attribute in a new order."""
    if isinstance(value, Tensor) and value.layout != torch.strided:
        # Compressed layouts have no index_select.
        return value.to_sparse_coo().index_select(dim, order).coalesce().to_sparse(layout=value.layout)
    if isinstance(value, Tensor):
        return value.index_select(dim, order)
    if isinstance(value, np.ndarray):
        return value.take(order.cpu().numpy(), axis=dim)
    if isinstance(value, list | tuple):
        return type(value)(value[node] for node in order.tolist())
    return value[order]


def _is_order(node_order: Tensor, rows: int) -> bool:
    if node_order.dtype != torch.int64 or node_order.shape != (rows,):
        return False
    return torch.equal(node_order.sort().values, torch.arange(rows, device=node_order.device))
