"""The drop-in layers under torch.compile, torch.export, copying, pickling, and as torch_geometric's classes to look at."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch_geometric.nn
from cases.settings import fresh_compiler
from torch import Tensor, nn
from torch.export import Dim

import graphattn
from graphattn.nn import conv

# The kernels are those that the laws compile for these layers.
WIDTH, OUT, HEADS, EDGE_DIM = 16, 4, 2, 3


@dataclass(frozen=True)
class Case:
    """A layer with options; one with an `edge_dim` is called with edge features, GPSConv with a batch."""

    layer: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.layer, *map(str, self.options)])

    def make(self, module: Any = conv) -> nn.Module:
        torch.manual_seed(0)
        shape = (WIDTH, None, HEADS) if self.layer == "GPSConv" else (WIDTH, OUT, HEADS)
        return getattr(module, self.layer)(*shape, **self.options).double()

    def arguments(self, nodes: int, edges: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(nodes)
        x = torch.randn(nodes, WIDTH, generator=generator, dtype=torch.float64)
        edge_index = torch.randint(nodes, (2, edges), generator=generator)
        if self.layer == "GPSConv":
            return x, edge_index, torch.arange(nodes) % 3
        if "edge_dim" in self.options:
            return x, edge_index, torch.randn(edges, EDGE_DIM, generator=generator, dtype=torch.float64)
        return x, edge_index


EDGES = {"edge_dim": EDGE_DIM}
CASES = [
    Case("GATConv"),
    Case("GATConv", {**EDGES, "concat": False, "residual": True}),
    Case("GATConv", {"add_self_loops": False, "flow": "target_to_source"}),
    Case("GATv2Conv"),
    Case("GATv2Conv", {**EDGES, "share_weights": True, "fill_value": 0.5}),
    Case("TransformerConv"),
    Case("TransformerConv", {**EDGES, "beta": True}),
    Case("GPSConv"),
    Case("GPSConv", {"norm": "graph_norm"}),
]
SIZES = ((12, 40), (15, 60))


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    with fresh_compiler():
        yield


def outcome(layer: Any, parameters: list[Tensor], arguments: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [part.clone().requires_grad_() if part.is_floating_point() else part for part in arguments]
    torch.manual_seed(0)
    out = layer(*leaves)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    wanted = [leaf for leaf in leaves if leaf.requires_grad] + parameters
    return [out, *torch.autograd.grad(out, wanted, direction, allow_unused=True, materialize_grads=True)]


def assert_close(actual: list[Tensor], expected: list[Tensor]) -> None:
    for found, wanted in zip(actual, expected, strict=True):
        assert torch.allclose(found.detach(), wanted.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compile_without_a_graph_break(case: Case) -> None:
    layer, arguments = case.make(), case.arguments(*SIZES[0])
    compiled = torch.compile(layer, fullgraph=True, dynamic=False, backend="aot_eager")
    parameters = list(layer.parameters())
    assert_close(outcome(compiled, parameters, arguments), outcome(layer, parameters, arguments))


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[6], CASES[7]], ids=str)
def test_compile_with_changing_sizes(case: Case) -> None:
    layer = case.make()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    parameters = list(layer.parameters())
    for sizes in SIZES:
        arguments = case.arguments(*sizes)
        assert_close(outcome(compiled, parameters, arguments), outcome(layer, parameters, arguments))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compile_takes_the_fused_operator(case: Case) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    layer = torch.compile(case.make().eval(), fullgraph=True, backend=keep)
    with torch.no_grad():
        layer(*case.arguments(*SIZES[0]))
    assert any("fused_attention" in str(node.target) for graph in graphs for node in graph.graph.nodes)


@pytest.mark.parametrize("layer", ["GATConv", "GATv2Conv", "TransformerConv"])
def test_compile_bipartite(layer: str) -> None:
    torch.manual_seed(0)
    module = getattr(conv, layer)((WIDTH, 5), OUT, HEADS).double()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for sources, targets, edges in ((9, 6, 30), (11, 13, 40)):
        pair = torch.randn(sources, WIDTH, dtype=torch.float64), torch.randn(targets, 5, dtype=torch.float64)
        edge_index = torch.stack([torch.randint(size, (edges,)) for size in (sources, targets)])
        assert_close([compiled(pair, edge_index)], [module(pair, edge_index)])


@pytest.mark.parametrize("case", [Case("GATConv"), Case("GATv2Conv"), Case("TransformerConv"), Case("GPSConv")], ids=str)
def test_compile_with_dropout_in_training(case: Case) -> None:
    """Random numbers are drawn in the compiled graph, too: twice is not the same, and the mean is near."""
    options = {"norm": None, "attn_kwargs": {"dropout": 0.3}} if case.layer == "GPSConv" else {"dropout": 0.3}
    layer = Case(case.layer, options).make()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    arguments = case.arguments(*SIZES[0])
    first, second = compiled(*arguments), compiled(*arguments)
    assert not torch.equal(first, second)
    layer.eval()
    assert_close([compiled(*arguments)], [layer(*arguments)])


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
def test_compile_a_model(v2: bool) -> None:
    torch.manual_seed(0)
    model = torch_geometric.nn.models.GAT(WIDTH, 16, num_layers=2, out_channels=5, heads=2, v2=v2).double()
    arguments = Case("GATConv").arguments(*SIZES[0])
    with torch.no_grad():
        expected = model(*arguments)
        compiled = torch.compile(graphattn.accelerate(model), fullgraph=True, backend="aot_eager")
        assert_close([compiled(*arguments)], [expected])


# torch_geometric's norms of graphs ask the batch for its number of graphs, which an exporter does not know.
@pytest.mark.parametrize("case", CASES[:-1], ids=str)
def test_export_with_changed_sizes(case: Case) -> None:
    layer = case.make().eval()
    nodes, edges = Dim("nodes"), Dim("edges")
    third = {0: nodes if case.layer == "GPSConv" else edges}
    given = case.arguments(*SIZES[0])
    shapes = ({0: nodes}, {1: edges}, third)[: len(given)]
    exported = torch.export.export(layer, given, dynamic_shapes=shapes).module()
    for sizes in SIZES:
        arguments = case.arguments(*sizes)
        assert_close([exported(*arguments)], [layer(*arguments)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_same_module_to_look_at(case: Case) -> None:
    theirs, ours = case.make(torch_geometric.nn), case.make()
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, type(theirs))
    assert type(ours).__name__ == type(theirs).__name__
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    # The same seed gives the same initial values.
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())


@pytest.mark.parametrize("swapped", [False, True], ids=["made", "swapped"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_copies(case: Case, swapped: bool) -> None:
    layer = graphattn.accelerate(case.make(torch_geometric.nn)) if swapped else case.make()
    arguments = case.arguments(*SIZES[0])
    layer(*arguments)  # what a call keeps must not hinder copies
    layer.eval()
    expected = layer(*arguments)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert type(other) is type(layer)
        assert torch.equal(other(*arguments), expected)
        assert graphattn.why_not_fused(other, *arguments) is None
    theirs = case.make(torch_geometric.nn).eval()
    theirs.load_state_dict(layer.state_dict())
    assert_close([theirs(arguments[0], *sort_batch(case, arguments))], [layer(arguments[0], *sort_batch(case, arguments))])


def sort_batch(case: Case, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The arguments after x; the batch of GPSConv sorted, as torch_geometric needs it."""
    return (arguments[1], arguments[2].sort().values) if case.layer == "GPSConv" else arguments[1:]
