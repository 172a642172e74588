"""The graphs of a `Data` or a `Batch` as arrays: what the transforms of structure compute from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data

from graphattn.errors import InputError

# Entries of one chunk of batched dense matrices: enough to keep a core busy, few enough to stay in its cache.
_CHUNK = 2**20


@dataclass(frozen=True)
class Graphs:
    """One graph or many, side by side; nodes are numbered graph after graph.

    Args:
        edge_index: sources and targets, int64, [2, edges]; multi-edges and self-loops as they were given.
        ptr: the first node of each graph and the end of the last, int64, [graphs + 1].
        edge_weight: a weight for each edge, float64, [edges], or None where all are 1.
        order: the caller's node at each place, int64, [nodes], or None where the caller's nodes stand graph after graph.
    """

    edge_index: Tensor
    ptr: Tensor
    edge_weight: Tensor | None = None
    order: Tensor | None = None

    @property
    def num_nodes(self) -> int:
        return int(self.ptr[-1])

    @property
    def sizes(self) -> Tensor:
        """Nodes of each graph, [graphs]."""
        return self.ptr.diff()

    @property
    def pair_ptr(self) -> Tensor:
        """Where the pairs of each graph begin in the flat order of all pairs (see `BlockDiagonalMask`), [graphs + 1]."""
        ends = self.sizes.square().cumsum(0)
        return torch.cat([ends.new_zeros(1), ends])

    @property
    def weights(self) -> Tensor:
        """The weight of each edge, float64, [edges]."""
        if self.edge_weight is not None:
            return self.edge_weight
        return torch.ones(self.edge_index.shape[1], dtype=torch.float64, device=self.ptr.device)

    def by_size(self, most_nodes: int | None = None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Dense weight matrices of all graphs of one size at a time, in chunks of bounded memory; empty graphs are left out.

        Args:
            most_nodes: larger graphs are left out; default: none.

        Yields:
            the graphs' numbers [some], their nodes [some, size], and A float64 [some, size, size], where A[g, i, j] is the sum
            of the weights of the edges from node i to node j.
        """
        source, target = self.edge_index
        if len(self.ptr) == 2:  # one graph, as of a data set's own `pre_transform`: without the search for its edges
            size = self.num_nodes
            if size and (most_nodes is None or size <= most_nodes):
                matrix = torch.zeros(size * size, dtype=torch.float64, device=self.ptr.device)
                matrix.index_add_(0, source * size + target, self.weights)
                nodes = torch.arange(size, device=self.ptr.device).unsqueeze(0)
                yield torch.zeros(1, dtype=torch.long, device=self.ptr.device), nodes, matrix.view(1, size, size)
            return
        graph = torch.bucketize(source, self.ptr[1:], right=True)
        size_of = self.sizes
        by_graph = graph.argsort(stable=True)
        edge_ptr = torch.searchsorted(graph[by_graph], torch.arange(len(size_of) + 1, device=graph.device))
        for size in size_of[size_of > 0].unique().tolist():
            if most_nodes is not None and size > most_nodes:
                break
            for graphs in (size_of == size).nonzero().squeeze(1).split(max(1, _CHUNK // size**2)):
                counts = edge_ptr[graphs + 1] - edge_ptr[graphs]
                place = torch.repeat_interleave(torch.arange(len(graphs), device=graph.device), counts)
                before = torch.repeat_interleave(edge_ptr[graphs] - (counts.cumsum(0) - counts), counts)
                edges = by_graph[torch.arange(len(place), device=graph.device) + before]
                start = self.ptr[graphs[place]]
                cell = (place * size + source[edges] - start) * size + target[edges] - start
                matrix = torch.zeros(len(graphs) * size * size, dtype=torch.float64, device=graph.device)
                matrix.index_add_(0, cell, self.weights[edges])
                nodes = self.ptr[graphs].unsqueeze(1) + torch.arange(size, device=graph.device)
                yield graphs, nodes, matrix.view(-1, size, size)

    def to_caller(self, rows: Tensor) -> Tensor:
        """Rows of nodes, [nodes, …], in the caller's order of nodes."""
        return rows if self.order is None else torch.empty_like(rows).index_copy(0, self.order, rows)


def read_graphs(data: Data, weight: str | None = None) -> Graphs:
    """The graphs of a `Data` or a `Batch`, whose `batch` vector may be unsorted.

    Args:
        data: with `edge_index`; without one it has no edges.
        weight: the attribute that holds the weight of each edge, [edges] or [edges, 1]; default: none, every edge counts 1.

    Raises:
        InputError: where edges name nodes that are not there or join two graphs, or weights are missing, negative or infinite.
    """
    num_nodes, batch, edge_index = data.num_nodes, data.get("batch"), data.get("edge_index")
    if num_nodes is None:
        raise InputError("data must have num_nodes, x or edge_index: the number of its nodes is unknown")
    if edge_index is None:
        refuse_adjacency(data)
        edge_index = torch.zeros(2, 0, dtype=torch.long)
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
        raise InputError(
            f"data.edge_index must be integers of shape [2, edges], got {edge_index.dtype} {list(edge_index.shape)}"
        )
    edge_index = edge_index.as_subclass(Tensor).long().contiguous()
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= num_nodes):
        low, high = int(edge_index.min()), int(edge_index.max())
        raise InputError(f"data.edge_index must hold nodes in [0, {num_nodes}), got values from {low} to {high}")
    order = None
    if batch is None:
        ptr = torch.tensor([0, num_nodes], device=edge_index.device)
    else:
        graphs = data.get("ptr").numel() - 1 if data.get("ptr") is not None else int(batch.max()) + 1 if num_nodes else 0
        if bool((batch[1:] < batch[:-1]).any()):
            order = batch.argsort(stable=True)
            place = torch.empty_like(order)
            place[order] = torch.arange(num_nodes, device=order.device)
        if bool((batch[edge_index[0]] != batch[edge_index[1]]).any()):
            raise InputError(
                "data.edge_index must join nodes of the same graph, but has edges between two graphs of data.batch"
            )
        ptr = torch.zeros(graphs + 1, dtype=torch.long, device=edge_index.device)
        ptr[1:] = batch.bincount(minlength=graphs).cumsum(0)
        if order is not None:
            edge_index = place[edge_index]
    return Graphs(edge_index, ptr, _weights(data, weight, edge_index.shape[1]), order)


def refuse_adjacency(data: Data) -> None:
    """A graph whose edges are a sparse matrix alone must not pass for one without edges."""
    for name in ("adj_t", "adj"):
        if data.get(name) is not None:
            raise InputError(
                f"data must hold its edges as edge_index, but has {name} alone: use ToSparseTensor after, not before"
            )


def _weights(data: Data, name: str | None, num_edges: int) -> Tensor | None:
    if name is None:
        return None
    weight = data.get(name)
    if not isinstance(weight, Tensor) or weight.numel() != num_edges:
        given = f"shape {list(weight.shape)}" if isinstance(weight, Tensor) else type(weight).__name__
        raise InputError(f"data.{name} must hold one weight for each of {num_edges} edges, got {given}")
    weight = weight.detach().flatten().double()
    if bool((weight < 0).any()) or not bool(weight.isfinite().all()):
        raise InputError(f"data.{name} must hold weights that are finite and not negative")
    return weight
