"""Every documented option of the drop-in layers against torch_geometric's: outputs and all gradients, with shared weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch_geometric.nn
from conv_cases import (
    ACROSS,
    CASES,
    EDGES,
    LAYERS,
    OPTIONS,
    PAIR,
    UNCOALESCED,
    Case,
    X,
    assert_same,
    cast,
    draw,
    outcome,
    refused_cases,
)
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

import graphattn
from graphattn.nn import conv

# Said by torch at the first sparse matrix that torch_geometric makes.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")


@contextmanager
def steps_of_message_passing() -> Iterator[list[int]]:
    """Counts what torch_geometric's own message passing does."""
    check, counted = MessagePassing._check_input, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MessagePassing, "_check_input", lambda *arguments: (counted.append(1), check(*arguments))[1])
        yield counted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_numbers(case: Case, dtype: torch.dtype) -> None:
    theirs, ours = (case.make(module, dtype) for module in (torch_geometric.nn, conv))
    expected = outcome(theirs, case, dtype)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    ours.load_state_dict(theirs.state_dict())
    with steps_of_message_passing() as steps:
        assert_same(outcome(ours, case, dtype), expected, dtype)
    assert bool(steps) != case.fused
    reason = why_not(ours, case, dtype)
    assert (reason is None) == case.fused, reason
    theirs.load_state_dict(ours.state_dict())
    assert_same(outcome(theirs, case, dtype), expected, dtype)


def why_not(layer: nn.Module, case: Case, dtype: torch.dtype) -> str | None:
    keywords = {name: cast(value, dtype, []) for name, value in case.keywords.items()}
    return graphattn.why_not_fused(layer, *cast(case.arguments, dtype, []), **keywords)


@pytest.mark.parametrize("case", list(refused_cases()), ids=str)
def test_what_is_refused_is_refused_in_the_same_words(case: Case) -> None:
    theirs, ours = (case.make(module, torch.float32) for module in (torch_geometric.nn, conv))
    expected, found = (refusal(layer, case) for layer in (theirs, ours))
    assert expected is not None
    assert type(found) is type(expected)
    assert str(found) == str(expected)


def refusal(layer: nn.Module, case: Case) -> Exception | None:
    try:
        outcome(layer, case, torch.float32)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("layer", LAYERS[:2])
def test_a_sparse_matrix_with_multi_edges_gives_the_same_twice(layer: str) -> None:
    """torch_geometric marks the caller's matrix as coalesced, which it is not."""
    theirs, ours = (Case(layer, "coo").make(module, torch.float64) for module in (torch_geometric.nn, conv))
    expected, matrix = theirs(X, UNCOALESCED.clone()).detach(), UNCOALESCED.clone()
    for _ in range(2):
        assert torch.allclose(ours(X, matrix).detach(), expected, rtol=1e-9)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("in_channels", "arguments"), [(-1, (X, EDGES)), ((-1, -1), (PAIR, ACROSS))], ids=["one", "pair"])
def test_lazy_channels(layer: str, in_channels: Any, arguments: tuple[Any, ...]) -> None:
    case = Case(layer, "lazy", arguments, {"in_channels": in_channels})
    theirs, ours, other = (case.make(module, torch.float64) for module in (torch_geometric.nn, conv, conv))
    for module in (theirs, ours):
        torch.manual_seed(0)
        outcome(module, case, torch.float64)
    expected = outcome(theirs, case, torch.float64)
    assert_same(outcome(ours, case, torch.float64), expected, torch.float64)
    assert why_not(ours, case, torch.float64) is None
    other.load_state_dict(theirs.state_dict())
    assert_same(outcome(other, case, torch.float64), expected, torch.float64)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no-grad", "inference"])
