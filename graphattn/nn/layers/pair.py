"""Self-attention that updates a state on pairs of nodes together with the node vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers.base import EncoderOptions, SelfAttention
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.layers.inputs import blocks_of, check_vectors
from graphattn.ops import BlockDiagonalMask, normaliser_of
from graphattn.ops.linear import map_heads
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.ops.philox import dropout_mask
from graphattn.ops.segment import segment_sum
from graphattn.structure.kind import Size, weights_of_maps

# Below this, the signed square root is a straight line: its slope is infinite at zero.
KINK = 1e-6


class PairSelfAttention(SelfAttention):
    r"""Multi-head self-attention of every node to all nodes of its graph, from a state on pairs, which it updates as well.

    .. math::
        \hat e_{ij} &= \mathrm{ReLU}\big( \rho\big((W_q x_i + W_k x_j) \odot W_{Ew} e_{ij}\big) + W_{Eb} e_{ij} \big) \\
        \alpha_{i\cdot} &= \mathrm{softmax}_{j} \; a \cdot \hat e_{ij} \\
        x'_i &= W_o \Big\Vert_{h} \sum_{j \in G(i)} \alpha_{ij} (W_v x_j + W_{Ev} \hat e_{ij}), \qquad
        e'_{ij} = W_{Eo} \hat e_{ij}

    with the signed square root ρ(z) = sign(z) √\|z\|, made straight for \|z\| < 1e-6, so that its gradient stays finite. The
    weights a and W_Ev are a head's own. Residuals and norms around the layer, of both states, are the caller's.

    The state on pairs takes memory O(Σ nodes²); the layer is meant for molecules, and refuses what would not fit.

    Ma et al., "Graph inductive biases in transformers without message passing" (2023), GRIT; without its clamp of the scores.

    Args:
        channels: channels of the node vectors, in and out; each head has channels / heads.
        heads: number of heads.
        pair_channels: channels of the state on pairs, in and out; default: `channels`.
        update_pair: whether the state on pairs is updated; in the last layer nobody reads it, and it comes back as it was.
        degree_scaler: whether the heads' outputs o_i become θ₁ ⊙ o_i + θ₂ ⊙ log(1 + degree_i) o_i before W_o, with vectors θ
            that begin at one and zero.
        bias: whether the linear maps have biases.
        dropout: probability of dropping an attention weight in training.

    Shapes:
        x [nodes, channels], pair [Σ nodes², pair_channels] → the same.

    Raises:
        InputError: on options or tensors that do not fit, or pairs that would not fit in memory.
    """

    has_pair_state = True

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        pair_channels: int | None = None,
        *,
        update_pair: bool = True,
        degree_scaler: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        # A key is only ever added to a query, which has the bias.
        super().__init__(channels, channels, heads, bias, False, dropout, "channels")
        self.pair_channels = channels if pair_channels is None else pair_channels
        self.lin_pair = nn.Linear(self.pair_channels, 2 * channels, bias)  # W_Ew, then W_Eb
        self.att = nn.Parameter(torch.empty(heads, channels // heads))
        self.pair_value = nn.Parameter(torch.empty(heads, channels // heads, channels // heads))
        self.degree_weight = nn.Parameter(torch.empty(2, channels)) if degree_scaler else None
        self.lin_out = nn.Linear(channels, channels, bias)
        self.lin_pair_out = nn.Linear(channels, self.pair_channels, bias) if update_pair else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises all weights: Glorot-uniform maps, zero biases, a degree scaler that does nothing yet."""
        super().reset_parameters()
        nn.init.xavier_uniform_(self.att)
        for weight in self.pair_value.detach():
            nn.init.xavier_uniform_(weight)
        if self.degree_weight is not None:
            nn.init.ones_(self.degree_weight.detach()[0])
            nn.init.zeros_(self.degree_weight.detach()[1])

    def forward(
        self,
        x: Tensor,
        pair: Tensor,
        batch: Tensor | BlockDiagonalMask | None = None,
        degree: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Attends inside each graph.

        Args:
            x: node vectors, [nodes, channels].
            pair: state on pairs, flat: [Σ nodes², pair_channels], see `BlockDiagonalMask`.
            batch: graph number of each node, [nodes], sorted or not; a prepared `BlockDiagonalMask`; None for one graph.
            degree: degree of each node, [nodes]; needed where the layer has a degree scaler.
            return_attention: also return the weights before dropout, [Σ nodes², heads], in float32 at least.

        Returns:
            the new node vectors and the new state on pairs; with `return_attention=True` the weights after them.
        """
        check_vectors(x, self.in_channels)
        mask = blocks_of(x, batch)
        self._check(x, pair, mask, degree)
        pairs = mask.pairs()
        # To a tracer both numbers are data.
        torch._check(pairs.source.shape[0] == pair.shape[0])
        of_nodes = self.project(x)
        scale, shift = self.lin_pair(pair).unflatten(-1, (2, self.heads, -1)).unbind(1)
        dtype = scale.dtype
        compute = torch.promote_types(dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            query, key, value = (rows.to(compute) for rows in of_nodes)
            # In place where nothing is kept of a step: tensors on pairs are the largest by far.
            joint = query.index_select(0, pairs.target).add_(key.index_select(0, pairs.source))
            state = signed_sqrt(joint * scale.to(compute)).add_(shift.to(compute)).relu_()
            scores = torch.einsum("phc,hc->ph", state, self.att.to(compute))
            weights = normaliser_of("softmax")(scores, pairs.target, x.shape[0])
            kept = self._drop(weights).unsqueeze(-1)
            of_values = segment_sum(kept * value.index_select(0, pairs.source), pairs.target, x.shape[0])
            of_states = segment_sum(kept * state, pairs.target, x.shape[0])
            out = (of_values + map_heads(of_states, self.pair_value.to(compute))).flatten(1)
            if self.degree_weight is not None and degree is not None:
                plain, scaled = self.degree_weight.to(compute)
                out = out * (plain + scaled * degree.to(compute).log1p().unsqueeze(-1))
        if self.lin_pair_out is not None:
            pair = self.lin_pair_out(state.flatten(1).to(dtype))
        result = self.lin_out(out.to(dtype)), pair
        return (*result, weights) if return_attention else result

    def _drop(self, weights: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return weights
        seed = torch.randint(2**63 - 1, (), device=weights.device)
        return weights * dropout_mask(weights.shape[0], self.heads, self.dropout, seed) / (1 - self.dropout)

    def _check(self, x: Tensor, pair: Tensor, mask: BlockDiagonalMask, degree: Tensor | None) -> None:
        if pair.dim() != 2 or pair.shape[1] != self.pair_channels or not pair.is_floating_point():
            raise InputError(f"pair must be floats of shape [pairs, {self.pair_channels}], got {pair.dtype} {list(pair.shape)}")
        if self.degree_weight is None and degree is not None:
            raise InputError(f"degree must be None, as degree_scaler is False, got {list(degree.shape)}")
        if self.degree_weight is not None and (degree is None or degree.shape != x.shape[:1]):
            given = "None" if degree is None else f"{list(degree.shape)}"
            raise InputError(f"degree must have shape [{x.shape[0]}], as degree_scaler is True, got {given}")
        if torch.compiler.is_compiling():
            return
        if pair.shape[0] != mask.num_pairs:
            raise InputError(f"pair must have a row for each of the {mask.num_pairs:,} pairs of nodes, got {pair.shape[0]:,}")
        # What a training step keeps: some ten tensors on pairs as wide as the nodes', the old and the new state, and the pairs.
        a_pair = (10 * self.in_channels + 2 * self.pair_channels) * max(x.element_size(), 4) + 16
        refuse_too_many_pairs("PairSelfAttention on a state", mask.num_pairs, mask.num_pairs * a_pair, x.device)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, heads={self.heads}, pair_channels={self.pair_channels}, "
            f"degree_scaler={self.degree_weight is not None}, dropout={self.dropout}"
        )

    @classmethod
    def for_encoder(cls, kind: str, options: EncoderOptions) -> PairSelfAttention:
        return cls(options.channels, options.heads, update_pair=options.update_pair, dropout=options.dropout)

    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        if context.pair is None:
            raise InputError("pair must be given for attention='pair': it is the state on pairs that the layer begins from")
        out, update, *weights = self(x, context.pair, context.blocks, return_attention=return_attention)
        return AttentionOut(out, None if self.lin_pair_out is None else update, weights[0] if weights else None)

    def multiply_adds(self, size: Size) -> int:
        """The state on pairs through its maps, its scores and its weighted sums, besides the maps of the nodes."""
        maps = [self.lin_pair] if self.lin_pair_out is None else [self.lin_pair, self.lin_pair_out]
        of_pairs = sum(weights_of_maps(linear) for linear in maps)
        on_nodes = size.nodes * (weights_of_maps(self) - of_pairs + self.pair_value.numel())
        return on_nodes + size.pairs * (of_pairs + 4 * self.out_channels)


def signed_sqrt(z: Tensor) -> Tensor:
    """sign(z) √|z|, and z / √KINK for |z| < KINK."""
    return z * z.abs().clamp(min=KINK).rsqrt()
