from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask, expander
from graphattn.transforms.structure import Graphs, StructuralTransform


class AddExpander(StructuralTransform):
    """Adds `data.expander_index` [2, edges]: a random regular graph on the nodes of each graph, both directions of every edge.

    It is seeded by the graph itself and the order of its edges, so a graph gets the same edges alone and in any batch. See
    `graphattn.ops.expander` for what is drawn, and for small graphs and odd numbers.

    Args:
        degree: the number of neighbours of a node, at least 3.

    Raises:
        InputError: on a degree below 3.
    """

    def __init__(self, degree: int = 4) -> None:
        if degree < 3:
            raise InputError(f"degree must be at least 3, got {degree}")
        self.degree = degree

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        mask = AdjacencyMask.from_edge_index(graphs.edge_index, graphs.num_nodes)
        made = expander(mask, BlockDiagonalMask.from_ptr(graphs.ptr), self.degree)
        return {"expander_index": torch.stack([made.source, made.target])}
