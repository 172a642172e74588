"""The encoder: self-attention alternating with feed-forward."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers import ATTENTION, AttentionContext, AttentionOut, EncoderOptions, attention_parts
from graphattn.nn.layers.base import SelfAttention


class EncoderLayer(nn.Module):
    r"""One round of self-attention and one of feed-forward, each with a residual connection and layer normalisation.

    .. math::
        \text{pre:} \quad & x \leftarrow x + \mathrm{att}(\mathrm{norm}(x)), \;
                            x \leftarrow x + \mathrm{ff}(\mathrm{norm}(x)) \\
        \text{post:} \quad & x \leftarrow \mathrm{norm}(x + \mathrm{att}(x)), \;
                             x \leftarrow \mathrm{norm}(x + \mathrm{ff}(x))

    with ff(x) = W_2 GELU(W_1 x). Sources: Vaswani et al., "Attention is all you need" (2017); Xiong et al., "On layer
    normalization in the transformer architecture" (2020) for the pre-norm form.

    The attention is local, global, or both in parallel, whose outputs are added (Rampášek et al., "Recipe for a general,
    powerful, scalable graph transformer", 2022, with layer instead of batch normalisation: a graph's output does not depend on
    its batch):

    * "masked": to in-neighbours, `MaskedSelfAttention`;
    * "full": to all nodes of the graph, `FullSelfAttention`;
    * "sgformer", "polynormer", "performer": to all nodes of the graph in time O(nodes), `LinearSelfAttention`;
    * "pair": to all nodes of the graph, from a state on pairs that is updated as well: `PairSelfAttention`;
    * "masked+full" and so on: both;
    * the name of a kind that `graphattn.nn.register_attention` added.

    Args:
        channels: width of the vectors, and of the state on pairs.
        heads: number of attention heads.
        attention: one of the kinds above.
        score, normaliser: as in `MaskedSelfAttention`; of masked and full attention.
        edge_dim: channels of the edge features, if there are any; masked attention reads them.
        edge_types: number of edge types with a learned bias, as in `MaskedSelfAttention`; masked attention only.
        update_pair: whether "pair" attention updates the state on pairs; the last such layer of a model need not.
        norm: "pre" or "post".
        ff_channels: width between the two maps of the feed-forward part; default 2 × channels.
        dropout: probability of dropping a channel after attention and feed-forward in training.
        attention_dropout: probability of dropping an attention weight in training; linear attention has none.

    Shapes:
        x [nodes, channels] → [nodes, channels].

    Raises:
        InputError: on an unknown kind or name, or options that do not fit.
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
        edge_types: int | None = None,
        update_pair: bool = True,
        norm: str = "pre",
        ff_channels: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if norm not in ("pre", "post"):
            raise InputError(f"norm must be 'pre' or 'post', got {norm!r}")
        self.norm = norm
        options = EncoderOptions(channels, heads, score, normaliser, edge_dim, edge_types, update_pair, attention_dropout)
        parts = attention_parts(attention)
        self.attention = nn.ModuleDict({part: ATTENTION[part].for_encoder(part, options) for part in parts})
        ff_channels = 2 * channels if ff_channels is None else ff_channels
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, ff_channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(ff_channels, channels)
        )
        self.norm_attention = nn.LayerNorm(channels)
        self.norm_feed_forward = nn.LayerNorm(channels)
        # Before the layer, or after the update: without one the latter has nothing to do.
        has_norm = any(ATTENTION[part].has_pair_state for part in parts) and (norm == "pre" or update_pair)
        self.norm_pair = nn.LayerNorm(channels) if has_norm else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, context: AttentionContext, *, return_attention: bool = False) -> AttentionOut:
        """One layer.

        Args:
            x: node vectors, [nodes, channels].
            context: the masks, and what is known of edges and pairs; "pair" attention needs its state on pairs.
            return_attention: also return the weights as the attention gives them, of two parallel ones a pair of them.

        Returns:
            the node vectors, the state on pairs after the layer, and the weights, see `AttentionOut`.
        """
        read, pair = x, context.pair
        if self.norm == "pre":
            read = self.norm_attention(x)
            if self.norm_pair is not None and pair is not None:
                context = replace(context, pair=self.norm_pair(pair))
        outs = [self._attend(module, read, context, return_attention) for module in self.attention.values()]
        for update in (out.pair for out in outs):
            if update is not None and pair is not None:
                pair = pair + self.dropout(update)
                pair = pair if self.norm_pair is None or self.norm == "pre" else self.norm_pair(pair)
        attended = outs[0].x if len(outs) == 1 else outs[0].x + outs[1].x
        if self.norm == "pre":
            x = x + self.dropout(attended)
            x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_attention(x + self.dropout(attended))
            x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        weights = tuple(out.weights for out in outs) if return_attention else (None,)
        return AttentionOut(x, pair, weights[0] if len(weights) == 1 else weights)  # type: ignore[arg-type]

    @staticmethod
    def _attend(module: nn.Module, x: Tensor, context: AttentionContext, return_attention: bool) -> AttentionOut:
        assert isinstance(module, SelfAttention)
        return module.attend(x, context, return_attention)
