"""The fused kernels equal the plain version in float64, outputs and every gradient; unusual shapes, layouts and numbers."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from cases.compare import assert_close, direction
from cases.graphs import bipartite
from cases.op import assert_parity, attend, draw, expected_step, step
from cases.settings import backend
from torch.profiler import ProfilerActivity, profile

from graphattn.ops import AdjacencyMask, attention

INF, NAN = math.inf, math.nan
MASK = bipartite()


@pytest.mark.parametrize(
    ("score", "shape", "options"),
    [
        ("dot", (3, 7, 5), {}),  # no power of two, values narrower than keys
        ("dot", (1, 1, 1), {}),
        ("additive", (5, 3, 3), {}),
        ("dot", (2, 130, 130), {}),  # wider than a tile: padded with zeros
        ("tanh", (1, 256, 9), {}),  # a head in two tiles
        ("dot", (12, 2, 3), {"normaliser": "sigmoid", "dropout": 0.3, "seed": 2**40 + 1}),
        ("additive", (9, 2, 3), {"normaliser": "relu", "dropout": 0.5, "seed": 3}),
    ],
    ids=str,
)
def test_shapes(score: str, shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    tensors = draw(MASK, score, shape=shape, edge_attr=True)
    assert_parity(tensors, MASK, torch.float32, score=score, **options)


@pytest.mark.parametrize(("targets", "sources", "edges"), [(0, 0, 0), (0, 3, 0), (3, 0, 0), (1, 1, 0), (3, 3, 0), (1, 1, 1)])
@pytest.mark.parametrize("score", ["dot", "additive"])
def test_little_or_nothing_to_attend_to(score: str, targets: int, sources: int, edges: int) -> None:
    mask = bipartite(targets, sources, edges)
    assert_parity(draw(mask, score, edge_attr=True), mask, score=score)


@pytest.mark.parametrize("name", ["query", "key", "value", "bias", "attr", "weight", "key_weight"])
@pytest.mark.parametrize("layout", ["transposed", "every second number", "one row", "one number", "rows apart"])
def test_strides(layout: str, name: str) -> None:
    """Inputs that are views, also such that repeat a row or a number, give what their copies give; gradients, too."""
    tensors = draw(MASK, "additive", edge_attr=True)
    given = tensors[name]
    view = {
        "transposed": given.transpose(0, 1).contiguous().transpose(0, 1),
        "every second number": torch.stack([given, 0 * given + 99], -1).flatten(-2)[..., ::2],
        "one row": given[:1].expand_as(given),
        "one number": given.flatten()[0].expand_as(given),
        "rows apart": torch.cat([given, 0 * given + 99], -1)[..., : given.shape[-1]],
    }[layout]
    assert_parity({**tensors, name: view}, MASK, score="additive")


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_only_some_inputs_want_gradients(score: str) -> None:
    """Every subset gets the gradients that it gets of all, and the other inputs get none."""
    tensors = draw(MASK, score, edge_attr=True)
    expected = expected_step(tensors, MASK, score=score)
    for number in range(1, len(tensors) + 1):
        for names in combinations(tensors, number):
            leaves = {name: tensor.clone().requires_grad_(name in names) for name, tensor in tensors.items()}
            with backend("cpu"):
                attend(leaves, MASK, score=score).backward(direction(expected["out"]))
            for name, leaf in leaves.items():
                if name in names:
                    assert leaf.grad is not None
                    assert_close(leaf.grad, expected[name], f"{name} of {names}")
                else:
                    assert leaf.grad is None


def test_without_gradients() -> None:
    tensors = draw(MASK)
    with backend("cpu"):
        out = attend(tensors, MASK)
        assert not out.requires_grad
        assert torch.equal(out, step(tensors, MASK)["out"])
        with torch.inference_mode():
            assert torch.equal(out, attend(tensors, MASK))


@pytest.mark.parametrize("edge_attr", [False, True])
def test_float16(edge_attr: bool) -> None:
    assert_parity(draw(MASK, edge_attr=edge_attr), MASK, torch.float16)


@pytest.mark.parametrize("score", ["dot", "additive", "tanh", "static"])
def test_autocast(score: str) -> None:
    tensors = {name: tensor.bfloat16().float() for name, tensor in draw(MASK, score).items()}
    with backend("cpu"), torch.autocast("cpu", dtype=torch.bfloat16):
        actual = step(tensors, MASK, score=score)
    assert actual["out"].dtype == torch.bfloat16
    for name, expected in expected_step(tensors, MASK, score=score).items():
        assert name == "out" or actual[name].dtype == torch.float32
        assert_close(actual[name], expected, name, tolerance=1e-2)


# --- numbers at the ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid", "relu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_bias_of_minus_infinity(dtype: torch.dtype, normaliser: str) -> None:
    """Some edges are forbidden, and all of target 0's, whose output is zero."""
    tensors = draw(MASK)
    tensors["bias"][::3] = -INF
    tensors["bias"][MASK.target == 0] = -INF
    assert_parity(tensors, MASK, dtype, normaliser=normaliser)
    with backend("cpu"):
        found = step(tensors, MASK, normaliser=normaliser)
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert found["out"][0].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_bias_of_the_lowest_number(dtype: torch.dtype) -> None:
    """Where all edges of a row have it, they weigh the same, forward and backward."""
    tensors = draw(MASK)
    tensors["bias"][MASK.target == 0] = torch.finfo(dtype).min
    tensors["bias"][::5] = torch.finfo(dtype).min
    rounded = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    with backend("reference"):
        expected = step(rounded, MASK)
    with backend("cpu"):
        actual = step(rounded, MASK)
    for name in expected:
        assert_close(actual[name], expected[name], name)


