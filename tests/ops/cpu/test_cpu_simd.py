"""The SIMD vector type: every operation against torch on the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from numba import njit
from torch import Tensor

from graphattn.ops.cpu import simd
from graphattn.ops.philox import dropout_mask, philox4x32

DTYPES = {"float32": torch.float32, "float64": torch.float64}
INF, NAN = math.inf, math.nan


@cache
def elementwise(operation: Any, storage: str) -> Callable[..., None]:
    """A compiled loop y = operation(x), eight numbers at a time."""
    size = 4 if storage == "float32" else 8

    @njit(error_model="numpy")
    def run(x: int, y: int, count: int) -> None:
        for place in range(0, count * size, 8 * size):
            simd.store(y + place, operation(simd.load(x + place, 8, storage)), storage)

    return run


def apply(operation: Any, x: Tensor) -> Tensor:
    padded = torch.cat([x, x.new_ones(-len(x) % 8)])
    y = torch.empty_like(padded)
    elementwise(operation, str(x.dtype).removeprefix("torch."))(padded.data_ptr(), y.data_ptr(), len(padded))
    return y[: len(x)]


def worst(actual: Tensor, expected: Tensor) -> float:
    """The largest relative error."""
    return float(((actual.double() - expected) / expected).abs().max())


@pytest.mark.parametrize(
    ("storage", "low", "high", "allowed"), [("float32", -87.3, 88.0, 2e-7), ("float64", -708.0, 709.0, 4e-16)]
)
def test_exp(storage: str, low: float, high: float, allowed: float) -> None:
    dtype = DTYPES[storage]
    wide = torch.linspace(low, high, 1_000_001, dtype=torch.float64).to(dtype).clamp(low, high)
    # Around the places where rounding x / ln 2 goes from one whole number to the next.
    edges = ((torch.arange(-120, 120, dtype=torch.float64) + 0.5) * math.log(2)).to(dtype)
    near = torch.cat([edges, edges.nextafter(edges + 1), edges.nextafter(edges - 1), wide / 1e3, wide / 1e30])
    x = torch.cat([wide, near])
    expected = x.double().exp()
    if storage == "float64":  # the C library is itself half a unit off
        allowed += 1.2e-16
    assert worst(apply(simd.exp, x), expected) <= allowed


@pytest.mark.parametrize("storage", DTYPES)
def test_exp_at_the_ends(storage: str) -> None:
    dtype = DTYPES[storage]
    tiny = float(torch.finfo(dtype).smallest_normal) / 4
    x = torch.tensor([0.0, -0.0, tiny, -tiny, -INF, -1e4, float(torch.finfo(dtype).min), INF, 1e4, NAN], dtype=dtype)
    y = apply(simd.exp, x)
    assert y[:9].tolist() == [1, 1, 1, 1, 0, 0, 0, INF, INF]
    assert y[9].isnan()


@pytest.mark.parametrize(("storage", "allowed"), [("float32", 2e-7), ("float64", 3e-16)])
def test_log(storage: str, allowed: float) -> None:
    dtype = DTYPES[storage]
    exponents = torch.linspace(-125, 126, 500_001, dtype=torch.float64)
    x = torch.cat([exponents.exp2(), 1 + torch.linspace(-0.3, 0.5, 100_000, dtype=torch.float64)]).to(dtype)
    x = x[x != 1]
    assert worst(apply(simd.log, x), x.double().log()) <= allowed
    assert apply(simd.log, torch.ones(8, dtype=dtype)).eq(0).all()


@pytest.mark.parametrize("storage", DTYPES)
def test_where_there_is_nan(storage: str) -> None:
    """`maximum` keeps a NaN that comes second; `where_positive` takes NaN for not positive."""
    size = 4 if storage == "float32" else 8

    @njit(error_model="numpy")
    def run(x: int, y: int, larger: int, chosen: int) -> None:
        first, second = simd.load(x, 4, storage), simd.load(y, 4, storage)
        simd.store(larger, simd.maximum(first, second), storage)
        simd.store(chosen, simd.where_positive(first, first, second), storage)

    x, y = (torch.tensor(v, dtype=DTYPES[storage]) for v in ([1.0, NAN, -2, NAN], [NAN, 3.0, -1, NAN]))
    larger, chosen = torch.empty_like(x), torch.empty_like(x)
    assert x.element_size() == size
    run(x.data_ptr(), y.data_ptr(), larger.data_ptr(), chosen.data_ptr())
    assert [str(v) for v in larger.tolist()] == ["nan", "3.0", "-1.0", "nan"]
    assert [str(v) for v in chosen.tolist()] == ["1.0", "3.0", "-1.0", "nan"]


@pytest.mark.parametrize(
    ("heads", "channels", "storage"),
    [
        *((1, 1, "float32"), (1, 7, "float32"), (3, 1, "float64"), (3, 7, "float32"), (5, 6, "float64")),
        *((1, 130, "float32"), (2, 64, "float32"), (4, 20, "float64"), (12, 3, "float32")),
    ],
)
def test_between_heads_and_channels(heads: int, channels: int, storage: str) -> None:
    """Whole numbers, whose sums are exact in any order."""
    length, size = heads * channels, 4 if storage == "float32" else 8

    @njit(error_model="numpy")
    def run(x: int, head_sums: int, head_tops: int, channel_sums: int, channel_tops: int, spread: int, tiled: int) -> None:
        whole = simd.load(x, length, storage)
        simd.store(head_sums, simd.head_sum(whole, heads), storage)
        simd.store(head_tops, simd.head_maximum(whole, heads), storage)
        simd.store(channel_sums, simd.fold(whole, channels), storage)
        simd.store(channel_tops, simd.fold_maximum(whole, channels), storage)
        simd.store(spread, simd.spread(simd.load(x, heads, storage), channels), storage)
        simd.store(tiled, simd.tile(simd.load(x, channels, storage), heads), storage)

    x = torch.randint(-99, 99, (heads, channels), generator=torch.Generator().manual_seed(0)).to(DTYPES[storage])
    flat = x.flatten()
    found = [torch.empty(n, dtype=x.dtype) for n in (heads, heads, channels, channels, length, length)]
    assert x.element_size() == size
    run(x.data_ptr(), *(tensor.data_ptr() for tensor in found))
    by_head, by_channel = (x.sum(1), x.amax(1)), (x.sum(0), x.amax(0))
    expected = [*by_head, *by_channel, flat[:heads].repeat_interleave(channels), flat[:channels].repeat(heads)]
    for actual, reference in zip(found, expected, strict=True):
        assert torch.equal(actual, reference)


def test_bfloat16_is_torchs_bit_for_bit() -> None:
    @njit(error_model="numpy")
    def run(narrow: int, wide: int, count: int, widen: bool) -> None:
        for k in range(0, count, 16):
            if widen:
                simd.store(wide + 4 * k, simd.load(narrow + 2 * k, 16, "bfloat16"), "float32")
            else:
                simd.store(narrow + 2 * k, simd.load(wide + 4 * k, 16, "float32"), "bfloat16")

    # Every bfloat16 there is, read.
    narrow = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)
    wide = torch.empty(2**16)
    run(narrow.data_ptr(), wide.data_ptr(), 2**16, True)
    assert torch.equal(wide.view(torch.int32), narrow.float().view(torch.int32))
    # Written: each of them; halfway to the next, where ties go to even; on either side of halfway; and any bits at all.
    upper = (torch.arange(2**16) - 2**15) << 16
    lower = torch.tensor([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    anything = torch.randint(-(2**31), 2**31, (2**18,), generator=torch.Generator().manual_seed(0))
    x = torch.cat([(upper.unsqueeze(1) + lower).flatten(), anything]).to(torch.int32).view(torch.float32)
    y = torch.empty(len(x), dtype=torch.bfloat16)
    run(y.data_ptr(), x.data_ptr(), len(x), False)
    assert torch.equal(y.isnan(), x.isnan())
    number = ~x.isnan()
    assert torch.equal(y.view(torch.int16)[number], x.bfloat16().view(torch.int16)[number])


@cache
def dropout_kernel(words: int) -> Callable[..., None]:
    @njit(error_model="numpy")
    def run(edges: int, group: int, seed: int, threshold: int, out: int) -> None:
        factors = simd.dropout_factors(simd.load_indices(edges, 16), group, words, seed, threshold, 2.5, "float32")
        simd.store(out, factors, "float32")

    return run


def dropout_factors(edges: Tensor, heads: int, p: float, seed: int) -> Tensor:
    """[edges, heads] by the vector code, four heads at a time and then the rest."""
    blocks = []
    for lanes in edges.split(16):
        columns = []
        for group in range((heads + 3) // 4):
            words = min(4, heads - 4 * group)
            out = torch.empty(16, words)
            dropout_kernel(words)(lanes.data_ptr(), group, seed, math.ceil(p * 2**32), out.data_ptr())
            columns.append(out)
        blocks.append(torch.cat(columns, 1))
    return torch.cat(blocks)


@pytest.mark.parametrize("heads", range(1, 10))
@pytest.mark.parametrize(("p", "seed"), [(0.3, 5), (0.999, 2**62 + 3 * 2**32 + 1), (1e-9, 0)])
def test_dropout(heads: int, p: float, seed: int) -> None:
    key = torch.tensor(seed) & 0xFFFFFFFF, torch.tensor(seed) >> 32
    first = torch.arange(4096)
    expected = dropout_mask(4096, heads, p, torch.tensor(seed))
    assert torch.equal(dropout_factors(first, heads, p, seed), 2.5 * expected)
    far = torch.cat([torch.arange(2**32 - 64, 2**32 + 64), torch.arange(7 * 2**32 + 5, 7 * 2**32 + 5 + 64), 2**62 + first])
    counters = (far & 0xFFFFFFFF).unsqueeze(1), (far >> 32).unsqueeze(1), torch.arange((heads + 3) // 4), torch.tensor(0)
    words = torch.stack([word.expand(len(far), -1) for word in philox4x32(counters, key)], -1).flatten(1)[:, :heads]
    assert torch.equal(dropout_factors(far, heads, p, seed), 2.5 * (words >= math.ceil(p * 2**32)))
    if p == 0.3:
        assert abs(float(expected.double().mean()) - 0.7) < 0.03
