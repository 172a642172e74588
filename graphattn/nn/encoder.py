"""The encoder: self-attention alternating with feed-forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.nn.linear_attention import LinearSelfAttention
from graphattn.nn.pair_attention import PairSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.linear_attention import LINEAR_FORMS

LOCAL = ("masked",)
GLOBAL = ("full", *LINEAR_FORMS, "pair")


@dataclass
class Surroundings:
    """What the layers of an encoder know beside the node vectors; each reads what it needs.

    Args:
        adjacency: who attends to whom in masked attention.
        blocks: the graphs that global attention stays in.
        edge_attr: edge features, [edges, edge_dim].
        pair_bias: added to the scores of full attention, flat, [pairs, heads].
    """

    adjacency: AdjacencyMask
    blocks: BlockDiagonalMask
    edge_attr: Tensor | None = None
    pair_bias: Tensor | None = None


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
    * "pair": to all nodes of the graph, from a state on pairs that is updated, too: `PairSelfAttention`;
    * "masked+full" and so on: both.

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
        kind = {"score": score, "normaliser": normaliser, "dropout": attention_dropout}
        self.attention = nn.ModuleDict()
        for part in attention_parts(attention):
            module: nn.Module
            if part == "masked":
                module = MaskedSelfAttention(channels, channels, heads, edge_dim=edge_dim, edge_types=edge_types, **kind)  # type: ignore[arg-type]
            elif part == "full":
                module = FullSelfAttention(channels, channels, heads, **kind)  # type: ignore[arg-type]
            elif part == "pair":
                module = PairSelfAttention(channels, heads, update_pair=update_pair, dropout=attention_dropout)
            else:
                module = LinearSelfAttention(channels, channels, heads, form=part)
            self.attention[part] = module
        ff_channels = 2 * channels if ff_channels is None else ff_channels
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, ff_channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(ff_channels, channels)
        )
        self.norm_attention = nn.LayerNorm(channels)
        self.norm_feed_forward = nn.LayerNorm(channels)
        # Before the layer, or after the update: without one the latter has nothing to do.
        has_norm = "pair" in self.attention and (norm == "pre" or update_pair)
        self.norm_pair = nn.LayerNorm(channels) if has_norm else None
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, around: Surroundings, pair: Tensor | None = None, *, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, ...] | tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """One layer.

        Args:
            x: node vectors, [nodes, channels].
            around: the masks, and what is known of edges and pairs.
            pair: the state on pairs, flat, [pairs, channels]; for "pair" attention, which needs it.
            return_attention: also return the weights as the attention gives them, of two parallel ones a pair of them.

        Returns:
            x; with "pair" attention (x, pair); and the weights after them.
        """
        read = self.norm_attention(x) if self.norm == "pre" else x
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        new_pair: Tensor | None = None
        for module in self.attention.values():
            if isinstance(module, MaskedSelfAttention):
                edges = around.edge_attr if module.edge_dim is not None else None
                result = module(read, around.adjacency, edges, return_attention=return_attention)
            elif isinstance(module, FullSelfAttention):
                result = module(read, around.blocks, pair_bias=around.pair_bias, return_attention=return_attention)
            elif isinstance(module, PairSelfAttention):
                result, new_pair = self._attend_pairs(module, read, around, pair, return_attention)
            else:
                result = module(read, around.blocks, return_attention=return_attention)
            outputs.append(result[0] if isinstance(result, tuple) else result)
            weights += result[1:] if isinstance(result, tuple) else ()
        out = outputs[0] if len(outputs) == 1 else outputs[0] + outputs[1]
        if self.norm == "pre":
            x = x + self.dropout(out)
            x = x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))
        else:
            x = self.norm_attention(x + self.dropout(out))
            x = self.norm_feed_forward(x + self.dropout(self.feed_forward(x)))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        results: list[Any] = [x] if new_pair is None else [x, new_pair]
        if return_attention:
            results.append(weights[0] if len(weights) == 1 else tuple(weights))
        return x if len(results) == 1 else tuple(results)

    def _attend_pairs(
        self, module: PairSelfAttention, x: Tensor, around: Surroundings, pair: Tensor | None, return_attention: bool
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """(output, perhaps weights), and the new state on pairs."""
        norm = self.norm_pair
        if pair is None:
            raise InputError("pair must be given for attention='pair': it is the state on pairs that the layer begins from")
        read = norm(pair) if norm is not None and self.norm == "pre" else pair
        out, update, *weights = module(x, read, around.blocks, return_attention=return_attention)
        if module.lin_pair_out is None:
            return (out, *weights), pair
        pair = pair + self.dropout(update)
        return (out, *weights), pair if norm is None or self.norm == "pre" else norm(pair)


def attention_parts(attention: str) -> list[str]:
    """The kinds of attention in a name such as "masked+full": at most one local, then at most one global.

    Raises:
        InputError: on an unknown kind, or two of one sort.
    """
    parts = attention.split("+") if isinstance(attention, str) else []
    local, beyond = [part for part in parts if part in LOCAL], [part for part in parts if part in GLOBAL]
    if not parts or len(local) + len(beyond) != len(parts) or len(local) > 1 or len(beyond) > 1:
        raise InputError(
            f"attention must be 'masked', one of {', '.join(GLOBAL)}, or both as in 'masked+full', got {attention!r}"
        )
    return local + beyond
