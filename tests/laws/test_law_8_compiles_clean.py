"""Law 8: torch.compile without a graph break and with changing sizes; torch.export with changed sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch._dynamo
from cases.compare import assert_all_close, assert_close, gradients
from cases.graphs import Graphs
from cases.layer_grid import DROPIN_CASES, LAYER_CASES
from cases.layers import LayerCase, LayerInputs
from cases.op import OpCase
from cases.settings import fresh_compiler
from torch import Tensor, nn
from torch.export import Dim

from graphattn.ops import NORMALISERS

# The numbers of nodes, edges, pairs, graphs and bounds of graphs differ from each other, from those of heads and channels, and
# from one of the two to the other: torch.compile takes sizes that are equal at first to be always equal, and compiles anew.
SMALL = Graphs(
    torch.tensor([0, 1, 0, 1, 1, 2, 3]), torch.tensor([[0, 2, 2, 1, 3, 3, 4, 5, 0], [2, 0, 0, 3, 3, 4, 1, 5, 0]]), num_graphs=4
)
LARGE = Graphs(
    torch.tensor([0, 1, 0, 1, 1, 2, 2, 0, 3, 4]),
    torch.tensor([[0, 2, 2, 1, 3, 3, 5, 6, 7, 8, 8], [2, 0, 0, 3, 3, 4, 5, 5, 0, 8, 8]]),
    num_graphs=5,
)
OP_GRID = [
    OpCase(mask, score, normaliser, bias=True, edge_attr=mask == "adjacency")
    for mask, (score, normaliser) in product(
        ("adjacency", "block"),
        [*product(["dot"], NORMALISERS), ("additive", "softmax"), ("tanh", "entmax15"), ("static", "sigmoid")],
    )
]
# Every layer and option; of the fifteen combinations of score and normaliser, each score and each normaliser. Exempt is a
# sparse input of SparseLinear: torch.compile does not take sparse tensors.
LAYER_GRID = [
    case
    for case in LAYER_CASES
    if not any(f"-{part}" in case.name for part in ("dot-", "additive-", "static-", "csr"))
    or case.name
    in (
        "masked-dot-softmax",
        "masked-additive-entmax15",
        "masked-static-sigmoid",
        "full-dot-softmax",
        "full-additive-sparsemax",
        "full-static-relu",
    )
] + DROPIN_CASES


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    with fresh_compiler():
        yield


# Compiling takes most of the time of the tests. These leave what is compiled in the end as it is:
# - With dynamic sizes torch takes numbers, such as the rate of dropout and the ε of a norm, for variables, too. It compiles,
#   finds that it cannot keep them, and compiles once more with their values. Forms of the op and models do so if they are named
#   here, one of each kind of attention, and all other layers do; the rest begins with the values.
# - Layers of one kind follow each other in what is exported below, and layers of several kinds in the other models.
NUMBERS_ARE_VARIABLES = (
    "adjacency-dot-softmax-bias-edges",
    "block-dot-softmax-bias",
    "model-mean",
    "model-linear",
    "model-pair",
)
# Also with `torch.compile(model)`.
BY_DEFAULT = (
    "masked-dot-softmax",
    "full-dot-softmax",
    "model-node",
    "pyg-gat-edges",
    "pyg-gatv2",
    "pyg-transformer",
    "pyg-gps",
)
OF_ONE_KIND = ("model-node", "model-node-full", "model-attention", "model-performer", "model-far", "model-expander")


def compiled(function: Callable[..., Any], case: OpCase | LayerCase | None = None) -> Callable[..., Any]:
    """Its calls go without a graph break, whatever the sizes; for a `case` see above."""
    whole = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    begins_with_values = isinstance(case, OpCase) or str(case).startswith("model-")

    def call(*args: Any, **options: Any) -> Any:
        with torch._dynamo.config.patch(specialize_float=begins_with_values and str(case) not in NUMBERS_ARE_VARIABLES):
            return whole(*args, **options)

    return call


@pytest.mark.parametrize("case", OP_GRID, ids=str)
def test_compile_op(case: OpCase) -> None:
    function = compiled(lambda mask, tensors: case(mask, tensors, return_attention=True), case)
    for made in (SMALL, LARGE):
        tensors, mask = case.of(made), made.mask(case.mask)
        (out, weights), (expected, expected_weights) = function(mask, tensors), case(mask, tensors, return_attention=True)
        assert_close(weights, expected_weights)
        assert_close(out, expected)
        inputs = list(tensors.values())
        assert_all_close(gradients(out, inputs), gradients(expected, inputs))


@pytest.mark.parametrize("mask", ["adjacency", "block"])
def test_compile_op_without_weights_and_with_dropout(mask: str) -> None:
    case = OpCase(mask, "dot", "softmax", bias=False, edge_attr=False)
    function = compiled(lambda mask, tensors, dropout: case(mask, tensors, dropout=dropout, seed=torch.tensor(3)))
    for dropout, made in product((0.0, 0.5), (SMALL, LARGE)):
        tensors, own = case.of(made), made.mask(mask)
        assert_close(function(own, tensors, dropout), case(own, tensors, dropout=dropout, seed=torch.tensor(3)))


def check_at_two_sizes(case: LayerCase, module: nn.Module, function: Callable[..., Any]) -> None:
    """A compiled layer has the outputs and gradients of the layer."""
    for made in (SMALL, LARGE):
        inputs = LayerInputs.draw(made)
        x = inputs.x.requires_grad_()
        inputs = replace(inputs, x=x)
        out, expected = case.call(_standing_in(module, function), inputs), case(module, inputs)
        assert_close(out, expected)
        wanted = [x, *module.parameters()]
        assert_all_close(gradients(out, wanted), gradients(expected, wanted))


@pytest.mark.parametrize("case", LAYER_GRID, ids=str)
def test_compile_layer(case: LayerCase) -> None:
    module = case.make(**({"num_layers": 1} if case.name in OF_ONE_KIND else {}))
    function = compiled(module, case)
    check_at_two_sizes(case, module, function)


@pytest.mark.parametrize("case", [case for case in LAYER_GRID if case.name in BY_DEFAULT], ids=str)
def test_compile_layer_by_default(case: LayerCase) -> None:
    """Without `fullgraph`, torch breaks the graph where it can't go on, and only counts; sizes are fixed until they change."""
    module = case.make(**({"num_layers": 1} if case.name in OF_ONE_KIND else {}))
    function = torch.compile(module, backend="aot_eager")
    torch._dynamo.utils.counters.clear()
    check_at_two_sizes(case, module, function)
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0


