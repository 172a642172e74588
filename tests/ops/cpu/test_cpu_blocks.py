"""Full attention on each graph's own block, by the kernels that take a graph as small dense matrices."""

from __future__ import annotations

import math

import pytest
import torch
from cpu_cases import Tensors, assert_close, assert_parity, attend, backend, draw, expected_step, step
from helpers import threads

from graphattn.ops import BlockDiagonalMask

# Around the four queries and the eight or sixteen keys that are taken at a time; with graphs of no node and of one.
SIZES = torch.tensor([1, 2, 0, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 0])


def blocks(in_order: bool = True) -> BlockDiagonalMask:
    batch = torch.arange(len(SIZES)).repeat_interleave(SIZES)
    if not in_order:
        batch = batch[torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))]
    return BlockDiagonalMask.from_batch(batch, len(SIZES))


def tensors_of(mask: BlockDiagonalMask, shape: tuple[int, int, int] = (4, 8, 8), bias: bool = True) -> Tensors:
    return draw(mask.pairs(), shape=shape, bias=bias)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 7, 6)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("in_order", [True, False])
def test_blocks(in_order: bool, bias: bool, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    mask = blocks(in_order)
    assert_parity(tensors_of(mask, shape, bias), mask, dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_packed(dtype: torch.dtype) -> None:
    mask = blocks()
    tensors = tensors_of(mask)
    packed = torch.stack([tensors.pop(name) for name in ("query", "key", "value")], 1)
    assert_parity({**tensors, "qkv": packed}, mask, dtype)


@pytest.mark.parametrize("name", ["query", "key", "value", "bias"])
def test_strides(name: str) -> None:
    mask = blocks()
    tensors = tensors_of(mask)
    given = tensors[name]
    for view in (given.transpose(0, 1).contiguous().transpose(0, 1), given[:1].expand_as(given)):
        assert_parity({**tensors, name: view}, mask)


@pytest.mark.parametrize("name", ["query", "key", "value", "bias"])
def test_only_one_input_wants_a_gradient(name: str) -> None:
    mask = blocks()
    tensors = tensors_of(mask)
    expected = expected_step(tensors, mask)
    leaves = {key: tensor.clone().requires_grad_(key == name) for key, tensor in tensors.items()}
    direction = torch.randn(expected["out"].shape, generator=torch.Generator().manual_seed(7)).bfloat16().double()
    with backend("cpu"):
        attend(leaves, mask).backward(direction)
    assert leaves[name].grad is not None
    assert_close(leaves[name].grad, expected[name])
    assert all(leaf.grad is None for key, leaf in leaves.items() if key != name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_forbidden_pairs(dtype: torch.dtype) -> None:
    """-inf on some pairs, on all of some rows (which give zero); the lowest number on all of a row (which changes nothing)."""
    mask = blocks()
    tensors, target = tensors_of(mask), mask.pairs().target
    tensors["bias"][::3] = -math.inf
    tensors["bias"][target % 5 == 0] = -math.inf
    tensors["bias"][target % 5 == 1] = torch.finfo(dtype).min
    rounded = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    with backend("reference"):
        expected = step(rounded, mask)
    with backend("cpu"):
        actual = step(rounded, mask)
    assert actual["out"][::5].eq(0).all()
    for name in expected:
        assert actual[name].isfinite().all()
        assert_close(actual[name], expected[name], name)


def test_not_a_number_stays_in_its_row() -> None:
    mask = blocks()
    tensors = tensors_of(mask)
    tensors["query"][20] = math.nan
    with backend("cpu"):
        out = attend(tensors, mask)
    row = torch.arange(mask.num_nodes) == 20
    assert out[row].isnan().all()
    assert not out[~row].isnan().any()


def test_the_same_bits() -> None:
    mask = blocks()
    tensors = {name: tensor.float() for name, tensor in tensors_of(mask).items()}
    results = []
    for number in (1, 1, 2, 16):
        with threads(number), backend("cpu"):
            results.append(step(tensors, mask))
    for name, expected in results[0].items():
        assert all(torch.equal(result[name], expected) for result in results[1:]), name


def test_nothing_is_read_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every torch.empty is filled with NaN."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    mask = blocks()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        assert_parity(tensors_of(mask), mask)
    finally:
        torch.use_deterministic_algorithms(before)
