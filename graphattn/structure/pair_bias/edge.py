from __future__ import annotations

from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.mask.pairs import count_pairs, pair_numbers
from graphattn.structure.kind import PairBias, Size, weights_of_maps
from graphattn.structure.pair_bias.mlp import INITIAL_STD


class EdgeBias(PairBias):
    r"""A bias W e on the pairs that an edge joins, zero on all others: how full attention reads edge features.

    .. math::
        b_{ij} = \sum_{e: \, j \to i} W e

    Multi-edges add up. Nothing of the pairs but the bias itself is stored.

    Args:
        columns: channels of the edge features.
        heads: number of heads.

    Raises:
        InputError: on edge features of another shape, or an edge between two graphs.
    """

    name = "edge"
    reads = ("edge_attr", "edge_index", "batch")

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.lin_edge = nn.Linear(columns, heads, bias=False)
        nn.init.normal_(self.lin_edge.weight, std=INITIAL_STD)

    def forward(self, edge_attr: Tensor, edge_index: Tensor | AdjacencyMask, batch: Tensor | BlockDiagonalMask) -> Tensor:
        """The bias of each pair.

        Args:
            edge_attr: edge features, [edges, columns].
            edge_index: [2, edges], or a prepared `AdjacencyMask`.
            batch: graph number of each node, [nodes], sorted or not, or a prepared `BlockDiagonalMask`.

        Returns:
            flat, [pairs, heads].
        """
        blocks = batch if isinstance(batch, BlockDiagonalMask) else BlockDiagonalMask.from_batch(batch)
        edges = edge_index
        if not isinstance(edges, AdjacencyMask):
            edges = AdjacencyMask.from_edge_index(edges, blocks.num_nodes)
        if edge_attr.shape != (edges.num_edges, self.lin_edge.in_features):
            raise InputError(
                f"edge_attr must have shape [{edges.num_edges}, {self.lin_edge.in_features}], got {list(edge_attr.shape)}"
            )
        values = self.lin_edge(edge_attr)
        number = pair_numbers(blocks, edges.source, edges.target)
        return values.new_zeros(count_pairs(blocks), values.shape[1]).index_add(0, number, values)

    def multiply_adds(self, size: Size) -> int:
        return size.edges * weights_of_maps(self)
