from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphattn.errors import InputError
from graphattn.structure.registry import attributes_at


class Reorder(BaseTransform):
    """Renumbers the nodes of a graph so that neighbours lie near each other in memory.

    By reverse Cuthill–McKee (1969), which keeps the bandwidth of the adjacency matrix low: neighbours get near numbers.

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

    Raises:
        InputError: on data that is not one graph with an `edge_index` of nodes that exist.

    Example:
        >>> near = Reorder()(data)  # doctest: +SKIP
        >>> out = Reorder.undo(layer(near.x, near.edge_index), near.node_order)  # doctest: +SKIP
    """

    def forward(self, data: Data) -> Data:
        edge_index, num_nodes = _check(data)
        order = _rcm_order(edge_index, num_nodes)
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


def _rcm_order(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The node at each new place, int64, [nodes]."""
    from scipy import sparse
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    if not edge_index.shape[1]:
        return torch.arange(num_nodes, device=edge_index.device)
    source, target = edge_index.cpu().numpy()
    one_way = sparse.csr_array((np.ones(len(source)), (source, target)), shape=(num_nodes, num_nodes))
    # It comes as a view from back to front, which torch does not take.
    order = reverse_cuthill_mckee((one_way + one_way.T).tocsr(), symmetric_mode=True).copy()
    return torch.from_numpy(order).long().to(edge_index.device)


def _check(data: Data) -> tuple[Tensor, int]:
    """The edges, as a plain tensor, and the number of nodes."""
    if not isinstance(data, Data):
        raise InputError(f"data must be a torch_geometric Data with nodes of one kind, got {type(data).__name__}")
    if "adj" in data or "adj_t" in data:
        raise InputError("data holds an adjacency matrix (adj or adj_t), expected edge_index alone: reorder before making one")
    of_pairs = attributes_at("pair", "edge")
    for key, _ in data:
        if key in of_pairs:
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
