"""Law 5: a node with nothing to attend to gets zero from the op, never NaN; a layer then adds its biases and skips."""

from __future__ import annotations

import pytest
import torch
from cases.compare import gradients
from cases.forms import OP_CASES, RECTANGULAR_CASES
from cases.graphs import Graphs, rectangular
from cases.layer_grid import DROPIN_CASES_WITHOUT_NODES, LAYER_CASES
from cases.layers import LayerCase, LayerInputs, layer_gradients
from cases.op import OpCase
from cases.settings import law
from hypothesis import given

from graphattn.nn import MaskedSelfAttention
from graphattn.ops import AdjacencyMask

NOTHING = torch.zeros(2, 0, dtype=torch.long)
EMPTY = {
    "no-graphs": Graphs(torch.zeros(0, dtype=torch.long), NOTHING, 0),
    "one-empty-graph": Graphs(torch.zeros(0, dtype=torch.long), NOTHING, 1),
    "one-node": Graphs(torch.zeros(1, dtype=torch.long), NOTHING, 1),
    "no-edges": Graphs(torch.tensor([0, 0, 2]), NOTHING, 3),
    "isolated-node": Graphs(torch.tensor([0, 0, 0]), torch.tensor([[0, 1], [1, 0]]), 1),
}


@pytest.mark.parametrize("case", RECTANGULAR_CASES, ids=str)
@law
@given(mask=rectangular())
def test_op_on_empty_rows(case: OpCase, mask: AdjacencyMask) -> None:
    tensors = case.tensors(mask.num_edges, mask.num_sources, mask.num_targets)
    out = case(mask, tensors)
    empty = torch.ones(mask.num_targets, dtype=torch.bool)
    empty[mask.target] = False
    assert out.isfinite().all()
    assert (out[empty] == 0).all()
    if out.requires_grad:
        query, *others = gradients(out, list(tensors.values()))
        assert (query[empty] == 0).all()
        assert all(gradient.isfinite().all() for gradient in others)


@pytest.mark.parametrize("made", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_op_on_empty_graphs(case: OpCase, made: Graphs) -> None:
    tensors = case.of(made)
    for out in (case(made.mask(case.mask), tensors), case(made.mask(case.mask), tensors, return_attention=True)[0]):
        assert out.shape == (made.num_nodes, 2, 4)
        assert out.isfinite().all()
        if case.mask == "adjacency":
            alone = torch.ones(made.num_nodes, dtype=torch.bool)
            alone[made.edge_index[1]] = False
            assert (out[alone] == 0).all()
        assert all(gradient.isfinite().all() for gradient in gradients(out, list(tensors.values())))


@pytest.mark.parametrize("made", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("case", [*LAYER_CASES, *DROPIN_CASES_WITHOUT_NODES], ids=str)
def test_layer(case: LayerCase, made: Graphs) -> None:
    out, *of_inputs = layer_gradients(case, case.make(), LayerInputs.draw(made))
    assert out.shape[0] == (made.num_nodes if case.per == "node" else made.num_graphs)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in of_inputs)


@pytest.mark.parametrize("score", ["dot", "additive", "static"])
def test_a_masked_layer_adds_the_bias_of_its_last_map(score: str) -> None:
    layer = MaskedSelfAttention(8, 6, heads=2, score=score)
    with torch.no_grad():
        layer.lin_out.bias.copy_(torch.arange(6.0))
    assert layer(torch.randn(3, 8), torch.tensor([[0], [1]]))[[0, 2]].tolist() == [[0.0, 1, 2, 3, 4, 5]] * 2
