"""Edges as a mask: who attends to whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.layout import EdgeLayout, check_range, group_edges, grouping_for, not_inference
from graphattn.ops.recall import keep, plain, recall, recall_with, remembered
from graphattn.ops.torch_private import size_of_data


@dataclass(eq=False)
class AdjacencyMask:
    """The edges of a graph as an attention mask: target i attends to source j for every edge j → i.

    Multi-edges count as edges; no self-loop is added unless asked for. Queries live on the `num_targets` target nodes,
    keys and values on the `num_sources` source nodes (equal numbers for a plain graph, different ones for a bipartite one).
    The sorted edges that kernels need (`by_target`, `by_source`) are computed on first access and cached.

    Edges may be of several types: a union keeps those of its parts apart, and `with_types` sets them. Types change nothing
    about who attends to whom; a layer may learn a bias for each.

    Args:
        source: node j of each edge, int64, shape [edges].
        target: node i of each edge, int64, shape [edges].
        num_sources: number of source nodes.
        num_targets: number of target nodes.
        edge_type: the type of each edge, int64 in [0, num_types), shape [edges]; None where all are of type 0.
        num_types: number of types that there may be.
    """

    source: Tensor
    target: Tensor
    num_sources: int
    num_targets: int
    edge_type: Tensor | None = None
    num_types: int = 1

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, num_nodes: int | tuple[int, int] | None = None) -> AdjacencyMask:
        """Makes the mask of an edge list or of a sparse adjacency matrix.

        The mask of an edge list is kept for as long as the tensor lives: the next call with the same tensor object and
        `num_nodes` returns the same mask. A change in place is noticed, and makes a new one; but torch sees no change made
        through `edge_index.data` or through a numpy array that shares its memory. A sparse matrix is kept likewise; tensors
        made in inference mode, which count no changes, are read again each time.

        Args:
            edge_index: a [2, edges] integer tensor (or torch_geometric `EdgeIndex`) with sources in row 0 and targets in
                row 1; or a sparse tensor A (COO, CSR or CSC layout) of shape [targets, sources], read as PyG reads it:
                target i attends to source j where A[i, j] is stored. Stored values are not read.
            num_nodes: number of nodes, or (sources, targets) of a bipartite graph. Default: a sparse matrix's own shape;
                for an edge list, one more than the largest index.

        Raises:
            InputError: on a wrong shape or type, or an index outside [0, num_nodes).
        """
        return recall(cls, edge_index, num_nodes, cls._from_edge_index)

    @classmethod
    def _from_edge_index(cls, edge_index: Tensor, num_nodes: int | tuple[int, int] | None) -> AdjacencyMask:
        if not isinstance(edge_index, Tensor):
            raise InputError(f"edge_index must be a tensor of shape [2, edges], got {type(edge_index).__name__}")
        if edge_index.layout != torch.strided:
            target, source = _stored_indices(edge_index)
            shape: int | tuple[int, int] | None = (edge_index.shape[1], edge_index.shape[0])
            if num_nodes is not None and _pair(num_nodes) != shape:
                raise InputError(
                    f"num_nodes must match the sparse adjacency of shape {tuple(edge_index.shape)}, got {num_nodes}"
                )
        else:
            edge_index = plain(edge_index)
            if edge_index.dim() != 2 or edge_index.shape[0] != 2:
                raise InputError(f"edge_index must have shape [2, edges], got {list(edge_index.shape)}")
            if edge_index.is_floating_point() or edge_index.is_complex() or edge_index.dtype == torch.bool:
                raise InputError(f"edge_index must hold integers, got {edge_index.dtype}")
            # Views of the detached tensor: views of the caller's own would keep it alive, and it the mask that is kept of it.
            source, target = edge_index.detach().long().unbind(0)
            shape = num_nodes
        if shape is None:
            shape = int(edge_index.max()) + 1 if edge_index.numel() else 0
        num_sources, num_targets = _pair(shape)
        check_range("edge_index[0]", source, num_sources)
        check_range("edge_index[1]", target, num_targets)
        return cls(source, target, num_sources, num_targets)

    @property
    def device(self) -> torch.device:
        return self.source.device

    @property
    def num_edges(self) -> int:
        return self.source.shape[0]

    def by_target(self, grouping: str) -> EdgeLayout:
        """The edges grouped by target, for a family of kernels: rows are targets, neighbours sources."""
        return keep(
            self,
            f"_by_target_{grouping}",
            lambda: group_edges(self.target, self.source, self.num_targets, self.num_sources, grouping),
        )

    def by_source(self, grouping: str) -> EdgeLayout:
        """The edges grouped by source, for a family of kernels: rows are sources, neighbours targets.

        Where that gives the same matrix, as it does for an undirected graph whose edges are sorted or stand in pairs, it
        shares all tensors with `by_target` but the edge numbers.
        """
        return keep(self, f"_by_source_{grouping}", lambda: self._group_by_source(grouping))

    def _group_by_source(self, grouping: str) -> EdgeLayout:
        rows = self.by_target(grouping)
        columns = group_edges(self.source, self.target, self.num_sources, self.num_targets, grouping)
        if torch.compiler.is_compiling() or not (
            torch.equal(rows.pointers, columns.pointers) and torch.equal(rows.neighbours, columns.neighbours)
        ):
            return columns
        return EdgeLayout(rows.pointers, rows.neighbours, columns.edges, rows.items)

    def prepare(self) -> AdjacencyMask:
        """Computes what kernels need of the mask, which otherwise its first use does; returns the mask itself.

        Later calls then only read what is there: no sort and no wait for the GPU, so that a CUDA graph can be captured.
        A layer that adds self-loops attends along `with_self_loops()`, which is a mask of its own to prepare.
        """
        grouping = grouping_for(self.device)
        if grouping is not None:
            self.by_source(grouping)
        if self.edge_type is not None:
            _ = self.type_columns
        return self

    @remembered
    def has_multi_edges(self) -> bool:
        """Whether an edge occurs more than once."""
        return torch.stack([self.source, self.target]).unique(dim=1).shape[1] < self.num_edges

    @remembered
    def type_columns(self) -> Tensor:
        """One where an edge is of a type, zero elsewhere: float32, [edges, num_types]. A product with it picks rows by type."""
        with not_inference():
            types = self._types()
            return (types.unsqueeze(1) == torch.arange(self.num_types, device=types.device)).float()

    def with_types(self, edge_type: Tensor, num_types: int) -> AdjacencyMask:
        """The same edges, with a type for each.

        Args:
            edge_type: integers in [0, num_types), [edges].
            num_types: number of types that there may be.

        Raises:
            InputError: on a wrong shape or type, or a number out of range.
        """
        floats = edge_type.is_floating_point() or edge_type.is_complex() or edge_type.dtype == torch.bool
        if edge_type.shape != self.source.shape or floats:
            given = f"{edge_type.dtype} {list(edge_type.shape)}"
            raise InputError(f"edge_type must be an integer for each of the {self.num_edges} edges, got {given}")
        check_range("edge_type", edge_type, num_types)
        return AdjacencyMask(self.source, self.target, self.num_sources, self.num_targets, edge_type.long(), num_types)

    def with_self_loops(self) -> AdjacencyMask:
        """The same mask with one self-loop a node after the other edges (also where a node has one already).

        The loops are of type 0, as all edges of a mask without types are. It is made once, and the next call returns the
        same object.
        """
        return self._with_self_loops

    @remembered
    def _with_self_loops(self) -> AdjacencyMask:
        if self.num_sources != self.num_targets:
            raise InputError(
                f"self-loops need as many sources as targets, got {self.num_sources} sources and {self.num_targets} targets"
            )
        with not_inference():
            loop = torch.arange(self.num_targets, device=self.source.device)
            source, target = torch.cat([self.source, loop]), torch.cat([self.target, loop])
            return self._of_same_nodes(source, target, _cat_types(self.edge_type, loop))

    def with_self_loops_renewed(self) -> tuple[AdjacencyMask, Tensor | None]:
        """The edges without their self-loops, then one loop, of type 0, for each node that is both a source and a target.

        It is made once, and the next call returns the same objects.

        Returns:
            the mask, and the positions of the edges that stayed, int64, or None where all did.
        """
        return self._with_self_loops_renewed

    @remembered
    def _with_self_loops_renewed(self) -> tuple[AdjacencyMask, Tensor | None]:
        with not_inference():
            loop = torch.arange(min(self.num_sources, self.num_targets), device=self.source.device)
            stay = _no_self_loops(self.source, self.target)
            source, target = (torch.cat([end.index_select(0, stay), loop]) for end in (self.source, self.target))
            all_stay = not torch.compiler.is_compiling() and stay.shape[0] == self.num_edges
            types = None if self.edge_type is None else self.edge_type.index_select(0, stay)
            return self._of_same_nodes(source, target, _cat_types(types, loop)), None if all_stay else stay

    def reversed(self) -> AdjacencyMask:
        """The same edges from their targets to their sources; made once, and the next call returns the same object."""
        return self._reversed

    @remembered
    def _reversed(self) -> AdjacencyMask:
        return AdjacencyMask(self.target, self.source, self.num_targets, self.num_sources, self.edge_type, self.num_types)

    def __or__(self, other: AdjacencyMask) -> AdjacencyMask:
        """The union: the edges of `self`, then those of `other`; duplicates are kept.

        Every edge keeps its type, those of `other` numbered after those of `self`: `edges | jumps | more` has types 0, 1, 2.
        It is made once, and the next call with the same `other` returns the same object.
        """
        if (self.num_sources, self.num_targets) != (other.num_sources, other.num_targets):
            raise InputError(
                f"a union needs masks over the same nodes, got {self.num_sources} → {self.num_targets} "
                f"and {other.num_sources} → {other.num_targets}"
            )
        return recall_with(self, "_union", (other,), lambda: self._union_with(other))

    def _union_with(self, other: AdjacencyMask) -> AdjacencyMask:
        source, target = (torch.cat(ends) for ends in ((self.source, other.source), (self.target, other.target)))
        types = torch.cat([self._types(), other._types() + self.num_types])
        return AdjacencyMask(source, target, self.num_sources, self.num_targets, types, self.num_types + other.num_types)

    def to(self, device: torch.device | str) -> AdjacencyMask:
        """The same mask on another device."""
        types = None if self.edge_type is None else self.edge_type.to(device)
        return self._of_same_nodes(self.source.to(device), self.target.to(device), types)

    def _types(self) -> Tensor:
        return torch.zeros_like(self.source) if self.edge_type is None else self.edge_type

    def _of_same_nodes(self, source: Tensor, target: Tensor, edge_type: Tensor | None) -> AdjacencyMask:
        return AdjacencyMask(source, target, self.num_sources, self.num_targets, edge_type, self.num_types)


@torch.library.custom_op("graphattn::no_self_loops", mutates_args=())
def _no_self_loops(source: Tensor, target: Tensor) -> Tensor:
    """The positions of the edges between two different nodes: an operator, because their number is data to a tracer."""
    return (source != target).nonzero().squeeze(1)


@_no_self_loops.register_fake
def _(source: Tensor, target: Tensor) -> Tensor:
    return source.new_empty(size_of_data())


def _pair(num_nodes: int | tuple[int, int]) -> tuple[int, int]:
    return num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)


def _cat_types(edge_type: Tensor | None, loop: Tensor) -> Tensor | None:
    return None if edge_type is None else torch.cat([edge_type, torch.zeros_like(loop)])


def _stored_indices(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every stored entry; an uncoalesced matrix keeps its multi-edges."""
    if adjacency.dim() != 2:
        raise InputError(f"a sparse adjacency must have two dimensions, got {adjacency.dim()}")
    row, column = adjacency.to_sparse_coo()._indices().unbind(0)
    return row, column


torch.export.register_dataclass(AdjacencyMask, serialized_type_name="graphattn.AdjacencyMask")
