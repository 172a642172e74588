"""`accelerate` swaps exactly torch_geometric's layers, in place, and gives them back; `why_not_fused` answers for each."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import torch_geometric.nn
from torch import Tensor, nn
from torch_geometric.explain import AttentionExplainer, Explainer
from torch_geometric.nn.models import GAT, Polynormer

import graphattn
from graphattn.nn import conv
from graphattn.nn.accelerate import Report

NODES, WIDTH = 12, 6
NAMES = ("GATConv", "GATv2Conv", "TransformerConv", "GPSConv")


class Mine(torch_geometric.nn.GATConv):
    """A user's subclass."""


class Network(nn.Module):
    """All layers that are swapped, and some that are not; one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        shared = torch_geometric.nn.GATConv(WIDTH, WIDTH)
        self.twice = nn.ModuleList([shared, shared])
        self.blocks = nn.ModuleDict({"v2": torch_geometric.nn.GATv2Conv(WIDTH, WIDTH)})
        self.gps = torch_geometric.nn.GPSConv(WIDTH, torch_geometric.nn.TransformerConv(WIDTH, 3, heads=2), heads=2, norm=None)
        self.mine = Mine(WIDTH, WIDTH)
        self.gcn = torch_geometric.nn.GCNConv(WIDTH, WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for layer in (*self.twice, self.blocks["v2"], self.gps, self.mine, self.gcn):
            x = layer(x, edge_index)
        return x


SWAPPED = {"twice.0": "GATConv", "blocks.v2": "GATv2Conv", "gps": "GPSConv", "gps.conv": "TransformerConv"}


def graph() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(NODES, WIDTH, generator=generator), torch.randint(NODES, (2, 40), generator=generator)


def assert_same_step(first: nn.Module, second: nn.Module, *given: Any) -> None:
    """Outputs, and gradients of all parameters."""
    outputs = []
    for model in (first, second):
        model.zero_grad()
        out = model(*given)
        out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
        outputs.append(out)
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-5)
    others = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(parameter.grad, others[name].grad, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: n + text)


def test_swap_and_undo() -> None:
    model, (x, edge_index) = Network(), graph()
    original = copy.deepcopy(model)
    parameters, modules, shown = list(model.parameters()), list(model.modules()), repr(model)
    assert graphattn.accelerate(model) is model
    for path, name in SWAPPED.items():
        layer = model.get_submodule(path)
        assert type(layer) is getattr(conv, name)
        assert isinstance(layer, getattr(torch_geometric.nn, name))
        assert graphattn.why_not_fused(layer, x, edge_index) is None
    assert model.twice[0] is model.twice[1]
    assert type(model.mine) is Mine
    assert repr(model) == shown
    for before, after in ((parameters, list(model.parameters())), (modules, list(model.modules()))):
        assert len(before) == len(after)
        assert all(one is other for one, other in zip(before, after, strict=True))
    assert_same_step(model, original, x, edge_index)
    original.load_state_dict(model.state_dict())
    model.load_state_dict(original.state_dict())
    assert graphattn.accelerate(model, undo=True) is model
    for path, name in SWAPPED.items():
        assert type(model.get_submodule(path)) is getattr(torch_geometric.nn, name)
    assert_same_step(model, original, x, edge_index)


def test_report() -> None:
    model = Network()
    same, report = graphattn.accelerate(model, report=True)
    assert same is model
    left = {
        "mine": "Mine is a subclass of GATConv, and only torch_geometric's own class is swapped",
        "gcn": "there is no fused GCNConv",
    }
    assert report == Report(SWAPPED, left)
    assert str(report).splitlines() == [
        "swapped 4, left 2",
        "  swapped twice.0: GATConv",
        "  swapped blocks.v2: GATv2Conv",
        "  swapped gps: GPSConv",
        "  swapped gps.conv: TransformerConv",
        "  left mine: Mine is a subclass of GATConv, and only torch_geometric's own class is swapped",
        "  left gcn: there is no fused GCNConv",
    ]
    again = graphattn.accelerate(model, report=True)[1]
    assert not again.swapped
    assert again.left == {**left, **{path: f"it is graphattn's {name} already" for path, name in SWAPPED.items()}}
    undone = graphattn.accelerate(model, undo=True, report=True)[1]
    assert undone == Report(SWAPPED, left)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_may_be_a_layer(name: str) -> None:
    options: tuple[Any, ...] = (WIDTH, None) if name == "GPSConv" else (WIDTH, 2)
    layer = getattr(torch_geometric.nn, name)(*options)
    own = f"it is torch_geometric's own {name}, which graphattn.accelerate swaps"
    assert graphattn.why_not_fused(layer, *graph()) == own
    swapped, report = graphattn.accelerate(layer, report=True)
    assert swapped is layer
    assert report.swapped == {"the model": name}
    assert type(layer) is getattr(conv, name)
    assert graphattn.why_not_fused(layer, *graph()) is None


def test_a_subclass_says_why() -> None:
    reason = graphattn.why_not_fused(Mine(WIDTH, WIDTH), *graph())
    assert reason == "Mine is a subclass of GATConv, and only torch_geometric's own class is swapped"


def test_bad_input() -> None:
    with pytest.raises(graphattn.InputError, match=r"^model must be a torch\.nn\.Module, got str$"):
        graphattn.accelerate("model")  # type: ignore[type-var]
    names = "GATConv, GATv2Conv, TransformerConv, GPSConv"
    with pytest.raises(graphattn.InputError, match=rf"^layer must be one of {names}, got Linear$"):
        graphattn.why_not_fused(nn.Linear(2, 2), *graph())


def test_hooks_buffers_and_modes_survive() -> None:
    layer, (x, edge_index) = torch_geometric.nn.GATConv(WIDTH, 2), graph()
    calls: list[str] = []
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    layer.register_forward_hook(lambda *_: calls.append("after"))
    layer.lin.register_full_backward_hook(lambda *_: calls.append("backward of lin"))
    layer.register_buffer("extra", torch.ones(2))
    layer.att_src.requires_grad_(False)
    layer.eval()
    graphattn.accelerate(layer)
    layer(x.requires_grad_(), edge_index).sum().backward()
    assert calls == ["before", "after", "backward of lin"]
    assert not layer.training
    assert layer.att_src.grad is None
    assert layer.extra.sum() == 2


def test_copies_and_pickles() -> None:
    model, given = graphattn.accelerate(Network()), graph()
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(stream, weights_only=False)):
        assert type(again.twice[0]) is conv.GATConv
        assert_same_step(again, model, *given)
        assert type(graphattn.accelerate(again, undo=True).gps.conv) is torch_geometric.nn.TransformerConv
        assert_same_step(again, model, *given)


@pytest.mark.parametrize("v2", [False, True])
def test_gat_model(v2: bool) -> None:
    (x, edge_index), edge_attr = graph(), torch.randn(40, 3)
    model = GAT(WIDTH, 8, num_layers=3, out_channels=4, heads=2, v2=v2, edge_dim=3, residual=True, norm="layer_norm")
    fast, report = graphattn.accelerate(copy.deepcopy(model), report=True)
    assert len(report.swapped) == 3
    for layer, width in zip(fast.convs, (WIDTH, 8, 8), strict=True):
        assert graphattn.why_not_fused(layer, torch.zeros(NODES, width), edge_index, edge_attr=edge_attr) is None
    assert_same_step(fast, model, x, edge_index, None, edge_attr)


def test_polynormer() -> None:
    x, edge_index = graph()
    model = Polynormer(WIDTH, 4, 3, local_layers=2, global_layers=1, heads=2, local_attn=True).eval()
    fast, report = graphattn.accelerate(copy.deepcopy(model), report=True)
    assert set(report.swapped) == {"local_convs.0", "local_convs.1"}
    torch.testing.assert_close(fast(x, edge_index, None), model(x, edge_index, None), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES[:3])
def test_attention_explainer(name: str) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kind = getattr(torch_geometric.nn, name)
            self.first, self.second = kind(WIDTH, 4, heads=2), kind(8, 3, heads=1)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.second(self.first(x, edge_index).relu(), edge_index)

    model, (x, edge_index) = Classifier().eval(), graph()
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    config = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    masks = []
    for explained in (graphattn.accelerate(copy.deepcopy(model)), model):
        explainer = Explainer(
            explained, AttentionExplainer(), explanation_type="model", edge_mask_type="object", model_config=config
        )
        masks.append(explainer(x, edge_index, index=2).edge_mask)
    assert masks[0].any()
    torch.testing.assert_close(masks[0], masks[1])
