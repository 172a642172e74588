"""The one public function of the library's core."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.block import block_attention, prefers_torch
from graphattn.ops.fused import fused_attention, storage_type, why_not_fused
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.normaliser import NORMALISERS
from graphattn.ops.reference import EdgeFeatures, attention_reference
from graphattn.ops.score import Additive, Dot, Score, Static
from graphattn.ops.settings import requested_backend


def attention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    mask: Mask,
    *,
    score: str | Score = "dot",
    normaliser: str = "softmax",
    bias: Tensor | None = None,
    edge_attr: EdgeFeatures | None = None,
    dropout: float = 0.0,
    seed: int | Tensor | None = None,
    return_attention: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Attention of nodes to the nodes that a mask allows.

    .. math::
        o_i = \sum_{j \in M(i)} \alpha_{ij} \, v_{ij}, \qquad
        \alpha_{i\cdot} = \mathrm{normalise}_{j \in M(i)} \big( \mathrm{score}(q_i, k_{ij}) + b_{ij} \big)

    A node with nothing to attend to gets zero. Half-precision inputs are computed in float32; under autocast the inputs are
    cast to the autocast dtype, which is then the dtype of the output.

    On a CPU and on a GPU that Triton knows, softmax, sigmoid and relu go through fused kernels that make no tensor of the
    edges' size; `graphattn.backends()` tells what serves which call. Gradients of gradients are those of the plain formula.

    Args:
        query: [targets, heads, channels]; or, with `key` and `value` None, all three packed, [nodes, 3, heads, channels].
        key: [sources, heads, channels].
        value: [sources, heads, value channels]. Pass the same tensor object as key and value where they are one (GATv2).
        mask: an `AdjacencyMask`, or a `BlockDiagonalMask` for full attention inside each graph.
        score: "dot" or `Dot()`, `Additive(weight)`, `Static(weight)`.
        normaliser: "softmax", "sigmoid", "relu", "sparsemax" or "entmax15".
        bias: added to the scores, [edges, heads] in the order of the mask's edges; on a block mask [pairs, heads], flat.
        edge_attr: `EdgeFeatures(attr, key_weight, value_weight)`; adjacency masks only.
        dropout: probability of dropping a weight, in [0, 1). The caller decides about training or not.
        seed: makes dropout repeatable (Philox4x32-10, see `graphattn.ops.philox`); default: drawn from torch's generator.
        return_attention: also return the weights before dropout, [edges, heads] in the caller's order (pairs: flat), in
            float32 at least.

    Returns:
        [targets, heads, value channels]; with `return_attention=True` the pair (output, weights).

    Raises:
        InputError: on shapes or devices that do not fit, an unknown name, or full attention that would not fit in memory.
    """
    spec = _as_score(score)
    tables = _tables(query, key, value)
    _check(*tables, mask, spec, normaliser, bias, edge_attr, dropout)
    given = [None if rows is None else _to_autocast(rows) for rows in (query, key, None if value is key else value)]
    dtype = next(rows.dtype for rows in reversed(given) if rows is not None)
    compute = torch.promote_types(dtype, torch.float32)
    seed_tensor = _as_seed(seed, query.device) if dropout else None
    spec = _score_to(spec, compute)
    bias = None if bias is None else bias.to(compute)
    if edge_attr is not None:
        edge_attr = EdgeFeatures(*(None if part is None else part.to(compute) for part in edge_attr))  # type: ignore[arg-type]

    # The dtype is settled above; inside, autocast must not lower it again.
    with torch.autocast(query.device.type, enabled=False):
        plain = why_not_fused(*tables[::2], normaliser, edge_attr, return_attention)
        large = (
            isinstance(mask, BlockDiagonalMask)
            and requested_backend() == "auto"
            and prefers_torch(mask, spec, normaliser, dropout, return_attention)
        )
        if plain is None and not large:
            # The static score's numbers for each end of an edge would not bear rounding: they decide on which side of the
            # leaky ReLU's kink a score lies.
            storage = compute if isinstance(spec, Static) else storage_type(query, dtype)
            q, k, v = (None if rows is None else rows.to(storage) for rows in given)
            assert q is not None
            return fused_attention(q, k, v, mask, spec, normaliser, bias, edge_attr, dropout, seed_tensor).to(dtype)
        q, k, v = (rows.to(compute) for rows in tables)
        weights: Tensor | None
        if isinstance(mask, AdjacencyMask):
            out, weights = attention_reference(q, k, v, mask, spec, normaliser, bias, edge_attr, dropout, seed_tensor)
        else:
            out, weights = block_attention(
                q, k, v, mask, spec, normaliser, bias, dropout, seed_tensor, need_weights=return_attention
            )
    out = out.to(dtype)
    return (out, weights) if return_attention and weights is not None else out


