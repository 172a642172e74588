from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.layers.base import EncoderOptions, SelfAttention
from graphattn.nn.projection import is_plain, project_together
from graphattn.ops import SCORES, EdgeFeatures, Mask, Static, attention, normaliser_of
from graphattn.ops.score import make_score


class ScoredSelfAttention(SelfAttention):
    """What masked and full self-attention share: a score, a normaliser, and the call of `ops.attention`."""

    has_score = True

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
        super().__init__(in_channels, out_channels, heads, bias, bias, dropout, "out_channels")
        if score not in SCORES:
            raise InputError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
        normaliser_of(normaliser)
        self.score, self.normaliser = score, normaliser
        self.lin_out = nn.Linear(out_channels, out_channels, bias) if out_proj else None
        shape = SCORES[score].weight_shape(heads, out_channels // heads)
        self.att = None if shape is None else nn.Parameter(torch.empty(shape))

    @classmethod
    def for_encoder(cls, kind: str, options: EncoderOptions, **more: Any) -> SelfAttention:
        common: dict[str, Any] = {"score": options.score, "normaliser": options.normaliser, "dropout": options.dropout}
        make: Any = cls  # a subclass takes these by name, and has defaults for the rest
        made: SelfAttention = make(options.channels, options.channels, options.heads, **common, **more)
        return made

    def reset_parameters(self) -> None:
        super().reset_parameters()
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
        key: Tensor | None = None
        value: Tensor | None = None
        if type(score) is Static and all(is_plain(linear) for linear in self._maps):
            query, key, value, features = self._project_static(x, score, features)
            score = Static(torch.ones_like(score.weight[..., :1]), score.negative_slope)
        else:
            packed = self.project_packed(x)
            query, key, value = self.project(x) if packed is None else (packed, None, None)
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