@pytest.mark.parametrize("shift", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_far_from_zero(dtype: torch.dtype, shift: float) -> None:
    """A number added to all scores of a row changes no weight: right in float64, finite in float32."""
    tensors = draw(MASK)
    shifted = {**tensors, "bias": tensors["bias"] + shift}
    with backend("cpu"):
        actual = step({name: tensor.to(dtype) for name, tensor in shifted.items()}, MASK)
    for name, expected in expected_step(tensors, MASK).items():
        assert actual[name].isfinite().all()
        assert_close(actual[name], expected, name, tolerance=1e-9 if dtype == torch.float64 else 1e-2)


@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid", "relu"])
def test_not_a_number_stays_in_its_row(normaliser: str) -> None:
    tensors = draw(MASK)
    tensors["query"][2] = NAN
    with backend("cpu"):
        out = attend(tensors, MASK, normaliser=normaliser)
    row = torch.arange(MASK.num_targets) == 2
    assert out[row].isnan().all()
    assert not out[~row].isnan().any()


def test_values_far_from_zero_in_bfloat16() -> None:
    """The gradients of scores look at differences of values, which the rounding of the output must not drown."""
    tensors = draw(MASK)
    tensors["value"] += 100
    assert_parity(tensors, MASK, torch.bfloat16)


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 3e-7), (torch.float64, 1e-15)])
def test_tanh_and_sigmoid(dtype: torch.dtype, allowed: float) -> None:
    """Node by node: relu(±tanh(x)) and σ(x), over ten decimals of sizes."""
    size = torch.logspace(-6, 4, 4001, dtype=torch.float64)
    x = torch.cat([-size, torch.tensor([0.0, float(torch.finfo(dtype).smallest_normal) / 4, INF, -INF]), size]).to(dtype)
    nodes = torch.arange(len(x))
    mask = AdjacencyMask(nodes, nodes, len(x), len(x))
    column, one = x.reshape(-1, 1, 1), torch.ones(len(x), 1, 1, dtype=dtype)
    with backend("cpu"):
        sigmoid = attention(column, one, one, mask, normaliser="sigmoid").flatten()
        weight = {"query": column, "key": 0 * one, "value": one}
        tanh = attend({**weight, "weight": one[0]}, mask, "tanh", normaliser="relu").flatten()
        tanh -= attend({**weight, "weight": -one[0]}, mask, "tanh", normaliser="relu").flatten()
    assert (sigmoid.double() - x.double().sigmoid()).abs().max() <= allowed
    assert (tanh.double() - x.double().tanh()).abs().max() <= allowed
    # Small numbers keep their digits: a layer whose inputs are all small is as exact as any other.
    small = (x != 0) & (x.abs() < 0.1) & (x.abs() > 1e-5)
    assert ((tanh.double() / x.double().tanh())[small] - 1).abs().max() <= (5e-6 if dtype == torch.float32 else 1e-10)


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_nothing_of_the_edges_size_is_made(score: str) -> None:
    """A training step allocates nothing larger than one table of nodes × heads × channels, a fifth of edges × heads × 4."""
    nodes, edges, heads, channels = 4000, 200_000, 8, 8
    source, target = torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(0))
    mask = AdjacencyMask(source, target, nodes, nodes)
    tensors = draw(mask, score, shape=(heads, channels, channels), bias=False)
    leaves = {name: tensor.float().requires_grad_() for name, tensor in tensors.items()}

    def train() -> None:
        out = attend(leaves, mask, score)
        torch.autograd.grad(out, list(leaves.values()), torch.ones_like(out))

    with backend("cpu"):
        train()  # compiles, and sorts the edges
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            train()
    table = nodes * heads * channels * 4
    # A few bytes more go to views and to alignment.
    assert table <= max(event.self_cpu_memory_usage for event in profiled.events()) < 1.01 * table < edges * heads * 4


@pytest.mark.parametrize("heads", [3, 5])
def test_dropout_where_blocks_end_inside_a_vector(heads: int) -> None:
    """What earlier calls left on the stack, here NaN, must not enter the sums of a row."""
    for degree in (16, 31, 64):
        source = torch.arange(degree).repeat(2)
        mask = AdjacencyMask(source, torch.arange(2).repeat_interleave(degree), degree, 2)
        for dirty in (True, False):
            tensors = [torch.randn(rows, heads, 4, requires_grad=True) for rows in (2, degree, degree)]
            query, key, value = ((rows * NAN if dirty else rows) for rows in tensors)
            with backend("cpu"):
                out = attention(query, key, value, mask, dropout=0.3, seed=1)
            assert isinstance(out, torch.Tensor)
            gradients = torch.autograd.grad(out, tensors, torch.ones_like(out))
        for gradient in gradients:
            assert gradient.isfinite().all()