@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_without_gradients(case: Case, mode: Any) -> None:
    theirs, ours = (case.make(module, torch.float64).eval() for module in (torch_geometric.nn, conv))
    with mode():
        assert torch.allclose(ours(*case.arguments), theirs(*case.arguments), rtol=1e-9)
        assert why_not(ours, case, torch.float64) is None


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_gradients_of_some_parameters_only(case: Case) -> None:
    """Every other parameter is frozen, and the inputs are data."""
    gradients = []
    for module in (torch_geometric.nn, conv):
        layer = case.make(module, torch.float64)
        wanted = list(layer.parameters())[::2]
        for parameter in list(layer.parameters())[1::2]:
            parameter.requires_grad_(False)
        out = layer(*case.arguments)
        gradients.append(torch.autograd.grad(out, wanted, draw(*out.shape), allow_unused=True, materialize_grads=True))
    for expected, found in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 5e-2), (torch.float16, 5e-3)], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_half_precision_gives_the_same_type(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    theirs, ours = (case.make(module, dtype) for module in (torch_geometric.nn, conv))
    expected, found = (layer(*cast(case.arguments, dtype, [])).detach() for layer in (theirs, ours))
    assert found.dtype == expected.dtype == dtype
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance
    assert why_not(ours, case, dtype) is None


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_autocast_gives_the_same_type(case: Case) -> None:
    theirs, ours = (case.make(module, torch.float32) for module in (torch_geometric.nn, conv))
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = (layer(*cast(case.arguments, torch.float32, [])).detach() for layer in (theirs, ours))
        assert why_not(ours, case, torch.float32) is None
    assert found.dtype == expected.dtype
    assert float((found - expected).abs().max() / expected.abs().max()) < 3e-2


# The gate of `beta` is no linear function of what was kept.
@pytest.mark.parametrize("case", [case for case in OPTIONS if "beta" not in case.options], ids=str)
def test_dropout_keeps_the_expectation(case: Case) -> None:
    case = replace(case, options={**case.options, "dropout": 0.3})
    layer = case.make(conv, torch.float64)
    assert why_not(layer, case, torch.float64) is None
    with torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([layer(*case.arguments) for _ in range(2000)])
        expected = layer.eval()(*case.arguments)
    error = draws.std(0) / len(draws) ** 0.5
    assert float(((draws.mean(0) - expected).abs() / (error + 1e-9)).max()) < 5
    assert float(error.max()) > 0


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_gradients_under_dropout_are_those_of_what_was_kept(case: Case) -> None:
    case = replace(case, options={**case.options, "dropout": 0.3})
    layer = case.make(conv, torch.float64)
    leaves: list[Tensor] = []
    arguments = cast(case.arguments, torch.float64, leaves)

    def loss() -> Tensor:
        torch.manual_seed(3)
        out = layer(*arguments)
        return (out * draw(*out.shape, seed=5)).sum()

    wanted = [*leaves, *layer.parameters()]
    gradients = torch.autograd.grad(loss(), wanted, allow_unused=True, materialize_grads=True)
    directions = [draw(*leaf.shape, seed=place) for place, leaf in enumerate(wanted)]
    slope = sum(float((gradient * direction).sum()) for gradient, direction in zip(gradients, directions, strict=True))
    with torch.no_grad():
        sides = []
        for step in (1e-6, -2e-6):
            for leaf, direction in zip(wanted, directions, strict=True):
                leaf += step * direction
            sides.append(float(loss()))
    assert slope == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_dropout_of_everything(layer: str) -> None:
    case = Case(layer, "dropout", options={"dropout": 1.0})
    theirs, ours = (case.make(module, torch.float64) for module in (torch_geometric.nn, conv))
    assert_same(outcome(ours, case, torch.float64), outcome(theirs, case, torch.float64), torch.float64)


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_no_dropout_in_eval_mode(case: Case) -> None:
    case = replace(case, options={**case.options, "dropout": 0.6})
    theirs, ours = (case.make(module, torch.float64).eval() for module in (torch_geometric.nn, conv))
    assert_same(outcome(ours, case, torch.float64), outcome(theirs, case, torch.float64), torch.float64)
    assert why_not(ours, case, torch.float64) is None
