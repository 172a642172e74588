"""Counter-based random numbers for attention dropout: the same on every device, recomputed in the backward pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

    Args:
        counter: four words, each an int64 tensor with values in [0, 2³²); they broadcast.
        key: two words, likewise.

    Returns:
        Four words of 32 random bits each, int64.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def dropout_mask(num_edges: int, heads: int, p: float, seed: Tensor) -> Tensor:
    """Which attention weights survive dropout: True where a uniform u ≥ p.

    u of (edge e, head h) is word h mod 4 of Philox4x32-10 with the counter (e mod 2³², ⌊e / 2³²⌋, ⌊h / 4⌋, 0) and the
    key (seed mod 2³², ⌊seed / 2³²⌋), divided by 2³². Edges are counted in the caller's order.

    Args:
        num_edges, heads: the shape of the mask.
        p: probability of dropping a weight, in [0, 1).
        seed: int64 scalar tensor.

    Returns:
        bool tensor of shape [num_edges, heads].
    """
    edge = torch.arange(num_edges, device=seed.device).unsqueeze(-1)
    group = torch.arange((heads + 3) // 4, device=seed.device)
    key = (seed & _WORD, (seed >> 32) & _WORD)
    words = philox4x32((edge & _WORD, edge >> 32, group, torch.zeros_like(group)), key)
    bits = torch.stack([word.expand(num_edges, group.shape[0]) for word in words], dim=-1).flatten(1)[:, :heads]
    # As integers: a 32-bit word divided in float32 may round up to one.
    return bits >= math.ceil(p * 2**32)


def _multiply(word: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 × 32-bit product, in int64 arithmetic that must not overflow."""
    upper, lower = word >> 16, word & 0xFFFF
    high = (upper * constant + ((lower * constant) >> 16)) >> 16
    low = (((upper * constant) << 16) + lower * constant) & _WORD
    return high, low
