from __future__ import annotations

from torch import Tensor

from graphattn.ops import AdjacencyMask, BlockDiagonalMask, with_virtual_nodes
from graphattn.structure.kind import ExtraEdges


class VirtualNodes(ExtraEdges):
    """Virtual nodes, connected to every node of their graph, with an edge type for each direction; the number is per graph.

    See `graphattn.ops.with_virtual_nodes`.
    """

    name = "virtual"
    num_types = 2

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.num_nodes = number

    def add(self, edges: AdjacencyMask, blocks: BlockDiagonalMask, *values: Tensor) -> AdjacencyMask:
        return with_virtual_nodes(edges, blocks, self.number)[0]
