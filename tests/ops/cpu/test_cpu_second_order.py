"""Gradients of gradients are those of the plain formula; transforms that the kernels do not know are refused, never zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases.compare import assert_close
from cases.graphs import bipartite
from cases.op import Tensors, attend, draw
from cases.settings import backend
from torch import Tensor
from torch.autograd import forward_ad

from graphattn.nn import MaskedSelfAttention
from graphattn.ops import BlockDiagonalMask

MASK = bipartite(targets=4, sources=3, edges=9)
BLOCKS = BlockDiagonalMask.from_batch(torch.tensor([0, 1, 0, 1, 1]))


@pytest.mark.parametrize(
    ("score", "edge_attr", "options"),
    [
        ("dot", False, {}),
        ("additive", False, {}),
        ("tanh", False, {}),
        ("static", False, {}),
        ("dot", False, {"normaliser": "sigmoid"}),
        ("dot", False, {"normaliser": "relu"}),
        ("dot", True, {}),
        ("additive", True, {}),
        ("dot", True, {"dropout": 0.4, "seed": 1}),
        ("additive", True, {"dropout": 0.4, "seed": 1}),
    ],
    ids=str,
)
def test_twice(score: str, edge_attr: bool, options: dict[str, Any]) -> None:
    tensors = draw(MASK, score, edge_attr=edge_attr)

    def function(*values: Tensor) -> Tensor:
        return attend(dict(zip(tensors, values, strict=True)), MASK, score, **options)

    leaves = [tensor.requires_grad_() for tensor in tensors.values()]
    with backend("cpu"):
        assert torch.autograd.gradgradcheck(function, leaves)


def test_twice_on_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 2, 3), (5, 2, 3), (5, 2, 4), (13, 2))
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def function(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        return attend({"query": query, "key": key, "value": value, "bias": bias}, BLOCKS)

    with backend("cpu"):
        assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("name", ["query", "value", "bias"])
def test_twice_of_one_input(name: str) -> None:
    """Where only one input wants a gradient, its second one is the same as among all."""
    tensors = draw(MASK)

    def second(names: list[str]) -> Tensor:
        leaves = {key: tensor.clone().requires_grad_(key in names) for key, tensor in tensors.items()}
        (first,) = torch.autograd.grad(attend(leaves, MASK).square().sum(), leaves[name], create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaves[name])[0]

    with backend("reference"):
        expected = second(list(tensors))
    with backend("cpu"):
        assert_close(second([name]), expected)
        assert_close(second(list(tensors)), expected)


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_gradient_penalty_through_a_layer(score: str) -> None:
    """A loss on the size of an input's gradient, as in adversarial training, gives every parameter its gradient."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(6, (2, 20), generator=generator)
    x, attr = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (6, 20))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = MaskedSelfAttention(8, 8, heads=2, edge_dim=8, score=score).double()

    def penalty() -> tuple[Tensor, ...]:
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(leaf, edge_index, attr).square().sum(), leaf, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), list(layer.parameters()), allow_unused=True, materialize_grads=True)

    with backend("reference"):
        expected = penalty()
    with backend("cpu"):
        actual = penalty()
    # Some are zero but for rounding, such as that of the keys' bias, which moves all scores of a row alike.
    size = max(float(reference.abs().max()) for reference in expected)
    for found, reference in zip(actual, expected, strict=True):
        assert (found - reference).abs().max() <= 1e-9 * size


def as_the_plain_version(compute: Callable[[], Tensor]) -> None:
    with backend("reference"):
        expected = compute()
    assert expected.abs().max() > 0.01
    with backend("auto"):
        assert_close(compute(), expected)


TENSORS = draw(MASK)


def of_query(query: Tensor) -> Tensor:
    tensors: Tensors = {**TENSORS, "query": query}
    return attend(tensors, MASK)


def loss(query: Tensor) -> Tensor:
    return of_query(query).square().sum()


QUERY = TENSORS["query"]
MANY = torch.stack([QUERY, 2 * QUERY, -QUERY])
TRANSFORMS: dict[str, Callable[[], Tensor]] = {
    "grad": lambda: torch.func.grad(loss)(QUERY),
    "vjp": lambda: torch.func.vjp(of_query, QUERY)[1](torch.ones(4, 2, 4, dtype=torch.float64))[0],
    "jvp": lambda: torch.func.jvp(of_query, (QUERY,), (QUERY.cos(),))[1],
    "vmap": lambda: torch.func.vmap(of_query)(MANY),
    "vmap of grad": lambda: torch.func.vmap(torch.func.grad(loss))(MANY),
    "jacrev": lambda: torch.func.jacrev(of_query)(QUERY),
    "jacfwd": lambda: torch.func.jacfwd(of_query)(QUERY),
    "hessian": lambda: torch.func.hessian(loss)(QUERY),
}


@pytest.mark.parametrize("compute", TRANSFORMS.values(), ids=TRANSFORMS)
def test_function_transforms(compute: Callable[[], Tensor]) -> None:
    as_the_plain_version(compute)


def test_forward_mode() -> None:
    def tangent() -> Tensor:
        with forward_ad.dual_level():
            found = forward_ad.unpack_dual(of_query(forward_ad.make_dual(QUERY, QUERY.cos()))).tangent
            return QUERY.new_zeros(()) if found is None else found

    as_the_plain_version(tangent)


def test_jacobian() -> None:
    def jacobian() -> Tensor:
        found = torch.autograd.functional.jacobian(of_query, QUERY)
        assert isinstance(found, Tensor)
        return found

    as_the_plain_version(jacobian)


@pytest.mark.parametrize("power", [1, 2])
def test_three_times(power: int) -> None:
    """Gradients of gradients of gradients: not something else where only a part of them is known."""

    def third() -> Tensor:
        query = QUERY.clone().requires_grad_()
        wave = torch.arange(QUERY.numel(), dtype=torch.float64).cos().reshape(QUERY.shape)
        found = of_query(query).pow(power).sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(found, query, create_graph=True)
            found = (slope * wave).sum()
        return slope.detach()

    as_the_plain_version(third)


def test_batched_gradients_of_a_fused_call_are_refused_with_what_to_do() -> None:
    query = QUERY.clone().requires_grad_()
    out = of_query(query)
    with pytest.raises(RuntimeError, match=r"one gradient at a time; .* call attention under GRAPHATTN_BACKEND=reference"):
        torch.autograd.grad(out, query, out.detach().expand(3, *out.shape), is_grads_batched=True)
