"""The sums of linear attention, by kernels and by torch's products, against whole matrices of weights."""

from __future__ import annotations

import pytest
import torch
from helpers import machine, threads
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.cpu import products
from graphattn.ops.cpu.products import _ROWS as CHUNK
from graphattn.ops.linear_attention import sums

# Around the four queries that are taken at a time, and the rows of a chunk and of a sum; with graphs of no node.
SIZES = torch.tensor([3, 0, 1, 4, 5, 3, CHUNK, 9, 0, CHUNK + 1, 2, 2 * products._SUMMED_ROWS + 3])
PTR = torch.cat([SIZES.new_zeros(1), SIZES.cumsum(0)])
NODES = int(SIZES.sum())


def draw(heads: int, channels: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Query, key and value."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(NODES, heads, channels), (NODES, heads, channels), (NODES, heads, width)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def expected(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    graph = torch.arange(len(SIZES)).repeat_interleave(SIZES)
    query, key, value = query.double(), key.double(), value.double()
    weights = torch.einsum("ihc,jhc->hij", query, key) * (graph[:, None] == graph)
    return torch.einsum("hij,jhd->ihd", weights, value)


def assert_close(found: Tensor, reference: Tensor, tolerance: float) -> None:
    assert found.shape == reference.shape
    assert float((found - reference).abs().max()) <= tolerance * float(reference.abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 5), (4, 8, 8), (3, 6, 17), (1, 33, 16), (2, 16, 33), (1, 70, 130), (1, 300, 2)], ids=str
)
def test_as_whole_matrices(shape: tuple[int, int, int], dtype: torch.dtype, tolerance: float) -> None:
    tables = draw(*shape, dtype)
    weighted, total = sums.kernel_sums(*tables, PTR)
    assert_close(weighted, expected(*tables), tolerance)
    assert_close(total, expected(*tables[:2], torch.ones(NODES, shape[0], 1)), tolerance)


@pytest.mark.parametrize("name", [0, 1, 2])
def test_strides(name: int) -> None:
    tables = draw(2, 5, 6, torch.float64)
    given = tables[name]
    views = [
        given.transpose(0, 1).contiguous().transpose(0, 1),
        given[:1].expand_as(given),
        torch.cat([given, given], 1)[:, ::2],
    ]
    for view in (*views, torch.stack([given, given], 1)[:, 1]):
        tables[name] = view
        assert_close(sums.kernel_sums(*tables, PTR)[0], expected(*tables), 1e-12)


def test_small_graphs_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(products, "_kernel", lambda function, *_: ran.append(function))
    monkeypatch.setattr(products.threads, "run", lambda *_: None)
    sums.kernel_sums(*(table[:20] for table in draw(2, 3, 4, torch.float32)), torch.tensor([0, 3, 3, 12, 20]))
    assert ran == ["linear_sums"]


def test_what_the_kernels_do_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision, no channels, or the plain version that is asked for: torch's products."""
    plain, none = draw(1, 2, 3, torch.float32), draw(2, 0, 3, torch.float64)
    half = [table.bfloat16() for table in plain]
    assert [products.serves(*tables) for tables in (plain, half, none)] == [True, False, False]
    assert torch.equal(sums.kernel_sums(*none, PTR)[0], torch.zeros(NODES, 2, 3))
    monkeypatch.setattr(sums, "linear_sums", None)
    assert_close(sums.kernel_sums(*half, PTR)[0], expected(*half), 0.05)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    assert not products.serves(*plain)
    assert_close(sums.kernel_sums(*plain, PTR)[0], expected(*plain), 1e-5)


@pytest.mark.parametrize("heads", [1, 3])
def test_same_bits_for_any_number_of_threads_and_any_company(heads: int) -> None:
    tables = draw(heads, 7, 9, torch.float32)
    runs = []
    for number in (1, 2, 4):
        with threads(number):
            runs.append(sums.kernel_sums(*tables, PTR)[0])
    assert all(torch.equal(runs[0], other) for other in runs[1:]), machine()
    for start, end in zip(PTR.tolist(), PTR.tolist()[1:], strict=False):
        alone = sums.kernel_sums(*(table[start:end] for table in tables), torch.tensor([0, end - start]))[0]
        assert torch.equal(alone, runs[0][start:end])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 6, 17)], ids=str)
def test_by_size_as_on_a_gpu(shape: tuple[int, int, int]) -> None:
    tables = draw(*shape, torch.float64)
    out = torch.full_like(tables[2], torch.nan)
    sums._by_size(*tables, PTR[:-1], SIZES, out)
    assert_close(out, expected(*tables), 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.ones(4, 2, 3)}, r"must have shape \[nodes, heads, channels\], one for query and key, got \[4, 2, 3\], \[6,"),
        ({1: torch.ones(5, 2, 3)}, "one for query and key, got"),
        ({2: torch.ones(6, 1, 3)}, "one for query and key, got"),
        ({2: torch.ones(6, 2)}, "one for query and key, got"),
        ({0: torch.ones(6, 2, 3).double()}, "must be of one type, .* got torch.float32 on cpu, torch.float64 on cpu, ptr"),
        (
            {3: torch.tensor([0, 6]).int()},
            "ptr in int64, and all on one device, got .*, ptr torch.int32 on cpu",
        ),
        ({3: torch.tensor([0, 2])}, "ptr must rise from 0 to 6, the number of nodes"),
        ({3: torch.tensor([0, 2, 250])}, "ptr must rise from 0 to 6"),
        ({3: torch.tensor([0, 4, 2, 6])}, "ptr must rise from 0 to 6"),
        ({3: torch.tensor([1, 6])}, "ptr must rise from 0 to 6"),
        ({3: torch.tensor(6)}, "ptr must rise from 0 to 6"),
    ],
)
def test_bad_input(change: dict[int, Tensor], message: str) -> None:
    tables = [torch.ones(6, 2, 3), torch.ones(6, 2, 3), torch.ones(6, 2, 4), torch.tensor([0, 2, 6])]
    sums.kernel_sums(*tables)
    for number, tensor in change.items():
        tables[number] = tensor
    with pytest.raises(InputError, match=message):
        sums.kernel_sums(*tables)
