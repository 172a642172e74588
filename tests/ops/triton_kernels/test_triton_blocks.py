"""Full attention by matrix products, a graph to a tile: against the plain version, outputs and all gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases.graphs import blocks
from cases.op import Tensors, assert_parity, draw, step
from torch import Tensor

from graphattn.ops import BlockDiagonalMask, attention
from graphattn.ops.triton import launch_blocks
from graphattn.ops.triton.kernels import blocks as kernels
from graphattn.ops.triton.schedule import schedule_blocks

pytestmark = pytest.mark.usefixtures("on_triton")

# Around the sizes of tiles; with graphs of no node and of one.
SIZES = [3, 1, 0, 16, 33, 0]
FORMS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.3, "seed": 2**40 + 3},
    {"normaliser": "sigmoid"},
    {"normaliser": "relu", "dropout": 0.5, "seed": 1},
]


def test_tiles_by_hand() -> None:
    """Of 150 and 129 nodes in tiles of 64; of 128, 20 and 1 nodes whole; an empty graph, which no program looks at."""
    tiles, ends = schedule_blocks(torch.tensor([0, 20, 148, 148, 277, 278, 428]))
    assert tiles.tolist() == [
        *([278, 150, 0], [278, 150, 64], [278, 150, 128]),
        *([148, 129, 0], [148, 129, 64], [148, 129, 128]),
        *([20, 128, 0], [0, 20, 0], [277, 1, 0], [148, 0, 0]),
    ]
    # In graphs of more than 128, 64, 32, 16 and 0 nodes.
    assert ends.tolist() == [6, 7, 7, 8, 9]
    assert schedule_blocks(torch.tensor([0]))[0].shape == (0, 3)


def test_small_graphs_do_not_run_in_the_tile_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = blocks([20] * 9 + [200])
    query = torch.randn(mask.num_nodes, 1, 4)
    launched = []

    class Recorder:
        arg_names = ("ROWS",)

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            return lambda *_, **options: launched.append((grid, options["ROWS"]))

    monkeypatch.setattr(kernels, "forward", Recorder())
    attention(query.half(), query.half(), query.half(), mask)
    assert launched == [((4, 1), 64), ((9, 1), 32)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_blocks(options: dict[str, Any], dtype: torch.dtype) -> None:
    mask = blocks(SIZES, in_order=False)
    assert_parity(draw(mask, shape=(3, 7, 6), dtype=dtype), mask, **options, by="triton")


def test_nodes_in_order_and_no_bias() -> None:
    mask = blocks(SIZES)
    assert_parity(draw(mask, shape=(3, 7, 6), bias=False, dtype=torch.float32), mask, by="triton")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 20, 3), (1, 40, 128), (2, 128, 16)], ids=str)
def test_shapes(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    mask = blocks([9, 18])
    assert_parity(draw(mask, shape=shape, dtype=dtype), mask, dropout=0.2, seed=4, by="triton")


def test_a_whole_graph_of_up_to_128_nodes() -> None:
    for size in (65, 128):
        mask = blocks([size])
        assert_parity(draw(mask, shape=(1, 8, 8), dtype=torch.bfloat16), mask, by="triton")


@pytest.mark.parametrize("shared", [False, True])
def test_tables_that_are_one(shared: bool) -> None:
    """Queries, keys and values packed; or values that are the keys."""
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(4, 8, 8), dtype=torch.float32)
    value = tensors.pop("value")
    if not shared:
        tensors["qkv"] = torch.stack([tensors.pop("query"), tensors.pop("key"), value], 1)
    assert_parity(tensors, mask, by="triton")


@pytest.mark.parametrize("name", ["query", "key", "value", "bias"])
def test_strides(name: str) -> None:
    mask = blocks([3, 18])
    tensors = draw(mask, shape=(4, 8, 8), dtype=torch.float32)
    given = tensors[name]
    for view in (given.transpose(0, 1).contiguous().transpose(0, 1), given[:1].expand_as(given)):
        assert_parity({**tensors, name: view}, mask, by="triton")


@pytest.mark.parametrize("name", ["query", "value", "bias"])
def test_only_one_input_wants_a_gradient(name: str) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 4, 5), dtype=torch.float32)
    expected = step(tensors, mask)[name]
    leaves = {key: tensor.requires_grad_(key == name) for key, tensor in tensors.items()}
    out = attention(leaves["query"], leaves["key"], leaves["value"], mask, bias=leaves["bias"])
    assert isinstance(out, Tensor)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(out.dtype)
    out.backward(direction)
    assert torch.equal(leaves[name].grad, expected)  # type: ignore[arg-type]
    assert all(leaf.grad is None for key, leaf in leaves.items() if key != name)


def forbid(tensors: Tensors, mask: BlockDiagonalMask) -> Tensor:
    """-inf on some pairs and on all of some rows; the lowest number on all of others, which changes nothing there."""
    target = mask.pairs().target
    tensors["bias"][::3] = -math.inf
    tensors["bias"][target % 5 == 0] = -math.inf
    tensors["bias"][target % 5 == 1] = torch.finfo(torch.float32).min
    return torch.arange(mask.num_nodes) % 5 == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_forbidden_pairs(dtype: torch.dtype) -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 4, 5), dtype=dtype)
    bias = tensors["bias"].float()
    empty = forbid({"bias": bias}, mask)
    tensors["bias"] = bias  # of bfloat16 the lowest of float32 would be -inf
    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    out = attention(leaves["query"], leaves["key"], leaves["value"], mask, bias=leaves["bias"])
    assert isinstance(out, Tensor)
    assert not out[empty].any()
    # A row whose scores are all the lowest number: float64 could tell them apart.
    lowest = out[torch.arange(mask.num_nodes) == 1]
    assert torch.allclose(lowest.float(), leaves["value"][:3].float().mean(0), atol=0.02)
    of_leaves = torch.autograd.grad(out.float().square().sum(), list(leaves.values()))
    assert all(gradient.isfinite().all() for gradient in of_leaves)
    assert not of_leaves[0][empty].any()


def test_scores_of_ten_thousand() -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 4, 5), dtype=torch.float32)
    tensors["query"] *= 1e4
    assert all(tensor.isfinite().all() for tensor in step(tensors, mask).values())


def test_not_a_number_stays_in_its_row() -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 4, 5), dtype=torch.float32)
    tensors["query"][20] = math.nan
    out = attention(tensors["query"], tensors["key"], tensors["value"], mask)
    assert isinstance(out, Tensor)
    row = torch.arange(mask.num_nodes) == 20
    assert out[row].isnan().all()
    assert not out[~row].isnan().any()


def test_twice_the_same_bits() -> None:
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(3, 5, 4), dtype=torch.bfloat16)
    first, again = (step(tensors, mask, dropout=0.3, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("only", ["forward", "backward"])
@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid"])
def test_with_the_kernels_over_edges(normaliser: str, only: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What forward keeps is the same for the kernels over edges, which take what these do not."""
    mask = blocks(SIZES)
    tensors = draw(mask, shape=(2, 4, 5), dtype=torch.float32)
    expected = step(tensors, mask, normaliser=normaliser)
    kinds = iter([only == "forward", only == "backward"])
    monkeypatch.setattr(launch_blocks, "serves", lambda inputs: next(kinds))
    for name, actual in step(tensors, mask, normaliser=normaliser).items():
        torch.testing.assert_close(actual, expected[name], rtol=1e-4, atol=1e-6)
    assert not list(kinds)


def test_what_goes_over_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """float64, for which a GPU has no matrix products of this kind, and heads that are wider than a tile."""
    monkeypatch.setattr(launch_blocks, "forward", None)
    mask = blocks([3, 2])
    for dtype, channels in ((torch.float64, 4), (torch.float32, 129)):
        assert_parity(draw(mask, shape=(1, channels, 2), dtype=dtype), mask, by="triton")
