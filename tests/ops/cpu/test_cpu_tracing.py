"""The fused operator as torch sees it: its registration, torch.compile and torch.export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from cases.compare import assert_all_close, assert_close, gradients
from cases.graphs import bipartite
from cases.op import Tensors, attend, draw
from cases.settings import backend, fresh_compiler
from torch import Tensor, nn
from torch.export import Dim

from graphattn.ops import AdjacencyMask, BlockDiagonalMask, EdgeFeatures, attention, operator

MASK, LARGER = bipartite(), bipartite(12, 8, 90)
CASES = [
    ("dot", False, {}),
    ("dot", True, {}),
    ("additive", True, {}),
    ("static", False, {"normaliser": "sigmoid"}),
    ("dot", False, {"normaliser": "relu"}),
]


@pytest.fixture(autouse=True)
def _fused_and_a_fresh_compiler() -> Iterator[None]:
    with backend("cpu"), fresh_compiler():
        yield


@pytest.mark.parametrize(("score", "edge_attr", "options"), CASES, ids=str)
def test_registration(monkeypatch: pytest.MonkeyPatch, score: str, edge_attr: bool, options: dict[str, Any]) -> None:
    """torch's own checks, on the arguments that `attention` calls the operator with."""
    calls: list[tuple[Any, ...]] = []
    plain = operator.fused_attention

    def spy(*arguments: Any, value_weight: Tensor | None) -> Tensor:
        calls.append(arguments)
        return plain(*arguments, value_weight=value_weight)

    monkeypatch.setattr(operator, "fused_attention", spy)
    attend(draw(MASK, score, edge_attr=edge_attr), MASK, score, **options)
    (arguments,) = calls
    given = [
        part.detach().requires_grad_() if isinstance(part, Tensor) and part.is_floating_point() else part for part in arguments
    ]
    # All its tests: schema, autograd's registration, fake tensors, and traced against eager with gradients.
    torch.library.opcheck(torch.ops.graphattn.fused_attention.default, tuple(given))


def compare(function: Any, mask: Any, tensors: Tensors, score: str, **options: Any) -> None:
    """Output and all gradients of a compiled `attend` against those without compiling."""
    leaves = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    out, expected = function(leaves, mask), attend(leaves, mask, score, **options)
    assert_close(out, expected, "out")
    assert_all_close(*(gradients(y, list(leaves.values()), unused=False) for y in (out, expected)))


def compiled(score: str, **options: Any) -> Any:
    return torch.compile(
        lambda tensors, mask: attend(tensors, mask, score, **options), fullgraph=True, dynamic=True, backend="aot_eager"
    )


@pytest.mark.parametrize(("score", "edge_attr", "options"), CASES, ids=str)
def test_compile(score: str, edge_attr: bool, options: dict[str, Any]) -> None:
    function = compiled(score, **options)
    for mask in (MASK, LARGER):
        compare(function, mask, draw(mask, score, edge_attr=edge_attr), score, **options)


def test_compile_with_dropout() -> None:
    options = {"dropout": 0.4, "seed": torch.tensor(5)}
    function = compiled("dot", **options)
    for mask in (MASK, LARGER):
        compare(function, mask, draw(mask), "dot", **options)


@pytest.mark.parametrize("layout", ["packed", "shared", "block"])
def test_compile_other_layouts(layout: str) -> None:
    function = compiled("dot")
    for nodes, edges in ((5, 20), (7, 30)):
        square = bipartite(nodes, nodes, edges)
        tensors = draw(square, shape=(2, 3, 3))
        mask: AdjacencyMask | BlockDiagonalMask = square
        if layout == "packed":
            tensors = {"qkv": torch.stack([tensors[name] for name in ("query", "key", "value")], 1), "bias": tensors["bias"]}
        elif layout == "shared":
            del tensors["value"]
        else:
            mask = BlockDiagonalMask.from_batch(torch.arange(nodes) % 2)
            del tensors["bias"]
        compare(function, mask, tensors, "dot")


class Block(nn.Module):
    """From an edge list to attention, as in a model."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.key_weight, self.value_weight = (
            nn.Parameter(torch.randn(2, channels, 2, generator=generator, dtype=torch.float64)) for channels in (3, 4)
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, edge_index: Tensor, attr: Tensor) -> Tensor:
        mask = AdjacencyMask.from_edge_index(edge_index, (key.shape[0], query.shape[0]))
        out = attention(query, key, value, mask, edge_attr=EdgeFeatures(attr, self.key_weight, self.value_weight))
        assert isinstance(out, Tensor)
        return out


def test_export_with_changed_sizes() -> None:
    def arguments(mask: AdjacencyMask) -> tuple[Tensor, ...]:
        tensors = draw(mask, edge_attr=True)
        return *(tensors[name] for name in ("query", "key", "value")), torch.stack([mask.source, mask.target]), tensors["attr"]

    targets, sources, edges = Dim("targets"), Dim("sources"), Dim("edges")
    module = Block()
    exported = torch.export.export(
        module, arguments(MASK), dynamic_shapes=({0: targets}, {0: sources}, {0: sources}, {1: edges}, {0: edges})
    )
    graphs = [part.graph for part in exported.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    assert any("graphattn.fused_attention" in str(node.target) for traced in graphs for node in traced.nodes)
    for mask in (MASK, LARGER):
        given = arguments(mask)
        assert_close(exported.module()(*given), module(*given))
