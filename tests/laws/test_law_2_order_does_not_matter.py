"""Law 2: permuted nodes permute the outputs, permuted edges leave them, and an unsorted batch vector gives the right answer."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from cases.compare import assert_close
from cases.forms import OP_CASES
from cases.graphs import Graphs, graphs
from cases.layer_grid import DROPIN_CASES_WITHOUT_NODES, LAYER_CASES, types
from cases.layers import LayerCase, LayerInputs
from cases.op import OpCase
from cases.settings import law
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import from_networkx

from graphattn.structure import AddDegree, AddLaplacian, AddRandomWalk

seeds = st.integers(0, 999)


def permutations(made: Graphs, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(made.num_nodes, generator=generator), torch.randperm(made.num_edges, generator=generator)


@pytest.mark.parametrize("case", OP_CASES, ids=str)
@law
@given(made=graphs(), seed=seeds, data=st.data())
def test_op(case: OpCase, made: Graphs, seed: int, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(types(case)))
    nodes, edges = permutations(made, seed)
    other = made.permuted(nodes, edges)
    tensors = {name: tensor.detach().to(dtype) for name, tensor in case.of(made, seed).items()}
    on_pairs = edges
    if case.mask == "block":
        place = {pair: row for row, pair in enumerate(made.pairs("block"))}
        rows = [place[int(nodes[source]), int(nodes[target])] for source, target in other.pairs("block")]
        on_pairs = torch.tensor(rows, dtype=torch.long)
    moved = {name: tensor[nodes] if name in ("query", "key", "value") else tensor for name, tensor in tensors.items()}
    moved.update({name: tensors[name][on_pairs] for name in ("bias", "attr") if name in tensors})
    out, weights = case(made.mask(case.mask), tensors, return_attention=True)
    other_out, other_weights = case(other.mask(case.mask), moved, return_attention=True)
    assert_close(other_out, out[nodes])
    assert_close(other_weights, weights[on_pairs])


# Exempt are expander edges, which are drawn at random: seeded by the graph as it is numbered, not by its place in the batch.
@pytest.mark.parametrize(
    "case", [case for case in (*LAYER_CASES, *DROPIN_CASES_WITHOUT_NODES) if case.name != "model-expander"], ids=str
)
@law
@given(made=graphs(), seed=seeds, data=st.data())
def test_layer(case: LayerCase, made: Graphs, seed: int, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(types(case)))
    nodes, edges = permutations(made, seed)
    module, inputs = case.make(dtype), LayerInputs.draw(made, seed).to(dtype)
    out = case(module, inputs)
    moved = case(module, inputs.select(made.permuted(nodes, edges), nodes, edges))
    assert_close(moved, out[nodes] if case.per == "node" else out)


@pytest.mark.parametrize("transform", [AddDegree(), AddRandomWalk(5), AddLaplacian(3)], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("seed", range(5))
def test_encodings(transform: AddDegree | AddRandomWalk | AddLaplacian, seed: int) -> None:
    # A path with a branch and a triangle: no symmetry, so the eigenvalues are simple and their vectors unique up to sign.
    graph = nx.path_graph(7)
    graph.add_edges_from([(2, 7), (4, 8), (8, 9), (4, 9)])
    data = from_networkx(graph)
    generator = torch.Generator().manual_seed(seed)
    nodes, edges = torch.randperm(10, generator=generator), torch.randperm(data.num_edges, generator=generator)
    other = Data(edge_index=nodes.argsort()[data.edge_index[:, edges]], num_nodes=10)
    name = {AddDegree: "degree_pe", AddRandomWalk: "random_walk_pe", AddLaplacian: "laplacian_pe"}[type(transform)]
    before, after = transform(data.clone())[name][nodes], transform(other)[name]
    if name == "laplacian_pe":
        after = after * (before * after).sum(0).sign()
    assert_close(after, before)
