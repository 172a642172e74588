"""Law 1: a graph's output does not depend on what it is batched with, on empty graphs beside it, or on its neighbours' size."""

from __future__ import annotations

import pytest
import torch
from cases.compare import assert_close
from cases.forms import OP_CASES
from cases.graphs import Graphs, graphs, large_graphs
from cases.layer_grid import DROPIN_CASES, DROPIN_CASES_WITHOUT_NODES, LAYER_CASES, types
from cases.layers import LayerCase, LayerInputs
from cases.op import OpCase
from cases.settings import law
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 999)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, data=st.data())
def test_op(case: OpCase, made: Graphs, seed: int, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(types(case)))
    tensors = {name: tensor.detach().to(dtype) for name, tensor in case.of(made, seed).items()}
    together = case(made.mask(case.mask), tensors)
    for graph in range(made.num_graphs):
        alone, nodes, edges = made.only(graph)
        on_pairs = edges
        if case.mask == "block":
            sizes = made.batch.bincount(minlength=made.num_graphs).square()
            on_pairs = torch.arange(int(sizes[graph])) + int(sizes[:graph].sum())
        own = {name: tensor[nodes] if name in ("query", "key", "value") else tensor for name, tensor in tensors.items()}
        own.update({name: tensors[name][on_pairs] for name in ("bias", "attr") if name in tensors})
        assert_close(case(alone.mask(case.mask), own), together[nodes])


@pytest.mark.parametrize("case", [*LAYER_CASES, *DROPIN_CASES_WITHOUT_NODES], ids=str)
@law
@given(made=graphs(), seed=seeds, data=st.data())
def test_layer(case: LayerCase, made: Graphs, seed: int, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(types(case)))
    module, inputs = case.make(dtype), LayerInputs.draw(made, seed).to(dtype)
    together = case(module, inputs)
    for graph in range(made.num_graphs):
        alone, nodes, edges = made.only(graph)
        out = case(module, inputs.select(alone, nodes, edges))
        assert_close(out, together[nodes] if case.per == "node" else together[graph : graph + 1])


@pytest.mark.parametrize("case", [*LAYER_CASES, *DROPIN_CASES], ids=str)
def test_one_node_beside_large_graphs(case: LayerCase) -> None:
    large = large_graphs()
    batch = torch.cat([large.batch, torch.tensor([large.num_graphs])])
    made = Graphs(batch, torch.cat([large.edge_index, torch.tensor([[600], [600]])], dim=1), large.num_graphs + 1)
    module, inputs = case.make(), LayerInputs.draw(made)
    alone, nodes, edges = made.only(large.num_graphs)
    assert_close(case(module, inputs.select(alone, nodes, edges)), case(module, inputs)[-1:])


@pytest.mark.parametrize("case", [case for case in LAYER_CASES if case.name.startswith("model")], ids=str)
def test_a_model_reads_no_batch_as_one_graph(case: LayerCase) -> None:
    made = Graphs(torch.zeros(3, dtype=torch.long), torch.tensor([[0, 1, 2], [1, 2, 2]]), 1)
    module, inputs = case.make(), LayerInputs.draw(made)
    attr = inputs.edge_attr if module.edge_dim else None
    assert_close(module(inputs.x, made.edge_index, attr, structure=inputs.structure), case(module, inputs))
