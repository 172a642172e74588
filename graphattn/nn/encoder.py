"""The encoder: self-attention alternating with feed-forward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask


class EncoderLayer(nn.Module):
    r"""One round of self-attention and one of feed-forward, each with a residual connection and layer normalisation.

    .. math::
        \text{pre:} \quad & x \leftarrow x + \mathrm{att}(\mathrm{norm}(x)), \;
                            x \leftarrow x + \mathrm{ff}(\mathrm{norm}(x)) \\
        \text{post:} \quad & x \leftarrow \mathrm{norm}(x + \mathrm{att}(x)), \;
                             x \leftarrow \mathrm{norm}(x + \mathrm{ff}(x))

    with ff(x) = W_2 GELU(W_1 x). Sources: Vaswani et al., "Attention is all you need" (2017); Xiong et al., "On layer
    normalization in the transformer architecture" (2020) for the pre-norm form.

    Args:
        channels: width of the vectors.
        heads: number of attention heads.
        attention: "masked" (to in-neighbours) or "full" (to all nodes of the graph).
        score, normaliser: as in `MaskedSelfAttention`.
        edge_dim: channels of the edge features, if there are any; masked attention only.
        norm: "pre" or "post".
        ff_channels: width between the two maps of the feed-forward part; default 2 × channels.
        dropout: probability of dropping a channel after attention and feed-forward in training.
        attention_dropout: probability of dropping an attention weight in training.

    Shapes:
        x [nodes, channels] → [nodes, channels].
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        attention: str = "masked",
        score: str = "dot",
        normaliser: str = "softmax",
        edge_dim: int | None = None,
        norm: str = "pre",
        ff_channels: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if attention not in ("masked", "full"):
            raise InputError(f"attention must be 'masked' or 'full', got {attention!r}")
        if norm not in ("pre", "post"):
            raise InputError(f"norm must be 'pre' or 'post', got {norm!r}")
        self.norm = norm
        self.attention: MaskedSelfAttention | FullSelfAttention
        if attention == "masked":
            self.attention = MaskedSelfAttention(
                channels, channels, heads, score=score, normaliser=normaliser, edge_dim=edge_dim, dropout=attention_dropout
            )
        else:
            self.attention = FullSelfAttention(
                channels, channels, heads, score=score, normaliser=normaliser, dropout=attention_dropout
            )
        ff_channels = 2 * channels if ff_channels is None else ff_channels
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, ff_channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(ff_channels, channels)
        )
        self.norm_attention = nn.LayerNorm(channels)
        self.norm_feed_forward = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        adjacency: AdjacencyMask,
        blocks: BlockDiagonalMask,
        edge_attr: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """One layer; `adjacency` serves masked attention, `blocks` full attention. Weights come as the layer gives them."""

        def attend(x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            if isinstance(self.attention, MaskedSelfAttention):
                edges = edge_attr if self.attention.edge_dim is not None else None
                return self.attention(x, adjacency, edges, return_attention=return_attention)
            return self.attention(x, blocks, return_attention=return_attention)

        result = attend(self.norm_attention(x) if self.norm == "pre" else x)
        out, weights = result if isinstance(result, tuple) else (result, None)
        if self.norm == "pre":
            x = x + self.dropout(out)
            x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_attention(x + self.dropout(out))
            x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        return x if weights is None else (x, weights)
