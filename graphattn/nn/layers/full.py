from __future__ import annotations

from torch import Tensor

from graphattn.nn.layers.base import with_weights
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.layers.inputs import blocks_of, check_vectors
from graphattn.nn.layers.scored import ScoredSelfAttention
from graphattn.ops import BlockDiagonalMask
from graphattn.structure.kind import Size, weights_of_maps


class FullSelfAttention(ScoredSelfAttention):
    r"""Multi-head self-attention of every node to all nodes of its graph, itself included.

    .. math::
        o_i = W_o \Big\Vert_{h} \sum_{j \in G(i)} \alpha^h_{ij} \, W_v x_j, \qquad
        \alpha^h_{i\cdot} = \mathrm{normalise}_{j} \big( \mathrm{score}(W_q x_i, W_k x_j) + b^h_{ij} \big)

    It works on each graph's own block: a graph's output does not depend on what it is batched with, and nothing is padded.
    Where there are fused kernels (see `graphattn.backends`) no form but sparsemax and entmax15 holds the scores of a large
    graph; elsewhere the dot product under softmax goes through torch's scaled-dot-product attention, and other forms are
    refused where their scores would not fit in memory.

    Args:
        in_channels, out_channels, heads, score, normaliser, bias, out_proj, dropout: as in `MaskedSelfAttention`.

    Shapes:
        x [nodes, in_channels] → [nodes, out_channels].

    Raises:
        InputError: on options or tensors that do not fit, or scores that would not fit in memory.
    """

    has_pair_bias = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        *,
        score: str = "dot",
        normaliser: str = "softmax",
        bias: bool = True,
        out_proj: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, score, normaliser, bias, out_proj, dropout)
        self.reset_parameters()

    def forward(
        self,
        x: Tensor,
        batch: Tensor | BlockDiagonalMask | None = None,
        *,
        pair_bias: Tensor | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attends inside each graph.

        Args:
            x: node vectors, [nodes, in_channels].
            batch: graph number of each node, [nodes], sorted or not; a prepared `BlockDiagonalMask`; None for one graph.
            pair_bias: added to the scores, flat: [Σ nodes², heads], see `BlockDiagonalMask`.
            return_attention: also return the weights before dropout, flat like `pair_bias`.
        """
        check_vectors(x, self.in_channels)
        return self._attend(x, blocks_of(x, batch), pair_bias, None, None, return_attention)

    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        return with_weights(self(x, context.blocks, pair_bias=context.pair_bias, return_attention=return_attention))

    def multiply_adds(self, size: Size) -> int:
        """A product of query and key and a sum of values for each pair, besides the linear maps."""
        return size.nodes * weights_of_maps(self) + size.pairs * 2 * self.out_channels
