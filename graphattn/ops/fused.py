"""Attention through the fused kernels: when they can serve, and how the general form comes down to theirs."""

from __future__ import annotations

import importlib.util
import math
import os
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import operator
from graphattn.ops.cpu.form import padded_channels
from graphattn.ops.layout import GroupedEdges, made_for_triton
from graphattn.ops.linear import map_heads, map_rows
from graphattn.ops.mask import AdjacencyMask, Mask
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import Additive, Dot, Score, Static
from graphattn.ops.settings import requested_backend

NORMALISERS = ("softmax", "sigmoid", "relu")
# What tables are kept in as they are given; on a GPU float16, too.
TYPES = (torch.float32, torch.float64, torch.bfloat16)
# Longer rows of heads, or of edge features, are no vectors that a compiler could hold.
MOST_HEADS, MOST_EDGE_CHANNELS = 128, 128
# A row's sums lie on the stack of a thread.
MOST_ROW = 16_384
# So many products of vectors take less time than the matrix that a product of matrices needs.
_FEW_ROWS = 256
_CAPABILITY = (7, 0)


def storage_type(query: Tensor, dtype: torch.dtype) -> torch.dtype:
    """The type that the kernels of a tensor's device keep queries, keys and values in, where they are given in `dtype`."""
    if dtype in TYPES or (dtype == torch.float16 and kernels_for(query) == "triton"):
        return dtype
    return torch.promote_types(dtype, torch.float32)


def kernels_for(tensor: Tensor) -> str:
    """Which kernels are those of a tensor's device: "cpu" or "triton"; on a CPU the latter where `GRAPHATTN_BACKEND` asks."""
    return "cpu" if tensor.device.type == "cpu" and requested_backend() != "triton" else "triton"


def why_not_fused(
    query: Tensor, value: Tensor, normaliser: str, edge_attr: EdgeFeatures | None, return_attention: bool
) -> str | None:
    """Why a call goes to the plain version, or None where the fused kernels serve it.

    Raises:
        InputError: where `GRAPHATTN_BACKEND` asks for kernels that cannot serve.
    """
    backend = requested_backend()
    if backend == "reference":
        return "GRAPHATTN_BACKEND=reference asks for the plain version"
    reason = _obstacle(query, value, normaliser, edge_attr, return_attention)
    if reason is not None and backend != "auto":
        raise InputError(f"GRAPHATTN_BACKEND={backend} asks for fused kernels, but {reason}")
    return reason


def _obstacle(
    query: Tensor, value: Tensor, normaliser: str, edge_attr: EdgeFeatures | None, return_attention: bool
) -> str | None:
    if not torch.compiler.is_compiling():
        if torch._C._are_functorch_transforms_active():
            return "a transform of torch.func is at work, and goes through the plain formula"
        if torch.autograd.forward_ad._current_level >= 0:
            return "forward-mode derivatives go through the plain formula"
    reason = _no_kernels(str(query.device))
    if reason is not None:
        return reason
    if normaliser not in NORMALISERS:
        return f"{normaliser} needs the scores of a row in order, all at once"
    if return_attention:
        return "the weights are wanted, and the kernels never hold them"
    heads, channels, value_channels = query.shape[-2], query.shape[-1], value.shape[-1]
    if not 0 < heads <= MOST_HEADS or channels == 0 or value_channels == 0:
        return f"there must be 1 to {MOST_HEADS} heads with channels, got {heads}"
    if heads * max(channels, value_channels) > MOST_ROW:
        return f"a row must have at most {MOST_ROW} numbers, got {heads} heads of {max(channels, value_channels)} channels"
    if edge_attr is not None and not 0 < edge_attr.attr.shape[1] <= MOST_EDGE_CHANNELS:
        return f"edge features must have 1 to {MOST_EDGE_CHANNELS} channels, got {edge_attr.attr.shape[1]}"
    return None


@torch.compiler.assume_constant_result
def _no_kernels(device: str) -> str | None:
    """Why there are no kernels for a device, or None where there are."""
    backend = requested_backend()
    if device.startswith("cuda") and backend != "cpu":
        return _no_triton_on(device)
    if device != "cpu":
        return f"the tensors are on {device}"
    if backend != "triton":
        return None
    if not _has_triton():
        return "Triton is not installed"
    # Read here as Triton reads it, when the kernels are first imported.
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "the tensors are on a CPU, where only Triton's interpreter serves: set TRITON_INTERPRET=1, for tests"
    return None


@cache
def _no_triton_on(gpu: str) -> str | None:
    if not _has_triton():
        return "Triton is not installed"
    major, minor = torch.cuda.get_device_capability(gpu)
    if (major, minor) < _CAPABILITY and not torch.version.hip:
        return f"Triton needs a GPU of compute capability {_CAPABILITY[0]}.{_CAPABILITY[1]}, got {major}.{minor}"
    return None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def fused_attention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    mask: Mask,
    score: Score,
    normaliser: str,
    bias: Tensor | None,
    edge_attr: EdgeFeatures | None,
    dropout: float,
    seed: Tensor | None,
) -> Tensor:
    """Output [targets, heads, value channels]; arguments as in `attention`, with one type for query, key and value."""
    order = None if isinstance(mask, AdjacencyMask) else mask.order
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
        weight = _widen(torch.cat(parts))
    elif isinstance(score, Dot) and edge_attr is not None and edge_attr.key_weight is not None:
        of_query = query.select(1, 0) if key is None else query
        edge_key = map_heads(of_query.to(edge_attr.attr.dtype), edge_attr.key_weight.transpose(1, 2) * scale)
    query, key, value = (None if rows is None else _widen(rows) for rows in (query, key, value))  # type: ignore[assignment]
    if mask.device != query.device:  # kernels look at addresses alone
        raise InputError(f"mask must be on {query.device}, where query is, got {mask.device}")
    by_target, by_source = _grouped(mask)
    if not torch.compiler.is_compiling() and made_for_triton(by_target.pieces) != (kernels_for(query) == "triton"):
        by_target, by_source = _grouped(replace(mask))  # GRAPHATTN_BACKEND was another when the mask was first used
    value_weight = None if edge_attr is None else edge_attr.value_weight
    out = operator.fused_attention(
        *(query, key, value, weight, bias, None if edge_attr is None else edge_attr.attr, edge_key, seed),
        *(by_target.pointers, by_target.neighbours, by_target.edges, by_target.pieces),
        *(by_source.pointers, by_source.neighbours, by_source.edges, by_source.pieces, by_source.block_ends),
        *(name, normaliser, not isinstance(mask, AdjacencyMask), value_weight is not None, scale, dropout),
        value_weight=value_weight,
    )
    if out.shape[-1] != value_channels:
        out = out[..., :value_channels]
    return out if order is None else torch.empty_like(out).index_copy(0, order, out)


def _grouped(mask: Mask) -> tuple[GroupedEdges, GroupedEdges]:
    return (mask.by_target, mask.by_source) if isinstance(mask, AdjacencyMask) else (mask.grouped, mask.grouped)


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


def _widen(rows: Tensor) -> Tensor:
    """Zeros after the channels of a head that is wider than a tile of the CPU kernels, up to a number of whole parts."""
    channels = rows.shape[-1]
    if kernels_for(rows) == "triton":
        return rows
    missing = padded_channels(channels, rows.dtype) - channels
    return F.pad(rows, (0, missing)) if missing else rows
