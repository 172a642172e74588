"""Full attention inside each graph of a batch, in plain PyTorch: never a pair across two graphs, never padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask import BlockDiagonalMask
from graphattn.ops.memory import total_memory
from graphattn.ops.reference import attention_reference
from graphattn.ops.score import Dot, Score

# Nodes from which on torch's kernel is the faster one for a single graph.
LARGE = 512


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: BlockDiagonalMask,
    score: Score,
    normaliser: str,
    bias: Tensor | None,
    dropout: float,
    seed: Tensor | None,
    need_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """Output [nodes, heads, value channels] and, where they were formed, the weights before dropout [pairs, heads]."""
    plain = _is_torchs_own(mask, score, normaliser, dropout, need_weights)
    if plain and mask.ptr.shape[0] == 2 and mask.order is None:
        return _scaled_dot_product(query, key, value, mask.num_nodes, bias), None
    # Block sizes are data, which a traced graph cannot loop over: there, pair by pair.
    if plain and not torch.compiler.is_compiling():
        return _scaled_dot_product_by_size(query, key, value, mask, bias), None
    _refuse_too_large(query, value, mask)
    return attention_reference(query, key, value, mask.pairs(), score, normaliser, bias, None, dropout, seed)


def prefers_torch(mask: BlockDiagonalMask, score: Score, normaliser: str, dropout: float, need_weights: bool) -> bool:
    """Whether torch's own kernel serves a mask best: one graph, so large that blocks of matrix products pay."""
    one = mask.ptr.shape[0] == 2 and mask.order is None
    return one and mask.num_nodes >= LARGE and _is_torchs_own(mask, score, normaliser, dropout, need_weights)


def _is_torchs_own(mask: BlockDiagonalMask, score: Score, normaliser: str, dropout: float, need_weights: bool) -> bool:
    return isinstance(score, Dot) and normaliser == "softmax" and not dropout and not need_weights and mask.num_nodes > 0


def _scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, size: int, bias: Tensor | None) -> Tensor:
    """torch's own kernel on blocks of one size, one after the other: a large graph never meets its whole score matrix."""
    q, k, v = (rows.unflatten(0, (-1, size)).transpose(1, 2) for rows in (query, key, value))
    block_bias = None if bias is None else bias.unflatten(0, (-1, size, size)).permute(0, 3, 1, 2)
    # With values of another width than keys torch would form the whole score matrix; zeros change neither scores nor sums.
    missing, scale = k.shape[-1] - v.shape[-1], k.shape[-1] ** -0.5
    if missing > 0:
        v = F.pad(v, (0, missing))
    elif missing < 0:
        q, k = F.pad(q, (0, -missing)), F.pad(k, (0, -missing))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=block_bias, scale=scale)
    return out[..., : value.shape[-1]].transpose(1, 2).flatten(0, 1)


def _scaled_dot_product_by_size(
    query: Tensor, key: Tensor, value: Tensor, mask: BlockDiagonalMask, bias: Tensor | None
) -> Tensor:
    """All graphs of one size at a time, so that nothing is padded."""
    sizes = mask.ptr.diff()
    first_pair = sizes.square().cumsum(0) - sizes.square()
    outputs, places = [], []
    for size in sizes[sizes > 0].unique().tolist():
        graphs = (sizes == size).nonzero()
        place = (mask.ptr[graphs] + torch.arange(size, device=sizes.device)).flatten()
        place = place if mask.order is None else mask.order[place]
        pair = (first_pair[graphs] + torch.arange(size * size, device=sizes.device)).flatten()
        q, k, v = (rows.index_select(0, place) for rows in (query, key, value))
        outputs.append(_scaled_dot_product(q, k, v, size, None if bias is None else bias.index_select(0, pair)))
        places.append(place)
    return torch.cat(outputs).index_select(0, torch.cat(places).argsort())


def _refuse_too_large(query: Tensor, value: Tensor, mask: BlockDiagonalMask) -> None:
    """Scores other than dot product with softmax are formed pair by pair; a graph too large for that is refused."""
    if torch.compiler.is_compiling():
        return
    heads, channels = query.shape[1], query.shape[2] + value.shape[2]
    # Gathered queries, keys and values, their products, the scores and weights, and the pairs themselves.
    needed = mask.num_pairs * (heads * (2 * channels + 4) * query.element_size() + 40)
    memory = total_memory(query.device)
    if needed > memory // 2:
        raise InputError(
            f"full attention over {mask.num_pairs:,} pairs of nodes would take about {needed:,} bytes, more than half of the "
            f"{memory:,} here; use score='dot' with normaliser='softmax' and without dropout or returned weights (which "
            "needs no such table), or adjacency-masked attention"
        )
