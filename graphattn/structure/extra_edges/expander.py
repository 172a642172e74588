from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure.compute.expander import expander
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import ExtraEdges
from graphattn.structure.transform import StructuralTransform


class AddExpander(StructuralTransform):
    """Adds `data.expander_index` [2, edges]: a random regular graph on the nodes of each graph, both directions of every edge.

    It is seeded by the graph itself and the order of its edges, so a graph gets the same edges alone and in any batch. See
    `graphattn.structure.expander` for what is drawn, and for small graphs and odd numbers.

    Args:
        degree: the number of neighbours of a node, at least 3.

    Raises:
        InputError: on a degree below 3.
    """

    adds = {"expander_index": "edge_index"}
    version = 2  # drawn by networkx

    def __init__(self, degree: int = 4) -> None:
        if degree < 3:
            raise InputError(f"degree must be at least 3, got {degree}")
        self.degree = degree

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        mask = AdjacencyMask.from_edge_index(graphs.edge_index, graphs.num_nodes)
        made = expander(mask, BlockDiagonalMask.from_ptr(graphs.ptr), self.degree)
        return {"expander_index": torch.stack([made.source, made.target])}


class ExpanderEdges(ExtraEdges):
    """Edges of a random regular graph on the nodes of each graph, of one type; the number is its degree.

    Shirzad et al., "Exphormer: sparse transformers for graphs" (2023).
    """

    name = "expander"
    reads = ("expander_index",)
    computed_by = AddExpander
    least = 3

    def add(self, edges: AdjacencyMask, blocks: BlockDiagonalMask, *values: Tensor) -> AdjacencyMask:
        (index,) = values
        return edges | AdjacencyMask.from_edge_index(index, edges.num_targets)
