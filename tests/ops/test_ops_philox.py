"""The random numbers of attention dropout, against the vectors of Random123 and a Philox of plain Python integers."""

from __future__ import annotations

import pytest
import torch

from graphattn.ops import AdjacencyMask, attention
from graphattn.ops.philox import dropout_mask, philox4x32

# kat_vectors of Random123 (Salmon et al., 2011): counter, key, output.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def plain_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    c, k = list(counter), list(key)
    for _ in range(10):
        left, right = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [right >> 32 ^ c[1] ^ k[0], right & 0xFFFFFFFF, left >> 32 ^ c[3] ^ k[1], left & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    words = philox4x32(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))
    assert tuple(map(int, words)) == expected
    assert tuple(plain_philox(counter, key)) == expected


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3, 2**63 - 1])
@pytest.mark.parametrize("heads", [1, 3, 4, 6])
def test_layout_of_the_mask(seed: int, heads: int) -> None:
    """Word h mod 4 at counter (edge, 0, h // 4, 0), key (low, high half of the seed); kept where it is at least p · 2³²."""
    mask = dropout_mask(9, heads, 0.4, torch.tensor(seed))
    for edge in range(9):
        for head in range(heads):
            word = plain_philox((edge, 0, head // 4, 0), (seed & 0xFFFFFFFF, seed >> 32))[head % 4]
            assert bool(mask[edge, head]) == (word / 2**32 >= 0.4)


def test_a_weight_is_kept_where_u_equals_p() -> None:
    word = plain_philox((0, 0, 0, 0), (9, 0))[0]
    kept = [bool(dropout_mask(1, 1, (word + step) / 2**32, torch.tensor(9))) for step in (-0.5, 0, 0.25, 1)]
    assert kept == [True, True, False, False]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate(p: float) -> None:
    kept = dropout_mask(50_000, 4, p, torch.tensor(1)).double()
    deviation = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < 4 * deviation
    of_heads = kept.t() - kept.mean()
    assert ((of_heads @ of_heads.t() / 50_000).fill_diagonal_(0).abs() < 4 * p * (1 - p) / 50_000**0.5).all()


def test_same_seed_same_mask_for_any_number_of_edges() -> None:
    long, short = (dropout_mask(edges, 2, 0.5, torch.tensor(5)) for edges in (100, 10))
    assert torch.equal(long[:10], short)
    assert torch.equal(long, dropout_mask(100, 2, 0.5, torch.tensor(5)))
    assert not torch.equal(long, dropout_mask(100, 2, 0.5, torch.tensor(6)))
    assert dropout_mask(0, 2, 0.5, torch.tensor(5)).shape == (0, 2)
    assert dropout_mask(100, 2, 0.0, torch.tensor(5)).all()


def test_dropout_scales_what_it_keeps() -> None:
    """Each target has one edge of weight 1 to a value of 1: dropped it gives 0, kept 1 / (1 - p) = 4; the mean stays 1."""
    nodes = 4000
    one, loops = torch.ones(nodes, 1, 1), torch.arange(nodes)
    out = attention(one, one, one, AdjacencyMask(loops, loops, nodes, nodes), dropout=0.75, seed=2)
    assert set(out.flatten().tolist()) == {0.0, 4.0}
    assert float(out.mean()) == pytest.approx(1, abs=4 * (3 / nodes) ** 0.5)


def test_seed_may_be_a_number_a_tensor_or_drawn() -> None:
    one, loops = torch.ones(64, 1, 1), torch.arange(64)
    mask = AdjacencyMask(loops, loops, 64, 64)
    number, tensor = (attention(one, one, one, mask, dropout=0.5, seed=seed) for seed in (3, torch.tensor(3)))
    assert torch.equal(number, tensor)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = (attention(one, one, one, mask, dropout=0.5) for _ in range(2))
        torch.manual_seed(0)
        again = attention(one, one, one, mask, dropout=0.5)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
