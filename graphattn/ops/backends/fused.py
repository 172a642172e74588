"""Attention through fused kernels: what they serve, and how the general form is brought to theirs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import operator
from graphattn.ops.backends.base import Backend, Call
from graphattn.ops.inputs import layout_of_blocks, layout_of_edges
from graphattn.ops.linear import map_heads, map_rows
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import Additive, Dot, Static
from graphattn.ops.settings import is_onnx_export
from graphattn.ops.torch_private import is_forward_mode_active, is_functorch_active

# Longer rows of heads, or of edge features, are no vectors that a compiler could hold.
MOST_HEADS, MOST_EDGE_CHANNELS = 128, 128
# A row's sums lie on the stack of a thread.
MOST_ROW = 16_384
# So many products of vectors take less time than the matrix that a product of matrices needs.
_FEW_ROWS = 256
# The scores that come down to a kernel's own, in `FusedBackend.run`; no subclass of them, whose formula may be another.
_SCORES = (Dot, Additive, Static)


class FusedBackend(Backend):
    """Kernels that make no tensor of the edges' size, as the operator `graphattn::fused_attention`.

    A family of kernels is a subclass. It registers its grouping of edges (`graphattn.ops.layout.register_grouping`) and its
    kernels (`graphattn.ops.operator.register_kernels`) under its name.

    Args:
        title: what sentences call it.
        normalisers: names of those that it has kernels for.
        types: what queries, keys and values are kept in as they are given.
    """

    title: str
    normalisers: Collection[str]
    types: tuple[torch.dtype, ...]

    @abstractmethod
    def is_for(self, device: torch.device) -> bool:
        """Whether tensors on this device are its business, whether or not it can serve them."""

    @abstractmethod
    def why_not_on(self, device: torch.device) -> str | None:
        """Why it does not serve tensors on a device, or None where it does."""

    def padded_channels(self, channels: int, dtype: torch.dtype) -> int:
        """The number of channels that a head is padded to."""
        return channels

    def why_not(self, call: Call) -> str | None:
        if not torch.compiler.is_compiling():
            if is_functorch_active():
                return "a transform of torch.func is active, which goes through the plain formula"
            if is_forward_mode_active():
                return "forward-mode derivatives go through the plain formula"
        elif is_onnx_export():
            return "torch.onnx.export is at work, which has no operator for the kernels"
        reason = self.why_not_on(call.query.device)
        if reason is not None:
            return reason
        if call.normaliser.name not in self.normalisers:
            return f"the normaliser {call.normaliser.name} has no {self.title} kernel"
        if type(call.score) not in _SCORES:
            return f"the score {type(call.score).__name__} has no {self.title} kernel"
        if call.return_attention:
            return "the weights are wanted, which the kernels never hold"
        value = call.query if call.key is None else call.key if call.value is None else call.value
        heads, channels, value_channels = call.query.shape[-2], call.query.shape[-1], value.shape[-1]
        if not 0 < heads <= MOST_HEADS or channels == 0 or value_channels == 0:
            return f"there must be 1 to {MOST_HEADS} heads with channels, got {heads}"
        if heads * max(channels, value_channels) > MOST_ROW:
            return f"a row must have at most {MOST_ROW} numbers, got {heads} heads of {max(channels, value_channels)} channels"
        if call.edge_attr is not None and not 0 < call.edge_attr.attr.shape[1] <= MOST_EDGE_CHANNELS:
            return f"edge features must have 1 to {MOST_EDGE_CHANNELS} channels, got {call.edge_attr.attr.shape[1]}"
        return None

    def storage_type(self, dtype: torch.dtype) -> torch.dtype:
        return dtype if dtype in self.types else torch.promote_types(dtype, torch.float32)

    def run(self, call: Call) -> tuple[Tensor, Tensor | None]:
        query, key, value, mask, score, normaliser, bias, edge_attr, dropout, seed, _ = call
        assert mask is not None
        order = mask.order if isinstance(mask, BlockDiagonalMask) else None
        if order is not None:
            query, key, value = (None if rows is None else rows.index_select(0, order) for rows in (query, key, value))  # type: ignore[assignment]
        if isinstance(score, Static):
            query, key, value, score, edge_attr = _static_as_additive(query, key, value, score, edge_attr)
        channels = query.shape[-1]
        value_channels = (query if key is None else key if value is None else value).shape[-1]
        weight, edge_key, name, scale = None, None, "dot", 1 / math.sqrt(channels)
        if isinstance(score, Additive):
            name, scale, parts = score.activation, score.negative_slope, [score.weight.unsqueeze(0)]
            if edge_attr is not None and edge_attr.key_weight is not None:
                parts.append(edge_attr.key_weight.permute(2, 0, 1))
            weight = self._widen(torch.cat(parts))
        elif edge_attr is not None and edge_attr.key_weight is not None:
            of_query = query.select(1, 0) if key is None else query
            edge_key = map_heads(of_query.to(edge_attr.attr.dtype), edge_attr.key_weight.transpose(1, 2) * scale)
        query, key, value = (None if rows is None else self._widen(rows) for rows in (query, key, value))  # type: ignore[assignment]
        if mask.device != query.device:  # kernels look at addresses alone
            raise InputError(f"mask must be on {query.device}, where query is, got {mask.device}")
        layout: tuple[Any, ...]
        if isinstance(mask, AdjacencyMask):
            layout = layout_of_edges(mask.by_target(self.name), mask.by_source(self.name))
        else:
            layout = layout_of_blocks(mask.layout(self.name))
        value_weight = None if edge_attr is None else edge_attr.value_weight
        out = operator.fused_attention(
            *(query, key, value, weight, bias, None if edge_attr is None else edge_attr.attr, edge_key, seed, *layout),
            *(self.name, name, normaliser.name, isinstance(mask, BlockDiagonalMask), value_weight is not None, scale, dropout),
            value_weight=value_weight,
        )
        if out.shape[-1] != value_channels:
            out = out[..., :value_channels]
        return out if order is None else torch.empty_like(out).index_copy(0, order, out), None

    def _widen(self, rows: Tensor) -> Tensor:
        """Zeros after the channels of a head, up to the number that the kernels take."""
        missing = self.padded_channels(rows.shape[-1], rows.dtype) - rows.shape[-1]
        return torch.nn.functional.pad(rows, (0, missing)) if missing else rows


def _static_as_additive(
    query: Tensor, key: Tensor | None, value: Tensor | None, score: Static, edge_attr: EdgeFeatures | None
) -> tuple[Tensor, Tensor, Tensor, Additive, EdgeFeatures | None]:
    """a_q · q_i + a_k · k_ij is one number a head for each end of an edge: the additive score with one channel and weight 1."""
    if key is None:
        query, key, value = query.unbind(1)
    value = key if value is None else value
    if query is key:
        query, key = head_products(query, score.weight)
    else:
        (query,), (key,) = head_products(query, score.weight[:1]), head_products(key, score.weight[1:])
    if edge_attr is not None and edge_attr.key_weight is not None:
        key_weight = (score.weight[1].unsqueeze(-1) * edge_attr.key_weight).sum(1, keepdim=True)
        edge_attr = edge_attr._replace(key_weight=key_weight)
    one = torch.ones(query.shape[1], 1, dtype=score.weight.dtype, device=query.device)
    return query, key, value, Additive(one, "leaky_relu", score.negative_slope), edge_attr


def head_products(rows: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
    """p[k][n, h] = vectors[k, h] · rows[n, h]: [N, H, D] and [K, H, D] → K times [N, H, 1].

    As one matrix product, but for few rows, whose sums take less time than the matrix.
    """
    heads = rows.shape[1]
    if not torch.compiler.is_compiling() and rows.shape[0] <= _FEW_ROWS:
        products = (rows.to(vectors.dtype).unsqueeze(1) * vectors).sum(-1, keepdim=True)
        return products.to(rows.dtype).unbind(1)
    own = torch.eye(heads, dtype=vectors.dtype, device=vectors.device)
    spread = (vectors.unsqueeze(1) * own.unsqueeze(-1)).flatten(2)  # [K, H, H·D], zero off a head's own channels
    return map_rows(rows.flatten(1).to(vectors.dtype), spread).to(rows.dtype).unsqueeze(-1).unbind(1)
