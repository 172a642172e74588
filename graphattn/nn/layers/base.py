"""The base class of the self-attention layers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers.context import AttentionContext, AttentionOut
from graphattn.nn.projection import project_plain, reset_maps
from graphattn.structure.kind import Size


class EncoderOptions(NamedTuple):
    """The options of an `EncoderLayer` that its attention layers are made from; each reads those it has a use for."""

    channels: int
    heads: int
    score: str = "dot"
    normaliser: str = "softmax"
    edge_dim: int | None = None
    edge_types: int | None = None
    update_pair: bool = True
    dropout: float = 0.0


class SelfAttention(nn.Module):
    """Base class of the self-attention layers: the maps W_q, W_k, W_v and W_o, and what an encoder asks of a layer.

    The class attributes say what a kind of attention uses; `EncoderLayer` and `GraphTransformer` go by them alone.

    Attributes:
        local: it attends along edges; else to all nodes of the graph. An encoder layer has at most one of each.
        has_score: it takes a score and a normaliser.
        has_pair_bias: it adds a bias on pairs of nodes to its scores.
        has_pair_state: it starts from a state on pairs, and may update it.
    """

    local: ClassVar[bool] = False
    has_score: ClassVar[bool] = False
    has_pair_bias: ClassVar[bool] = False
    has_pair_state: ClassVar[bool] = False

    def __init__(
        self, in_channels: int, out_channels: int, heads: int, bias: bool, key_bias: bool, dropout: float, width: str
    ) -> None:
        super().__init__()
        if heads < 1 or out_channels % heads:
            raise InputError(f"{width} must be a multiple of heads, got {width}={out_channels}, heads={heads}")
        if not 0.0 <= dropout < 1.0:
            raise InputError(f"dropout must lie in [0, 1), got {dropout}")
        self.in_channels, self.out_channels, self.heads, self.dropout = in_channels, out_channels, heads, dropout
        self.lin_query = nn.Linear(in_channels, out_channels, bias)
        self.lin_key = nn.Linear(in_channels, out_channels, key_bias)
        self.lin_value = nn.Linear(in_channels, out_channels, bias)

    def reset_parameters(self) -> None:
        """Initialises all weights: Glorot-uniform maps, zero biases."""
        reset_maps(self)

    def project_packed(self, x: Tensor) -> Tensor | None:
        """Query, key and value from one matrix product, [nodes, 3, heads, channels]; None where a map must be called itself."""
        packed = project_plain(x, self._maps)
        return None if packed is None else packed.unflatten(-1, (3, self.heads, -1))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, [nodes, heads, channels] each."""
        packed = self.project_packed(x)
        if packed is not None:
            query, key, value = packed.unbind(1)
        else:
            query, key, value = (linear(x).unflatten(-1, (self.heads, -1)) for linear in self._maps)
        return query, key, value

    @property
    def _maps(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.lin_query, self.lin_key, self.lin_value

    @classmethod
    @abstractmethod
    def for_encoder(cls, kind: str, options: EncoderOptions) -> SelfAttention:
        """The layer of an encoder; `kind` is the name that `EncoderLayer` was given."""

    @abstractmethod
    def attend(self, x: Tensor, context: AttentionContext, return_attention: bool = False) -> AttentionOut:
        """One round of attention inside an encoder."""

    @abstractmethod
    def multiply_adds(self, size: Size) -> int:
        """Multiply-adds of one forward pass."""


def with_weights(result: Tensor | tuple[Tensor, Tensor]) -> AttentionOut:
    """What `forward` returned: the output, and the weights where they were asked for."""
    return AttentionOut(result[0], weights=result[1]) if isinstance(result, tuple) else AttentionOut(result)
