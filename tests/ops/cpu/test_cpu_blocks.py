"""Full attention on each graph's own block, by the kernels that take a graph as small dense matrices."""

from __future__ import annotations

import math

import pytest
import torch
from cases.compare import assert_close
from cases.graphs import blocks
from cases.op import assert_parity, attend, draw, expected_step, step
from cases.settings import backend, poisoned_memory
from helpers import threads

# Around the four queries and the eight or sixteen keys that are taken at a time; with graphs of no node and of one.
SIZES = [1, 2, 0, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 0]

SHAPE = (4, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 7, 6)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("in_order", [True, False])
def test_blocks(in_order: bool, bias: bool, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    mask = blocks(SIZES, in_order)
    assert_parity(draw(mask, shape=shape, bias=bias), mask, dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_packed(dtype: torch.dtype) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=SHAPE)
    packed = torch.stack([tensors.pop(name) for name in ("query", "key", "value")], 1)
    assert_parity({**tensors, "qkv": packed}, mask, dtype)


@pytest.mark.parametrize("name", ["query", "key", "value", "bias"])
def test_strides(name: str) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=SHAPE)
    given = tensors[name]
    for view in (given.transpose(0, 1).contiguous().transpose(0, 1), given[:1].expand_as(given)):
        assert_parity({**tensors, name: view}, mask)


@pytest.mark.parametrize("name", ["query", "key", "value", "bias"])
def test_only_one_input_wants_a_gradient(name: str) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=SHAPE)
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
    mask = blocks(SIZES)
    tensors, target = draw(mask, shape=SHAPE), mask.pairs().target
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
    mask = blocks(SIZES)
    tensors = draw(mask, shape=SHAPE)
    tensors["query"][20] = math.nan
    with backend("cpu"):
        out = attend(tensors, mask)
    row = torch.arange(mask.num_nodes) == 20
    assert out[row].isnan().all()
    assert not out[~row].isnan().any()


def test_the_same_bits() -> None:
    mask = blocks(SIZES)
    tensors = {name: tensor.float() for name, tensor in draw(mask, shape=SHAPE).items()}
    results = []
    for number in (1, 1, 2, 16):
        with threads(number), backend("cpu"):
            results.append(step(tensors, mask))
    for name, expected in results[0].items():
        assert all(torch.equal(result[name], expected) for result in results[1:]), name


def test_nothing_is_read_before_it_is_written() -> None:
    """Every torch.empty is filled with NaN."""
    mask = blocks(SIZES)
    with poisoned_memory():
        assert torch.empty(3).isnan().all()
        assert_parity(draw(mask, shape=SHAPE), mask)