def _tables(query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, of three tensors or of one."""
    if key is not None and value is not None:
        return query, key, value
    if key is not None or value is not None or query.dim() != 4 or query.shape[1] != 3:
        raise InputError(
            "key and value must both be given, or both be None with query of shape [nodes, 3, heads, channels], got "
            + ", ".join("None" if rows is None else str(list(rows.shape)) for rows in (query, key, value))
        )
    q, k, v = query.unbind(1)
    return q, k, v


def _as_seed(seed: int | Tensor | None, device: torch.device) -> Tensor:
    if seed is None:
        return torch.randint(2**63 - 1, (), device=device)
    if isinstance(seed, Tensor):
        if seed.dtype != torch.int64 or seed.dim() != 0:
            raise InputError(f"seed must be a whole number or an int64 scalar tensor, got {seed.dtype} {list(seed.shape)}")
        return seed.to(device)
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must lie in [0, 2**63), got {seed}")
    return torch.tensor(seed, dtype=torch.int64, device=device)


def _as_score(score: str | Score) -> Score:
    if isinstance(score, (Dot, Additive, Static)):
        return score
    if score == "dot":
        return Dot()
    if score in ("additive", "static"):
        kind = score.capitalize()
        raise InputError(f"score={score!r} has a weight vector: pass graphattn.ops.{kind}(weight) instead of the name")
    raise InputError(f"score must be 'dot', Additive(weight) or Static(weight), got {score!r}")


def _score_to(score: Score, dtype: torch.dtype) -> Score:
    if isinstance(score, Additive):
        return Additive(score.weight.to(dtype), score.activation, score.negative_slope)
    if isinstance(score, Static):
        return Static(score.weight.to(dtype), score.negative_slope)
    return score


def _to_autocast(tensor: Tensor) -> Tensor:
    device = tensor.device.type
    if torch.is_autocast_enabled(device) and tensor.dtype != torch.float64:
        return tensor.to(torch.get_autocast_dtype(device))
    return tensor


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Mask,
    score: Score,
    normaliser: str,
    bias: Tensor | None,
    edge_attr: EdgeFeatures | None,
    dropout: float,
) -> None:
    """Raises where the arguments do not fit together; looks at shapes, types and devices only, never at values."""
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() != 3 or not tensor.is_floating_point():
            raise InputError(
                f"{name} must be floats of shape [nodes, heads, channels], got {tensor.dtype} {list(tensor.shape)}"
            )
    if not isinstance(mask, (AdjacencyMask, BlockDiagonalMask)):
        raise InputError(f"mask must be an AdjacencyMask or a BlockDiagonalMask, got {type(mask).__name__}")
    weight = None if isinstance(score, Dot) else score.weight
    attr = None if edge_attr is None else edge_attr.attr
    for name, other in (("key", key), ("value", value), ("weight", weight), ("bias", bias), ("edge_attr", attr)):
        if other is not None and other.device != query.device:
            raise InputError(f"{name} must be on {query.device}, where query is, got {other.device}")
    if mask.device != query.device:
        raise InputError(f"mask must be on {query.device}, where query is, got {mask.device}")
    sources, targets = mask.num_sources, mask.num_targets
    heads, channels = query.shape[1:]
    if query.shape[0] != targets:
        raise InputError(f"query must have a row for each of the mask's {targets} targets, got {query.shape[0]}")
    if key.shape != (sources, heads, channels):
        raise InputError(f"key must have shape {[sources, heads, channels]}, got {list(key.shape)}")
    if value.shape[:2] != (sources, heads):
        raise InputError(f"value must have shape {[sources, heads]} and any channels, got {list(value.shape)}")
    if normaliser not in NORMALISERS:
        raise InputError(f"normaliser must be one of {', '.join(NORMALISERS)}, got {normaliser!r}")
    if isinstance(score, Additive):
        _check_shape("the weight of Additive", score.weight, (heads, channels))
        if score.activation not in ("leaky_relu", "tanh"):
            raise InputError(f"activation must be 'leaky_relu' or 'tanh', got {score.activation!r}")
    if isinstance(score, Static):
        _check_shape("the weight of Static", score.weight, (2, heads, channels))
    if bias is not None:
        if isinstance(mask, AdjacencyMask):
            _check_shape("bias", bias, (mask.num_edges, heads))
        elif not torch.compiler.is_compiling():
            _check_shape("bias", bias, (mask.num_pairs, heads))
    if edge_attr is not None:
        if isinstance(mask, BlockDiagonalMask):
            raise InputError("edge_attr needs an AdjacencyMask; on a BlockDiagonalMask pass a bias on pairs")
        attr, key_weight, value_weight = edge_attr
        if attr.dim() != 2 or attr.shape[0] != mask.num_edges:
            raise InputError(f"edge_attr must have shape [{mask.num_edges} edges, edge channels], got {list(attr.shape)}")
        if key_weight is not None:
            _check_shape("key_weight", key_weight, (heads, channels, attr.shape[1]))
        if value_weight is not None:
            _check_shape("value_weight", value_weight, (heads, value.shape[2], attr.shape[1]))
    if not 0.0 <= dropout < 1.0:
        raise InputError(f"dropout must lie in [0, 1), got {dropout}")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise InputError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
