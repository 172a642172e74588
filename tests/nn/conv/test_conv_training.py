"""Models of torch_geometric and ordinary scripts around its layers, with and without `graphattn.accelerate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.explain import AttentionExplainer, Explainer
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv, GATv2Conv, GINEConv, GPSConv, MessagePassing, TransformerConv, global_add_pool
from torch_geometric.nn.models import GAT, Polynormer
from torch_geometric.utils import to_undirected

import graphattn
from graphattn.data import load_network_dataset

CLASSES = 7


class Net(nn.Module):
    """Two layers of 8 heads × 8, as in a tutorial."""

    def __init__(self, layer: type[nn.Module], features: int) -> None:
        super().__init__()
        self.conv1 = layer(features, 8, heads=8)
        self.conv2 = layer(8 * 8, 8, heads=8)
        self.lin = nn.Linear(8 * 8, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.elu(self.conv1(x, edge_index))
        x = F.elu(self.conv2(x, edge_index))
        return self.lin(x)


def fit(model: nn.Module, data: Data, epochs: int) -> list[float]:
    """The loss of every epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def drawn() -> Data:
    """A graph of Cora's size: edges mostly inside classes, and words that tell the class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (2_708,), generator=generator)
    pairs = torch.randint(2_708, (2, 60_000), generator=generator)
    pairs = pairs[:, (pairs[0] < pairs[1]) & ((y[pairs[0]] == y[pairs[1]]) | (pairs.sum(0) % 7 == 0))]
    edge_index = to_undirected(pairs.unique(dim=1)[:, :5_278])
    words = (torch.rand(2_708, 18, generator=generator) * 200).long() + 176 * y.unsqueeze(1)
    x = torch.zeros(2_708, 1_433).scatter_(1, words, 1.0)
    return Data(x=x, y=y, edge_index=edge_index, train_mask=torch.arange(2_708) < 140)


def cora(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setenv("GRAPHATTN_DATA", str(real_data))
    loaded = load_network_dataset("cora")
    data = loaded.data
    data.x, data.train_mask = data.x.to_dense(), torch.zeros(data.num_nodes, dtype=torch.bool)
    data.train_mask[torch.from_numpy(loaded.split["train"])] = True
    return data


def assert_same_curves(layer: type[nn.Module], data: Data, epochs: int) -> None:
    """The script as it is, and again with one line more."""
    torch.manual_seed(12345)
    model = Net(layer, data.num_features)
    expected = fit(model, data, epochs)

    torch.manual_seed(12345)
    model = graphattn.accelerate(Net(layer, data.num_features))
    assert graphattn.why_not_fused(model.conv1, data.x, data.edge_index) is None
    found = fit(model, data, epochs)

    assert expected[-1] < 0.9 * expected[0]
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("layer", [GATConv, GATv2Conv, TransformerConv])
def test_the_loss_curve_stays_the_same(layer: type[nn.Module]) -> None:
    data = drawn()
    assert (data.num_nodes, data.num_edges) == (2_708, 10_556)
    assert_same_curves(layer, data, epochs=15)


def test_the_loss_curve_stays_the_same_on_cora(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_curves(GATConv, cora(real_data, monkeypatch), epochs=60)


def random_graph(nodes: int = 40, edges: int = 160, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, 16, generator=generator, dtype=torch.float64)
    return x, torch.randint(nodes, (2, edges), generator=generator)


def assert_same_model(model: nn.Module, swapped: int, *arguments: Any, **keywords: Any) -> None:
    """Outputs and gradients before and after `accelerate`, and after it is undone."""
    before = outcome(model, arguments, keywords)
    _, report = graphattn.accelerate(model, report=True)
    assert len(report.swapped) == swapped, str(report)
    after = outcome(model, arguments, keywords)
    graphattn.accelerate(model, undo=True)
    again = outcome(model, arguments, keywords)
    for expected, *others in zip(before, after, again, strict=True):
        for found in others:
            assert torch.allclose(found, expected, rtol=1e-9, atol=1e-10)


def outcome(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[Tensor]:
    torch.manual_seed(0)
    out = model(*arguments, **keywords)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    parameters = list(model.parameters())
    return [out.detach(), *torch.autograd.grad(out, parameters, direction, allow_unused=True, materialize_grads=True)]


GATS: list[dict[str, Any]] = [
    {"out_channels": 5},
    {"out_channels": 5, "jk": "cat"},
    {"out_channels": 5, "jk": "lstm", "norm": "batch_norm"},
    {"edge_dim": 3, "add_self_loops": False, "residual": True},
]


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("options", GATS, ids=str)
def test_gat_model(options: dict[str, Any], v2: bool) -> None:
    torch.manual_seed(0)
    model = GAT(16, 16, num_layers=3, heads=2, v2=v2, **options).double()
    x, edge_index = random_graph()
    edge_attr = torch.randn(edge_index.shape[1], 3, dtype=torch.float64) if "edge_dim" in options else None
    assert_same_model(model, 3, x, edge_index, edge_attr=edge_attr)


# torch_geometric's global part takes one head.
@pytest.mark.parametrize(("is_global", "heads"), [(False, 2), (True, 1)], ids=["local", "global"])
def test_polynormer(is_global: bool, heads: int) -> None:
    torch.manual_seed(0)
    model = Polynormer(16, 8, 5, local_layers=2, global_layers=1, heads=heads, local_attn=True).double().eval()
    model._global = is_global
    x, edge_index = random_graph()
    assert_same_model(model, 2, x, edge_index, torch.arange(len(x)) // 10)


class GPS(nn.Module):
    """A network for graphs as torch_geometric's documentation builds it: GINEConv inside, and pooling."""

    def __init__(self, channels: int, num_layers: int, attn_type: str) -> None:
        super().__init__()
        self.node_emb, self.edge_emb = nn.Embedding(28, channels), nn.Embedding(4, channels)
        self.convs = nn.ModuleList()
        for _ in range(num_layers):
            mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
            self.convs.append(GPSConv(channels, GINEConv(mlp), heads=4, attn_type=attn_type, attn_kwargs={"dropout": 0.0}))
        self.mlp = nn.Sequential(nn.Linear(channels, channels // 2), nn.ReLU(), nn.Linear(channels // 2, 1))

    def forward(self, data: Data) -> Tensor:
        x, edge_attr = self.node_emb(data.x), self.edge_emb(data.edge_attr)
        for conv in self.convs:
            x = conv(x, data.edge_index, data.batch, edge_attr=edge_attr)
        return self.mlp(global_add_pool(x, data.batch))


@pytest.mark.parametrize("attn_type", ["multihead", "performer"])
def test_gps_network(attn_type: str) -> None:
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for nodes in (5, 9, 30, 2, 12):
        edge_index = torch.randint(nodes, (2, 3 * nodes), generator=generator)
        x, edge_attr = (torch.randint(size, (count,), generator=generator) for size, count in ((28, nodes), (4, 3 * nodes)))
        graphs.append(Data(x=x, edge_index=edge_index, edge_attr=edge_attr))
    batch = next(iter(DataLoader(graphs, batch_size=len(graphs))))
    torch.manual_seed(0)
    assert_same_model(GPS(16, 2, attn_type).double(), 2, batch)


@pytest.mark.parametrize("layer", [GATConv, GATv2Conv, TransformerConv])
def test_attention_explainer_gives_the_same_explanation(layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, (x, edge_index) = Net(layer, 16).double(), random_graph()

    def explain() -> Tensor:
        explainer = Explainer(
            model,
            AttentionExplainer(),
            explanation_type="model",
            edge_mask_type="object",
            model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
        )
        return explainer(x, edge_index, index=3).edge_mask

    expected = explain()
    graphattn.accelerate(model)
    assert torch.allclose(explain(), expected, rtol=1e-9)
    # Afterwards the layers are fused again.
    assert all(graphattn.why_not_fused(conv, conv_x(conv, x), edge_index) is None for conv in attention_layers(model))


def attention_layers(model: nn.Module) -> list[MessagePassing]:
    return [module for module in model.modules() if isinstance(module, MessagePassing)]


def conv_x(conv: MessagePassing, x: Tensor) -> Tensor:
    return x if conv.in_channels == x.shape[1] else x.new_zeros(x.shape[0], conv.in_channels)
