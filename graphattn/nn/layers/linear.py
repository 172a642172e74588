from __future__ import annotations

from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers.base import EncoderOptions, SelfAttention
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.layers.inputs import blocks_of, check_vectors
from graphattn.ops import BlockDiagonalMask
from graphattn.ops.linear_attention import linear_attention
from graphattn.ops.linear_attention.attention import check_form
from graphattn.structure.kind import Size, weights_of_maps


class LinearSelfAttention(SelfAttention):
    r"""Multi-head self-attention of every node to all nodes of its graph, itself included, in time and memory O(nodes).

    .. math::
        o_i = W_o \Big\Vert_{h} \frac{\sum_{j \in G(i)} \kappa(W_q x_i, W_k x_j) \, W_v x_j}
                                    {\sum_{j \in G(i)} \kappa(W_q x_i, W_k x_j)}

    The sums are taken per graph, without padding: a graph's output does not depend on what it is batched with. The weights of
    pairs are never formed, so they can neither be returned nor dropped, and there is no bias on pairs.

    Forms (`graphattn.ops.linear_attention` has the formulas):

    * "sgformer": κ = [i = j] + q̃ · k̃ / n, with queries and keys divided by their Frobenius norms over the graph
      (Wu et al., 2023).
    * "polynormer": κ = σ(q) · σ(k) with the sigmoid σ (Deng et al., 2024).
    * "performer": κ = φ(q) · φ(k) with positive orthogonal random features φ, an estimate of softmax attention (Choromanski et
      al., 2021).
      They are drawn once, the same in every layer of one size, and saved with the parameters, as `projection`;
      `reset_parameters` keeps them.

    Args:
        in_channels: channels of the input vectors.
        out_channels: total width of the output; each head has out_channels / heads channels.
        heads: number of heads.
        form: "sgformer", "polynormer" or "performer".
        features: number of random features of "performer"; default c ln c for c channels per head.
        bias: whether the linear maps have biases.
        out_proj: whether W_o mixes the heads; without it their outputs are concatenated.

    Shapes:
        x [nodes, in_channels] → [nodes, out_channels].

    Raises:
        InputError: on options or tensors that do not fit.
    """

    projection: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        *,
        form: str = "sgformer",
        features: int | None = None,
        bias: bool = True,
        out_proj: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, bias, bias, 0.0, "out_channels")
        draw = check_form(form).draw_projection
        if draw is None and features is not None:
            raise InputError(f"features must be None for form={form!r}, which has no random features, got {features}")
        self.form = form
        self.lin_out = nn.Linear(out_channels, out_channels, bias) if out_proj else None
        self.register_buffer("projection", None if draw is None else draw(out_channels // heads, features))
        self.reset_parameters()

    def forward(self, x: Tensor, batch: Tensor | BlockDiagonalMask | None = None, *, return_attention: bool = False) -> Tensor:
        """Attends inside each graph.

        Args:
            x: node vectors, [nodes, in_channels].
            batch: graph number of each node, [nodes], sorted or not; a prepared `BlockDiagonalMask`; None for one graph.
            return_attention: refused, for the weights are never formed.
        """
        if return_attention:
            raise InputError(
                "return_attention must be False for linear attention, which never forms the weights, got True; "
                "FullSelfAttention returns them"
            )
        check_vectors(x, self.in_channels)
        mask = blocks_of(x, batch)
        query, key, value = self.project(x)
        out = linear_attention(query, key, value, mask, self.form, self.projection).flatten(1)
        return out if self.lin_out is None else self.lin_out(out)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}, form={self.form!r}"

    @classmethod
    def for_encoder(cls, kind: str, options: EncoderOptions) -> LinearSelfAttention:
        return cls(options.channels, options.channels, options.heads, form=kind)

    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        return AttentionOut(self(x, context.blocks, return_attention=return_attention))

    def multiply_adds(self, size: Size) -> int:
        """Keys and values into the sums of a graph and queries out of them, besides the maps; random features of both."""
        drawn = 0 if self.projection is None else self.projection.shape[0]
        features = drawn or self.out_channels // self.heads
        return size.nodes * (weights_of_maps(self) + 2 * self.out_channels * (features + drawn))