def _standing_in(module: nn.Module, function: Callable[..., Any]) -> Any:
    """`function` with the attributes of the module that the calls of the cases read."""

    class StandIn:
        edge_dim = getattr(module, "edge_dim", None)
        reads = getattr(module, "reads", None)

        def __call__(self, *args: Any, **options: Any) -> Any:
            return function(*args, **options)

    return StandIn()


class Export(nn.Module):
    """A layer behind a signature of tensors only, as torch.export wants it; the number of graphs is fixed."""

    def __init__(self, case: LayerCase, num_graphs: int) -> None:
        super().__init__()
        self.module, self.case, self.num_graphs = case.make(), case, num_graphs

    @property
    def reads(self) -> tuple[str, ...]:
        return getattr(self.module, "reads", ())

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, *structure: Tensor) -> Tensor:
        named = dict(zip(self.reads, structure, strict=True))
        return self.case(self.module, LayerInputs(Graphs(batch, edge_index, self.num_graphs), x, edge_attr, named))


@pytest.mark.parametrize("case", LAYER_GRID, ids=str)
def test_export_layer(case: LayerCase) -> None:
    module, nodes, edges = Export(case, SMALL.num_graphs), Dim("nodes"), Dim("edges")
    sizes = {
        "_pe": {0: nodes},
        "pair": {0: Dim("pairs")},
        "khop_index": {1: Dim("near")},
        "khop_distance": {0: Dim("near")},
        "expander_index": {1: Dim("far")},
    }

    def arguments(made: Graphs) -> tuple[Tensor, ...]:
        inputs = LayerInputs.draw(made)
        return inputs.x, made.edge_index, inputs.edge_attr, made.batch, *(inputs.structure[name] for name in module.reads)

    shapes: dict[str, Any] = {
        "x": {0: nodes},
        "edge_index": {1: edges},
        "edge_attr": {0: edges},
        "batch": {0: nodes},
    }
    if module.reads:
        shapes["structure"] = tuple(next(size for end, size in sizes.items() if name.endswith(end)) for name in module.reads)
    exported = torch.export.export(module, arguments(SMALL), dynamic_shapes=shapes).module()
    for made in (SMALL, replace(LARGE, batch=LARGE.batch.clamp(max=SMALL.num_graphs - 1))):
        assert_close(exported(*arguments(made)), module(*arguments(made)))
