from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.recall import recall_with
from graphattn.structure.compute.k_hop import k_hop
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import ExtraEdges
from graphattn.structure.transform import StructuralTransform


class AddKHop(StructuralTransform):
    """Adds the k-hop neighbourhoods as edges: `data.khop_index` [2, pairs] and `data.khop_distance` [pairs].

    `khop_index` has an edge j → i for every node j from which the shortest path to i has `first` to `k` edges, and
    `khop_distance`, int64, the length of that path. See `graphattn.structure.k_hop`; as a mask with a type for each distance:
    `AdjacencyMask.from_edge_index(data.khop_index, n).with_types(data.khop_distance - first, k - first + 1)`.

    Args:
        k: the longest distance.
        first: the shortest distance; 2 leaves out the neighbours themselves, for a union with `edge_index`.
        max_edges: the most pairs to make, of all graphs of a batch together.

    Raises:
        InputError: on distances that are not 1 ≤ first ≤ k, or more than `max_edges` pairs.
    """

    adds = {"khop_index": "edge_index", "khop_distance": "edge"}

    def __init__(self, k: int = 3, first: int = 1, max_edges: int = 2**25) -> None:
        if not 1 <= first <= k:
            raise InputError(f"k and first must be whole numbers with 1 ≤ first ≤ k, got k={k} and first={first}")
        self.k, self.first, self.max_edges = k, first, max_edges

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        mask = AdjacencyMask.from_edge_index(graphs.edge_index, graphs.num_nodes)
        near = k_hop(mask, self.k, first=self.first, max_edges=self.max_edges)
        assert near.edge_type is not None
        return {"khop_index": torch.stack([near.source, near.target]), "khop_distance": near.edge_type + self.first}


class KHopEdges(ExtraEdges):
    """Edges between nodes 2 … k steps apart, with a type for each distance; the number is k."""

    name = "k_hop"
    reads = ("khop_index", "khop_distance")
    computed_by = AddKHop
    least = 2

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.num_types = number - 1

    @classmethod
    def transform(cls, number: int) -> StructuralTransform:
        return AddKHop(number, first=2)

    def add(self, edges: AdjacencyMask, blocks: BlockDiagonalMask, *values: Tensor) -> AdjacencyMask:
        index, distance = values
        near, k = AdjacencyMask.from_edge_index(index, edges.num_targets), self.number
        if torch.compiler.is_compiling() or distance.is_inference():
            return edges | near.with_types(distance - 2, k - 1)

        def make() -> AdjacencyMask:
            if distance.numel() and not 2 <= int(distance.min()) <= int(distance.max()) <= k:
                given = f"{int(distance.min())} to {int(distance.max())}"
                raise InputError(f"khop_distance must lie in [2, {k}], as of AddKHop({k}, first=2), got values from {given}")
            return near.with_types(distance - 2, k - 1)

        return edges | recall_with(near, "_typed", (distance, distance._version, k), make)
