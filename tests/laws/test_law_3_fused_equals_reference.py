"""Law 3: every path of the op equals a slow loop over nodes, in outputs, weights and every gradient.

Each form runs twice: through the fused kernels where they know it, and through the plain version, which also returns weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases.compare import assert_all_close, assert_close, gradients, same_bits
from cases.forms import COVERING_CASES, OP_CASES, RECTANGULAR_CASES
from cases.graphs import Graphs, graphs, rectangular
from cases.op import CHANNELS, HEADS, OpCase
from cases.settings import items_of, law
from hypothesis import given
from hypothesis import strategies as st
from oracle import oracle
from torch import Tensor

from graphattn.ops import AdjacencyMask, Mask
from graphattn.ops.cpu import sort
from graphattn.ops.philox import dropout_mask

NAMES = ("query", "key", "value")
seeds = st.integers(0, 999)
# Work in items as usual, which no small graph fills; and so small that most rows are cut in parts.
items = st.sampled_from([sort.SMALLEST_ITEM, 1])


def check(
    case: OpCase,
    mask: Mask,
    pairs: list[tuple[int, int]],
    tensors: dict[str, Tensor],
    dtype: torch.dtype,
    item: int = sort.SMALLEST_ITEM,
) -> None:
    """Holds the op in `dtype` against the oracle in float64 on the same rounded inputs."""
    given = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in tensors.items()}
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    expected, expected_weights = oracle(case, pairs, mask.num_targets, exact)
    expected_gradients = gradients(expected, list(exact.values())) if expected.requires_grad else []
    with_weights, weights = case(mask, given, return_attention=True)
    assert_close(weights, expected_weights)
    with case.kernels(), items_of(item):
        fused = case(mask, given)
    for out in (fused, with_weights):
        assert out.dtype == dtype
        assert_close(out, expected)
        if expected.requires_grad:
            # A gradient of queries or keys may cancel, such as under sparsemax; it is rounding of what the others sum.
            largest = max((float(gradient.abs().max()) for gradient in expected_gradients if gradient.numel()), default=0.0)
            assert_all_close(gradients(out, list(given.values())), expected_gradients, terms=largest)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, item=items)
def test_float64(case: OpCase, made: Graphs, seed: int, item: int) -> None:
    check(case, made.mask(case.mask), made.pairs(case.mask), case.of(made, seed), torch.float64, item)


@pytest.mark.parametrize("case", COVERING_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, item=items)
def test_float32(case: OpCase, made: Graphs, seed: int, item: int) -> None:
    check(case, made.mask(case.mask), made.pairs(case.mask), case.of(made, seed), torch.float32, item)


# Which numbers are stored in bfloat16 has nothing to do with the normaliser: one of the kernels is compiled.
@pytest.mark.parametrize("case", [case for case in COVERING_CASES if not case.fused or case.normaliser == "softmax"], ids=str)
@law
@given(made=graphs(), seed=seeds)
def test_bfloat16(case: OpCase, made: Graphs, seed: int) -> None:
    check(case, made.mask(case.mask), made.pairs(case.mask), case.of(made, seed), torch.bfloat16)


@pytest.mark.parametrize("case", RECTANGULAR_CASES, ids=str)
@law
@given(mask=rectangular(), seed=seeds, item=items)
def test_rectangular_masks(case: OpCase, mask: AdjacencyMask, seed: int, item: int) -> None:
    pairs = list(zip(mask.source.tolist(), mask.target.tolist(), strict=True))
    check(case, mask, pairs, case.tensors(len(pairs), mask.num_sources, mask.num_targets, seed), torch.float64, item)


LAYOUT_CASES = [
    OpCase("adjacency", "dot", "softmax", bias=True, edge_attr=True),
    OpCase("adjacency", "additive", "softmax", bias=True, edge_attr=True),
    OpCase("adjacency", "static", "sigmoid", bias=True, edge_attr=False),
    OpCase("block", "dot", "softmax", bias=True, edge_attr=False),
]


@pytest.mark.parametrize("layout", ["packed", "shared"])
@pytest.mark.parametrize("case", LAYOUT_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, item=items)
def test_tables_that_are_one(case: OpCase, layout: str, made: Graphs, seed: int, item: int) -> None:
    """Query, key and value packed in one table, or one table as key and value, give what three tables give."""
    tensors, mask = case.of(made, seed, shape=(HEADS, CHANNELS, CHANNELS)), made.mask(case.mask)
    tables = [tensors.pop(name) for name in ("query", "key", "value")]
    if layout == "shared":
        tables[2] = tables[1]
    expected, _ = oracle(case, made.pairs(case.mask), made.num_nodes, {**tensors, **dict(zip(NAMES, tables, strict=True))})
    packed = torch.stack(tables, 1).detach().requires_grad_()
    given_tables = (packed, None, None) if layout == "packed" else tuple(tables)
    with case.kernels(), items_of(item):
        out = case(mask, {**tensors, **dict(zip(NAMES, given_tables, strict=True))})
    assert_close(out, expected)
    if expected.requires_grad:
        leaves, others = tables[: 2 if layout == "shared" else 3], list(tensors.values())
        wanted = gradients(expected, [*leaves, *others])
        if layout == "packed":
            leaves, wanted = [packed], [torch.stack(wanted[:3], 1), *wanted[3:]]
        assert_all_close(gradients(out, [*leaves, *others]), wanted)


# Two graphs, unsorted, with a hub, a multi-edge, a self-loop and a node without edges.
GRAPHS = Graphs(torch.tensor([0, 1, 0, 0, 1, 0]), torch.tensor([[0, 2, 2, 3, 4, 1, 3], [2, 0, 0, 0, 4, 4, 2]]), num_graphs=2)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_gradcheck(case: OpCase) -> None:
    tensors = case.of(GRAPHS, seed=1)

    def function(*values: Tensor) -> Any:
        return case(GRAPHS.mask(case.mask), dict(zip(tensors, values, strict=True)))

    with case.kernels():
        assert torch.autograd.gradcheck(function, tuple(tensors.values()))


@pytest.mark.parametrize("case", list(dict.fromkeys(replace(case, bias=True) for case in COVERING_CASES)), ids=str)
@law
@given(made=graphs(), seed=seeds)
def test_scores_of_ten_thousand(case: OpCase, made: Graphs, seed: int) -> None:
    tensors = case.of(made, seed)
    signs = torch.randint(0, 2, tensors["bias"].shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    tensors["bias"] = tensors["bias"].detach() + 1e4 * signs
    mask = made.mask(case.mask)
    check(case, mask, made.pairs(case.mask), tensors, torch.float64)
    single = {name: tensor.detach().float().requires_grad_() for name, tensor in tensors.items()}
    with case.kernels():
        fused = case(mask, single)
    for out in (fused, case(mask, single, return_attention=True)[0]):
        assert out.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients(out, list(single.values())))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_nothing_is_read_before_it_is_written(case: OpCase) -> None:
    assert torch.empty(3).isnan().all()
    tensors = case.of(GRAPHS, seed=2)
    check(case, GRAPHS.mask(case.mask), GRAPHS.pairs(case.mask), tensors, torch.float64)


@pytest.mark.parametrize("case", COVERING_CASES, ids=str)
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
    inputs = list(tensors.values())
    of_inputs = gradients(expected, inputs)
    with case.kernels():
        fused = case(mask, tensors, dropout=0.5, seed=11)
    for actual_out in (out, fused):
        assert_close(actual_out, expected)
        assert_all_close(gradients(actual_out, inputs), of_inputs)
