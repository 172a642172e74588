from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers.base import EncoderOptions, SelfAttention, with_weights
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.layers.inputs import check_vectors
from graphattn.nn.layers.scored import ScoredSelfAttention
from graphattn.ops import AdjacencyMask
from graphattn.ops.linear import map_rows
from graphattn.structure.kind import Size, weights_of_maps


class MaskedSelfAttention(ScoredSelfAttention):
    r"""Multi-head self-attention of nodes to their in-neighbours.

    .. math::
        o_i = W_o \Big\Vert_{h} \sum_{j \in N(i)} \alpha^h_{ij} \, (W_v x_j + W_e e_{ij}), \qquad
        \alpha^h_{i\cdot} = \mathrm{normalise}_{j} \big( \mathrm{score}(W_q x_i, \; W_k x_j + W_e e_{ij}) + b^h_{t(ij)} \big)

    with the learned bias b only where the layer has `edge_types`; t(ij) is the type of the edge.

    A node without in-neighbours gets zero from the attention, then the bias of W_o. With `heads=1, bias=False,
    out_proj=False` and the dot-product score the layer has three parameter matrices: W_q, W_k, W_v.

    Sources: Vaswani et al., "Attention is all you need" (2017) for "dot"; Brody et al., "How attentive are graph attention
    networks?" (2022) for "additive"; Veličković et al., "Graph attention networks" (2018) for "static".

    Args:
        in_channels: channels of the input vectors.
        out_channels: total width of the output; each head has out_channels / heads channels.
        heads: number of heads.
        score: "dot", "additive" or "static".
        normaliser: "softmax", "softmax1", "sigmoid", "relu", "sparsemax" or "entmax15".
        edge_dim: channels of the edge features, if there are any.
        edge_types: number of edge types that masks may have (see `AdjacencyMask`), each with a learned bias a head, zero at
            first; default: types are not read.
        add_self_loops: adds one self-loop a node, after the other edges, of type 0 and with zero edge features.
        bias: whether the linear maps have biases.
        out_proj: whether W_o mixes the heads; without it their outputs are concatenated.
        dropout: probability of dropping an attention weight in training.

    Shapes:
        x [nodes, in_channels] → [nodes, out_channels].

    Raises:
        InputError: on options or tensors that do not fit.
    """

    local = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        *,
        score: str = "dot",
        normaliser: str = "softmax",
        edge_dim: int | None = None,
        edge_types: int | None = None,
        add_self_loops: bool = False,
        bias: bool = True,
        out_proj: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, score, normaliser, bias, out_proj, dropout)
        if edge_types is not None and edge_types < 1:
            raise InputError(f"edge_types must be at least 1, or None, got {edge_types}")
        self.edge_dim, self.edge_types, self.add_self_loops = edge_dim, edge_types, add_self_loops
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, out_channels, bias=False)
        self.type_bias = None if edge_types is None else nn.Parameter(torch.empty(edge_types, heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises all weights: Glorot-uniform maps, zero biases, also those of edge types."""
        super().reset_parameters()
        if self.type_bias is not None:
            nn.init.zeros_(self.type_bias)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | AdjacencyMask,
        edge_attr: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attends along the edges.

        Args:
            x: node vectors, [nodes, in_channels].
            edge_index: [2, edges] with sources in row 0 and targets in row 1, a torch_geometric `EdgeIndex`, a sparse
                adjacency matrix [targets, sources], or a prepared `AdjacencyMask`.
            edge_attr: edge features, [edges, edge_dim]; needed where the layer has an `edge_dim`. On a mask with edge types,
                such as a union, they may be those of the first edges only; the others, which come after, have zero features.
            return_attention: also return the weights before dropout, [edges, heads], in the caller's order with added
                self-loops after them.
        """
        check_vectors(x, self.in_channels)
        mask = edge_index if isinstance(edge_index, AdjacencyMask) else AdjacencyMask.from_edge_index(edge_index, x.shape[0])
        if (self.edge_dim is None) != (edge_attr is None):
            expected = "None, as edge_dim is None" if self.edge_dim is None else f"[edges, {self.edge_dim}]"
            given = "None" if edge_attr is None else f"{list(edge_attr.shape)}"
            raise InputError(f"edge_attr must be {expected}, got {given}")
        if edge_attr is not None:
            self._check_edge_attr(edge_attr, mask)
        if mask.num_targets != x.shape[0]:
            raise InputError(f"edge_index must be of the {x.shape[0]} nodes of x, got a mask of {mask.num_targets}")
        if self.add_self_loops:
            mask = mask.with_self_loops()
        if edge_attr is not None and edge_attr.shape[0] != mask.num_edges:
            edge_attr = F.pad(edge_attr, (0, 0, 0, mask.num_edges - edge_attr.shape[0]))
        weight = None if self.lin_edge is None else self.lin_edge.weight
        return self._attend(x, mask, self._bias_of_types(mask), weight, edge_attr, return_attention)

    def _check_edge_attr(self, edge_attr: Tensor, mask: AdjacencyMask) -> None:
        fits = edge_attr.dim() == 2 and edge_attr.shape[1] == self.edge_dim
        rows = edge_attr.shape[0] if fits else 0
        if not fits or rows > mask.num_edges or (rows < mask.num_edges and mask.edge_type is None):
            rows_expected = f"{mask.num_edges}" if mask.edge_type is None else f"up to {mask.num_edges}"
            raise InputError(f"edge_attr must have shape [{rows_expected}, {self.edge_dim}], got {list(edge_attr.shape)}")

    def _bias_of_types(self, mask: AdjacencyMask) -> Tensor | None:
        """The bias of each edge by its type, [edges, heads]."""
        if self.type_bias is None:
            return None
        known, given = self.type_bias.shape[0], mask.num_types
        if given > known:
            raise InputError(f"edge_index must be a mask of at most edge_types={known} types of edges, got one of {given}")
        table = self.type_bias[:given]
        # A product instead of an index: its gradient, a sum over all edges, has the same bits for any number of threads.
        with torch.autocast(table.device.type, enabled=False):
            return map_rows(mask.type_columns.to(table.dtype), table.t().unsqueeze(0)).squeeze(1)

    @classmethod
    def for_encoder(cls, kind: str, options: EncoderOptions, **more: Any) -> SelfAttention:
        return super().for_encoder(kind, options, edge_dim=options.edge_dim, edge_types=options.edge_types, **more)

    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        edge_attr = context.edge_attr if self.edge_dim is not None else None
        return with_weights(self(x, context.adjacency, edge_attr, return_attention=return_attention))

    def multiply_adds(self, size: Size) -> int:
        """A product of query and key and a sum of values for each edge, besides the linear maps.

        Edge features meet both at their own width; their map is applied to queries and to sums, once a node each.
        """
        edge_map = 0 if self.lin_edge is None else self.lin_edge.weight.numel()
        on_nodes = size.all_nodes * (weights_of_maps(self) + edge_map)
        return on_nodes + size.all_edges * (2 * self.out_channels + 2 * self.heads * (self.edge_dim or 0))
