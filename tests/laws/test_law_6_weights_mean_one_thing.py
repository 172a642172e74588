"""Law 6: attention weights come in the caller's edge order, before dropout, summing to one, from every layer and model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases.compare import assert_close, same_bits
from cases.forms import OP_CASES
from cases.graphs import Graphs, graphs
from cases.layer_grid import ATTENTION_LAYER_CASES, DROPIN_CASES, LAYER_CASES
from cases.layers import LayerCase, LayerInputs
from cases.op import OpCase
from cases.settings import law
from hypothesis import given
from torch import Tensor

from graphattn.ops import NORMALISERS

SUM_TO_ONE = [name for name, normaliser in NORMALISERS.items() if normaliser.sums_to_one]


def targets(made: Graphs, stand_on: str) -> Tensor:
    """The target of every weight: of edges in the caller's order, of self-loops after them, of pairs block after block."""
    if stand_on == "pairs":
        return torch.tensor([target for _, target in made.pairs("block")], dtype=torch.long)
    loops = torch.arange(made.num_nodes if stand_on == "loops" else 0)
    return torch.cat([made.edge_index[1], loops])


def assert_rows_sum_to_one(weights: Tensor, target: Tensor, num_nodes: int) -> None:
    sums = torch.zeros(num_nodes, weights.shape[1], dtype=weights.dtype).index_add(0, target, weights)
    attends = target.bincount(minlength=num_nodes) > 0
    assert_close(sums, attends.unsqueeze(-1).expand_as(sums).to(weights.dtype))


def all_weights(weights: Any) -> list[Tensor]:
    """Those of a layer, of two attentions in parallel, or of all layers of a model, in their order."""
    return [weights] if isinstance(weights, Tensor) else [tensor for part in weights for tensor in all_weights(part)]


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs())
def test_op(case: OpCase, made: Graphs) -> None:
    tensors, mask = case.of(made), made.mask(case.mask)
    pairs = made.pairs(case.mask)
    plain, (out, weights) = case(mask, tensors), case(mask, tensors, return_attention=True)
    assert type(plain) is Tensor
    assert_close(out, plain)
    assert weights.shape == (len(pairs), 2)
    assert (weights >= 0).all()
    if case.normaliser in SUM_TO_ONE:
        assert_rows_sum_to_one(weights, torch.tensor([i for _, i in pairs], dtype=torch.long), made.num_nodes)
    # In the caller's order: weighing the values by hand gives the output back.
    if not case.edge_attr:
        by_hand = torch.zeros_like(out)
        for (source, target), weight in zip(pairs, weights, strict=True):
            by_hand[target] += (weight.unsqueeze(-1) * tensors["value"][source]).detach()
        assert_close(out, by_hand)
    dropped = case(mask, tensors, dropout=0.5, seed=1, return_attention=True)
    assert same_bits([dropped[1]], [weights])


@pytest.mark.parametrize("case", ATTENTION_LAYER_CASES, ids=str)
@law
@given(made=graphs())
def test_layer(case: LayerCase, made: Graphs) -> None:
    module, inputs = case.make(), LayerInputs.draw(made)
    plain, (out, weights) = case(module, inputs), case(module, inputs, return_attention=True)
    assert type(plain) is Tensor
    assert_close(out, plain)
    weights = all_weights(weights)
    assert len(weights) == len(case.weights)
    relaxed = not set(case.name.split("-")).isdisjoint(set(NORMALISERS) - set(SUM_TO_ONE))
    for of_layer, stand_on in zip(weights, case.weights, strict=True):
        target = targets(made, stand_on)
        assert of_layer.shape[0] == target.shape[0]
        if not relaxed:
            assert_rows_sum_to_one(of_layer, target, made.num_nodes)


@pytest.mark.parametrize("case", ATTENTION_LAYER_CASES, ids=str)
def test_weights_of_a_layer_are_those_before_dropout(case: LayerCase) -> None:
    made = Graphs(torch.zeros(4, dtype=torch.long), torch.tensor([[0, 1, 2, 3, 0], [1, 1, 1, 2, 3]]), 1)
    module, inputs = case.make(), LayerInputs.draw(made)
    _, expected = case(module, inputs, return_attention=True)
    module.train()
    for part in module.modules():
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.5
    _, weights = case(module, inputs, return_attention=True)
    assert same_bits(all_weights(weights)[:1], all_weights(expected)[:1])


@pytest.mark.parametrize("case", [*(case for case in LAYER_CASES if not case.weights), *DROPIN_CASES], ids=str)
def test_the_rest_return_plain_tensors(case: LayerCase) -> None:
    made = Graphs(torch.tensor([0, 0, 1]), torch.tensor([[0], [1]]), 2)
    assert type(case(case.make(), LayerInputs.draw(made))) is Tensor


def test_added_self_loops_come_after_the_edges() -> None:
    made = Graphs(torch.zeros(3, dtype=torch.long), torch.tensor([[2, 0, 1], [1, 1, 1]]), 1)
    case = next(case for case in LAYER_CASES if case.name == "masked-loops")
    _, weights = case(case.make(), LayerInputs.draw(made), return_attention=True)
    assert weights.shape == (6, 2)
    assert_close(weights[[3, 5]], torch.ones(2, 2, dtype=torch.float64))  # nodes 0 and 2 attend to themselves alone
    assert_close(weights[[0, 1, 2, 4]].sum(0), torch.ones(2, dtype=torch.float64))
