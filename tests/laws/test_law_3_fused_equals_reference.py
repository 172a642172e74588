"""Law 3: every path of the op equals a slow loop over nodes, in outputs, weights and every gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_cases import (
    HEADS,
    OP_CASES,
    RECTANGULAR_CASES,
    Graphs,
    OpCase,
    assert_equal,
    gradients,
    graphs,
    law,
    rectangular,
    same_bits,
)
from oracle import oracle
from torch import Tensor

from graphattn.ops import AdjacencyMask, Mask
from graphattn.ops.philox import dropout_mask

seeds = st.integers(0, 999)


def check(case: OpCase, mask: Mask, pairs: list[tuple[int, int]], tensors: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Holds the op in `dtype` against the oracle in float64 on the same rounded inputs."""
    given = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in tensors.items()}
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    expected, expected_weights = oracle(case, pairs, mask.num_targets, exact)
    expected_gradients = gradients(expected, list(exact.values())) if expected.requires_grad else []
    # On blocks the two calls differ: with weights pair by pair, without them through torch's scaled dot product.
    with_weights, weights = case(mask, given, return_attention=True)
    assert_equal(weights, expected_weights)
    for out in (case(mask, given), with_weights):
        assert out.dtype == dtype
        assert_equal(out, expected)
        if expected.requires_grad:
            for actual, reference in zip(gradients(out, list(given.values())), expected_gradients, strict=True):
                assert_equal(actual, reference)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds)
def test_float64(case: OpCase, made: Graphs, seed: int) -> None:
    check(case, made.mask(case.mask), made.pairs(case.mask), case.of(made, seed), torch.float64)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_rounded(case: OpCase, made: Graphs, seed: int, dtype: torch.dtype) -> None:
    check(case, made.mask(case.mask), made.pairs(case.mask), case.of(made, seed), dtype)


@pytest.mark.parametrize("case", RECTANGULAR_CASES, ids=str)
@law
@given(mask=rectangular(), seed=seeds)
def test_rectangular_masks(case: OpCase, mask: AdjacencyMask, seed: int) -> None:
    pairs = list(zip(mask.source.tolist(), mask.target.tolist(), strict=True))
    check(case, mask, pairs, case.tensors(len(pairs), mask.num_sources, mask.num_targets, seed), torch.float64)


# Two graphs, unsorted, with a hub, a multi-edge, a self-loop and a node without edges.
GRAPHS = Graphs(torch.tensor([0, 1, 0, 0, 1, 0]), torch.tensor([[0, 2, 2, 3, 4, 1, 3], [2, 0, 0, 0, 4, 4, 2]]), num_graphs=2)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_gradcheck(case: OpCase) -> None:
    tensors = case.of(GRAPHS, seed=1)

    def function(*values: Tensor) -> Any:
        return case(GRAPHS.mask(case.mask), dict(zip(tensors, values, strict=True)))

    assert torch.autograd.gradcheck(function, tuple(tensors.values()))


@pytest.mark.parametrize("case", [case for case in OP_CASES if case.bias], ids=str)
@law
@given(made=graphs(), seed=seeds)
def test_scores_of_ten_thousand(case: OpCase, made: Graphs, seed: int) -> None:
    tensors = case.of(made, seed)
    signs = torch.randint(0, 2, tensors["bias"].shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    tensors["bias"] = tensors["bias"].detach() + 1e4 * signs
    mask = made.mask(case.mask)
    check(case, mask, made.pairs(case.mask), tensors, torch.float64)
    single = {name: tensor.detach().float().requires_grad_() for name, tensor in tensors.items()}
    for out in (case(mask, single), case(mask, single, return_attention=True)[0]):
        assert out.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients(out, list(single.values())))


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fills every tensor made without a value, as by torch.empty, with NaN or the largest integer."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_nothing_is_read_before_it_is_written(case: OpCase) -> None:
    assert torch.empty(3).isnan().all()
    tensors = case.of(GRAPHS, seed=2)
    check(case, GRAPHS.mask(case.mask), GRAPHS.pairs(case.mask), tensors, torch.float64)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_dropout(case: OpCase) -> None:
    """Output and gradients are those of Σ_j weight · keep / (1 - p) · value, with the weights as they are without dropout."""
    tensors, mask, pairs = case.of(GRAPHS, seed=3), GRAPHS.mask(case.mask), GRAPHS.pairs(case.mask)
    out, returned = case(mask, tensors, dropout=0.5, seed=11, return_attention=True)
    _, weights = case(mask, tensors, return_attention=True)
    assert same_bits([returned], [weights])
    keep = dropout_mask(len(pairs), HEADS, 0.5, torch.tensor(11))
    assert 0 < keep.sum() < keep.numel()
    source, target = torch.tensor(pairs).unbind(1)
    values = tensors["value"][source]
    if case.edge_attr:
        values = values + torch.einsum("hdc,ec->ehd", tensors["value_weight"], tensors["attr"])
    expected = torch.zeros_like(out).index_add(0, target, (2 * weights * keep).unsqueeze(-1) * values)
    assert_equal(out, expected)
    inputs = list(tensors.values())
    for actual, reference in zip(gradients(out, inputs), gradients(expected, inputs), strict=True):
        assert_equal(actual, reference)
