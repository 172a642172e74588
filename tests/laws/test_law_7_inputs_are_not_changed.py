"""Law 7: inputs are not changed, under autocast every layer returns the autocast dtype, and multi-edges count as edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cases.compare import assert_close, gradients, same_bits
from cases.forms import COVERING_CASES, OP_CASES, RECTANGULAR_CASES
from cases.graphs import Graphs, graphs
from cases.layer_grid import COVERING_LAYER_CASES, DROPIN_CASES_WITHOUT_NODES, LAYER_CASES
from cases.layers import LayerCase, LayerInputs
from cases.op import OpCase
from cases.settings import law
from hypothesis import given
from torch import Tensor

from graphattn.nn import MaskedSelfAttention
from graphattn.ops import NORMALISERS, AdjacencyMask, BlockDiagonalMask, Mask, attention

GRAPHS = Graphs(torch.tensor([0, 1, 0, 1]), torch.tensor([[0, 2, 2, 1, 3], [2, 0, 0, 3, 3]]), 2)


def tensors_of(mask: Mask) -> list[Tensor]:
    return [value for value in vars(mask).values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs())
def test_op_changes_nothing(case: OpCase, made: Graphs) -> None:
    tensors, mask = case.of(made), made.mask(case.mask)
    everything = [*tensors.values(), *tensors_of(mask)]
    before = [tensor.detach().clone() for tensor in everything]
    gradients(case(mask, tensors, dropout=0.5 if case in COVERING_CASES else 0.0, seed=1), list(tensors.values()))
    case(mask, tensors, return_attention=True)
    assert same_bits([tensor.detach() for tensor in everything], before)


@pytest.mark.parametrize("case", [*LAYER_CASES, *DROPIN_CASES_WITHOUT_NODES], ids=str)
@law
@given(made=graphs())
def test_layer_changes_nothing(case: LayerCase, made: Graphs) -> None:
    module, inputs = case.make(), LayerInputs.draw(made)
    names = list(inputs.structure)
    everything = [*inputs.floats, made.batch, made.edge_index, *module.parameters()]
    before = [tensor.detach().clone() for tensor in everything]
    x = inputs.x.clone().requires_grad_()
    gradients(case(module, replace(inputs, x=x)), [x, *module.parameters()])
    assert same_bits([tensor.detach() for tensor in everything], before)
    assert list(inputs.structure) == names


@pytest.mark.parametrize("mask", [GRAPHS.adjacency(), GRAPHS.blocks()], ids=["adjacency", "block"])
def test_layers_do_not_change_a_prepared_mask(mask: Mask) -> None:
    before = [tensor.clone() for tensor in tensors_of(mask)]
    if isinstance(mask, AdjacencyMask):
        MaskedSelfAttention(4, 4, add_self_loops=True)(torch.randn(4, 4), mask)
    else:
        assert isinstance(mask, BlockDiagonalMask)
        mask.pairs()
    assert same_bits(tensors_of(mask), before)


@pytest.mark.parametrize("case", COVERING_LAYER_CASES, ids=str)
def test_layer_under_autocast(case: LayerCase) -> None:
    module, inputs = case.make(torch.float32), LayerInputs.draw(GRAPHS).to(torch.float32)
    reference = case(case.make(), inputs.to(torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = case(module, inputs)
    assert out.dtype == torch.bfloat16
    # Every map inside rounds to bfloat16, so the whole is less exact than one operation is.
    assert (out.double() - reference).detach().abs().max() <= 0.1 * reference.detach().abs().max()
    assert all(gradient.isfinite().all() for gradient in gradients(out, list(module.parameters())))


@pytest.mark.parametrize("case", COVERING_CASES, ids=str)
def test_op_under_autocast(case: OpCase) -> None:
    rounded = {name: tensor.detach().bfloat16() for name, tensor in case.of(GRAPHS).items()}
    expected = case(GRAPHS.mask(case.mask), {name: tensor.double() for name, tensor in rounded.items()})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = case(GRAPHS.mask(case.mask), {name: tensor.float() for name, tensor in rounded.items()})
    assert out.dtype == torch.bfloat16
    assert_close(out, expected)


@pytest.mark.parametrize("case", RECTANGULAR_CASES, ids=str)
@law
@given(made=graphs())
def test_an_edge_stored_twice_counts_twice(case: OpCase, made: Graphs) -> None:
    """Against the oracle of law 3 they agree; here, a copy of all edges must not be merged with the first."""
    twice = AdjacencyMask(*(torch.cat([row, row]) for row in made.edge_index), made.num_nodes, made.num_nodes)
    tensors = case.of(made)
    doubled = {name: torch.cat([t, t]) if name in ("bias", "attr") else t for name, t in tensors.items()}
    out, weights = case(twice, doubled, return_attention=True)
    assert weights.shape[0] == 2 * made.num_edges
    assert_close(weights[: made.num_edges], weights[made.num_edges :])
    # Every row has each of its edges twice: under softmax (and relu, by its 1 / n) the output is that of the edges once.
    if case.normaliser in ("softmax", "relu"):
        assert_close(out, case(made.adjacency(), tensors))


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_two_equal_edges_by_hand(normaliser: str) -> None:
    """Edges 1 → 0 twice and 2 → 0 once, all with score 1: the pair (0, 1) has twice the weight of (0, 2)."""
    mask = AdjacencyMask.from_edge_index(torch.tensor([[1, 1, 2], [0, 0, 0]]), 3)
    one, value = torch.ones(3, 1, 1), torch.tensor([0.0, 3.0, 30.0]).reshape(3, 1, 1)
    out, weights = attention(one, one, value, mask, normaliser=normaliser, return_attention=True)
    expected = {"sigmoid": 1 / (1 + 3 / torch.e), "softmax1": torch.e / (1 + 3 * torch.e)}.get(normaliser, 1 / 3)
    assert weights.flatten().tolist() == pytest.approx([expected] * 3)
    assert out.flatten().tolist() == pytest.approx([expected * (3 + 3 + 30), 0, 0])
