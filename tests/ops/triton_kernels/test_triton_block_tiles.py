"""Full attention in graphs that are larger than a tile; tiles are made small enough for the interpreter."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases.graphs import blocks
from cases.op import assert_parity, draw, step

from graphattn.ops.triton import schedule

pytestmark = pytest.mark.usefixtures("on_triton")

# In tiles of 16: the last graph is a whole one.
SIZES = [33, 17, 0, 16]
FORMS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.3, "seed": 2**40 + 3},
    {"normaliser": "sigmoid", "dropout": 0.2, "seed": 1},
    {"normaliser": "relu"},
]


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "SPANS", (16,))
    monkeypatch.setattr(schedule, "TILE", 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_tiles(options: dict[str, Any], dtype: torch.dtype) -> None:
    mask = blocks(SIZES, in_order=False)
    assert_parity(draw(mask, shape=(2, 7, 6), dtype=dtype), mask, **options, by="triton")


def test_nodes_in_order_and_no_bias() -> None:
    mask = blocks(SIZES)
    assert_parity(draw(mask, shape=(2, 7, 6), bias=False, dtype=torch.float32), mask, by="triton")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 20, 3), (1, 40, 128)], ids=str)
def test_shapes(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    mask = blocks([18])
    assert_parity(draw(mask, shape=shape, dtype=dtype), mask, by="triton")


@pytest.mark.parametrize("shared", [False, True])
def test_tables_that_are_one(shared: bool) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 8, 8), dtype=torch.float32)
    value = tensors.pop("value")
    if not shared:
        tensors["qkv"] = torch.stack([tensors.pop("query"), tensors.pop("key"), value], 1)
    assert_parity(tensors, mask, by="triton")


def test_more_programs_than_one_to_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger graphs in float32 are several tiles of 32, of which the last may have no nodes, and others some."""
    monkeypatch.setattr(schedule, "SPANS", (128, 64, 32, 16))
    monkeypatch.setattr(schedule, "TILE", 64)
    mask = blocks([130, 70, 40])
    assert_parity(draw(mask, shape=(1, 4, 4), dtype=torch.float32), mask, by="triton")


def test_a_row_that_may_attend_to_late_nodes_only() -> None:
    """Whole tiles of -inf come first; another row has nothing else, and gives zero."""
    mask = blocks([40])
    tensors = draw(mask, shape=(2, 4, 5), dtype=torch.float32)
    bias = tensors["bias"].view(40, 40, 2)
    bias[3, :35] = -math.inf
    bias[4] = -math.inf
    assert_parity(tensors, mask, by="triton")
    assert not step(tensors, mask)["out"][4].any()


def test_values_that_are_nearly_alike() -> None:
    """Σ α g is known to more digits than the output is stored in: slopes are small beside it, and still right."""
    mask = blocks([40])
    tensors = draw(mask, shape=(2, 8, 8), dtype=torch.float16, bias=False)
    tensors["value"] = tensors["value"] / 64 + 2
    assert_parity(tensors, mask, by="triton")


def test_not_a_number_stays_in_its_row() -> None:
    mask = blocks([40])
    tensors = draw(mask, shape=(1, 4, 5), dtype=torch.float32)
    tensors["query"][20] = math.nan
    row = torch.arange(40) == 20
    out = step(tensors, mask)["out"]
    assert out[row].isnan().all()
    assert not out[~row].isnan().any()


def test_twice_the_same_bits() -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 5, 4), dtype=torch.bfloat16)
    first, again = (step(tensors, mask, dropout=0.3, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
