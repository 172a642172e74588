"""torch.onnx knows no operator of ours: meanwhile accelerated layers run torch_geometric's code, ours the plain formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn
from cases.compare import assert_close
from torch import nn

import graphattn
from graphattn.nn import MaskedSelfAttention

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2, 3, 1, 5, 5], [1, 1, 3, 3, 2, 0, 5]])
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "gat": lambda: torch_geometric.nn.GATConv(8, 4, heads=2),
    "gatv2": lambda: torch_geometric.nn.GATv2Conv(8, 4, heads=2),
    "transformer": lambda: torch_geometric.nn.TransformerConv(8, 4, heads=2),
    "gps": lambda: torch_geometric.nn.GPSConv(8, torch_geometric.nn.GATConv(8, 4, heads=2), heads=2),
    "masked": lambda: MaskedSelfAttention(8, 8, heads=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_no_operator_of_ours_is_exported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = graphattn.accelerate(LAYERS[name]().eval())

    def operators() -> set[str]:
        graphs = [part.graph for part in torch.export.export(layer, (X, EDGES)).graph_module.modules()]
        targets = {str(node.target) for graph in graphs for node in graph.nodes}
        return {target for target in targets if target.startswith("graphattn.")}

    assert operators()
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert operators() == set()
    assert_close(torch.export.export(layer, (X, EDGES)).module()(X, EDGES), layer(X, EDGES))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of onnxscript and torch.onnx, about themselves
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["gat", "masked"])
def test_onnx(name: str) -> None:
    pytest.importorskip("onnxscript", reason="exporting to ONNX needs onnx and onnxscript")
    from onnx.reference import ReferenceEvaluator

    layer = graphattn.accelerate(LAYERS[name]().eval())
    program: Any = torch.onnx.export(layer, (X, EDGES), dynamo=True, verbose=False)
    feeds = {"x": X.numpy(), "edge_index": EDGES.numpy()}
    (out,) = ReferenceEvaluator(program.model_proto).run(None, feeds)
    assert_close(torch.tensor(out), layer(X, EDGES))
