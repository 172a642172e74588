"""The one public function of the library's core."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.backends import Call, choose
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.normaliser import normaliser_of
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import Score, as_score


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

    On a CPU and on a GPU that Triton supports, softmax, softmax1, sigmoid and relu go through fused kernels that make no tensor
    of the edges' size; `graphattn.backends()` shows which backend serves which call. Gradients of gradients are those of the
    plain formula.

    Args:
        query: [targets, heads, channels]; or, with `key` and `value` None, all three packed, [nodes, 3, heads, channels].
        key: [sources, heads, channels].
        value: [sources, heads, value channels]. Pass the same tensor object as key and value where they are one (GATv2).
        mask: an `AdjacencyMask`, or a `BlockDiagonalMask` for full attention inside each graph.
        score: "dot" or `Dot()`, `Additive(weight)`, `Static(weight)`, or one that was registered.
        normaliser: "softmax", "softmax1", "sigmoid", "relu", "sparsemax", "entmax15", or one that was registered.
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
    spec, chosen = as_score(score), normaliser_of(normaliser)
    tensors = _tensors(query, key, value)
    _check(*tensors, mask, spec, bias, edge_attr, dropout)
    given = [None if rows is None else _to_autocast(rows) for rows in (query, key, None if value is key else value)]
    dtype = next(rows.dtype for rows in reversed(given) if rows is not None)
    compute = torch.promote_types(dtype, torch.float32)
    seed_tensor = _as_seed(seed, query.device) if dropout else None
    spec = spec.to(compute)
    bias = None if bias is None else bias.to(compute)
    if edge_attr is not None:
        edge_attr = EdgeFeatures(*(None if part is None else part.to(compute) for part in edge_attr))  # type: ignore[arg-type]

    # The dtype is settled above; inside, autocast must not lower it again.
    with torch.autocast(query.device.type, enabled=False):
        call = Call(query, key, value, mask, spec, chosen, bias, edge_attr, dropout, seed_tensor, return_attention)
        backend = choose(call)
        storage = compute if spec.full_precision else backend.storage_type(dtype)
        q, k, v = (None if rows is None else rows.to(storage) for rows in given)
        assert q is not None
        out, weights = backend.run(call._replace(query=q, key=k, value=v))
    out = out.to(dtype)
    return (out, weights) if return_attention and weights is not None else out


def _tensors(query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
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
    weight = score.weight
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
    score.check(heads, channels)
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
