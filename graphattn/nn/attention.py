"""Self-attention layers: projections around `graphattn.ops.attention`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.inputs import blocks_of, check_vectors
from graphattn.nn.projection import is_plain, project_together, reset_maps
from graphattn.ops import (
    SCORES,
    AdjacencyMask,
    BlockDiagonalMask,
    EdgeFeatures,
    Mask,
    Static,
    attention,
    normaliser_of,
)
from graphattn.ops.linear import map_rows
from graphattn.ops.score import make_score


class _SelfAttention(nn.Module):
    """What the two layers share: the maps W_q, W_k, W_v, the vector of the score, and the map W_o that mixes the heads."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        score: str,
        normaliser: str,
        bias: bool,
        out_proj: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if heads < 1 or out_channels % heads:
            raise InputError(f"out_channels must be a multiple of heads, got out_channels={out_channels}, heads={heads}")
        if score not in SCORES:
            raise InputError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        normaliser_of(normaliser)
        if not 0.0 <= dropout < 1.0:
            raise InputError(f"dropout must lie in [0, 1), got {dropout}")
        self.in_channels, self.out_channels, self.heads = in_channels, out_channels, heads
        self.score, self.normaliser, self.dropout = score, normaliser, dropout
        channels = out_channels // heads
        self.lin_query = nn.Linear(in_channels, out_channels, bias)
        self.lin_key = nn.Linear(in_channels, out_channels, bias)
        self.lin_value = nn.Linear(in_channels, out_channels, bias)
        self.lin_out = nn.Linear(out_channels, out_channels, bias) if out_proj else None
        shape = SCORES[score].weight_shape(heads, channels)
        self.att = None if shape is None else nn.Parameter(torch.empty(shape))

    def reset_parameters(self) -> None:
        """Draws all weights anew: Glorot-uniform maps, zero biases."""
        reset_maps(self)
        if self.att is not None:
            nn.init.xavier_uniform_(self.att if self.att.dim() > 1 else self.att.unsqueeze(-1))

    def _attend(
        self,
        x: Tensor,
        mask: Mask,
        bias: Tensor | None,
        edge_weight: Tensor | None,
        edge_attr: Tensor | None,
        return_attention: bool,
    ) -> Tensor | tuple[Tensor, Tensor]:
        features = None
        if edge_attr is not None and edge_weight is not None:
            weight = edge_weight.unflatten(0, (self.heads, -1))
            features = EdgeFeatures(edge_attr, key_weight=weight, value_weight=weight)
        score = make_score(self.score, self.att)
        maps = (self.lin_query, self.lin_key, self.lin_value)
        query: Tensor
        key: Tensor | None = None
        value: Tensor | None = None
        if not all(is_plain(linear) for linear in maps):
            query, key, value = (linear(x).unflatten(-1, (self.heads, -1)) for linear in maps)
        elif type(score) is Static:
            query, key, value, features = self._project_static(x, score, features)
            score = Static(torch.ones_like(score.weight[..., :1]), score.negative_slope)
        else:
            packed = project_together(x, [linear.weight for linear in maps], [linear.bias for linear in maps])
            query = packed.unflatten(-1, (3, self.heads, -1))
        result = attention(
            query,
            key,
            value,
            mask,
            score=score,
            normaliser=self.normaliser,
            bias=bias,
            edge_attr=features,
            dropout=self.dropout if self.training else 0.0,
            return_attention=return_attention,
        )
        out, weights = result if isinstance(result, tuple) else (result, None)
        out = out.flatten(1)
        if self.lin_out is not None:
            out = self.lin_out(out)
        return out if weights is None else (out, weights)

    def _project_static(
        self, x: Tensor, score: Static, features: EdgeFeatures | None
    ) -> tuple[Tensor, Tensor, Tensor, EdgeFeatures | None]:
        """a · (W x) = (Wᵀ a) · x: with the vectors folded into the maps, queries and keys are one number a head."""
        weights, biases = [], []
        for linear, vector in zip((self.lin_query, self.lin_key), score.weight.unbind(0), strict=True):
            weights.append((linear.weight.unflatten(0, vector.shape) * vector.unsqueeze(-1)).sum(1))
            biases.append(None if linear.bias is None else (linear.bias.view_as(vector) * vector).sum(1))
        packed = project_together(x, [*weights, self.lin_value.weight], [*biases, self.lin_value.bias])
        rows = packed.split((self.heads, self.heads, self.out_channels), dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in rows)
        if features is not None and features.key_weight is not None:
            folded = (features.key_weight * score.weight[1].unsqueeze(-1)).sum(1, keepdim=True)
            features = features._replace(key_weight=folded)
        return query, key, value, features

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, heads={self.heads}, score={self.score!r}, "
            f"normaliser={self.normaliser!r}, dropout={self.dropout}"
        )


class MaskedSelfAttention(_SelfAttention):
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
        """Draws all weights anew: Glorot-uniform maps, zero biases, also those of edge types."""
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


class FullSelfAttention(_SelfAttention):
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
