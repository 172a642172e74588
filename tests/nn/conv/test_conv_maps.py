"""Linear maps of a drop-in layer that are hooked, adapted, parametrised or pruned: they are called as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conv_pairs import EDGE_DIM, LAYERS, NODES, OUT, WIDTH, arguments, assert_same, pair
from helpers import machine, threads
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import graphattn
from graphattn.nn import conv


class Adapter(nn.Module):
    """Stands for whatever replaces a linear map: quantised, low-rank adapted."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear, self.calls = linear, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * self.linear(x)


def adapt(layer: Any, name: str) -> Callable[[], int]:
    adapter = Adapter(getattr(layer, name))
    setattr(layer, name, adapter)
    return lambda: adapter.calls


def hook(layer: Any, name: str) -> Callable[[], int]:
    calls: list[int] = []
    getattr(layer, name).register_forward_hook(lambda module, given, out: calls.append(1) or 2 * out)
    return lambda: len(calls)


def parametrise(layer: Any, name: str) -> Callable[[], int]:
    parametrizations.weight_norm(getattr(layer, name))
    return lambda: 1


def cut(layer: Any, name: str) -> Callable[[], int]:
    prune.l1_unstructured(getattr(layer, name), "weight", 0.5)
    return lambda: 1


@pytest.mark.parametrize("change", [adapt, hook, parametrise, cut])
@pytest.mark.parametrize(
    ("name", "child"), [("GATConv", "lin"), ("GATv2Conv", "lin_l"), ("GATv2Conv", "lin_r"), ("TransformerConv", "lin_value")]
)
def test_a_changed_map_is_called_as_it_is(name: str, child: str, change: Callable[[Any, str], Callable[[], int]]) -> None:
    """It is no reason to fall back: the attention is fused around it."""
    (ours, theirs), given = pair(name), arguments()
    calls = [change(layer, child) for layer in (ours, theirs)]
    assert graphattn.why_not_fused(ours, *given) is None
    assert_same(ours, theirs, given)
    assert [count() for count in calls] == [1, 1]


def test_a_map_that_gives_other_rows() -> None:
    """The kernels would read beyond the rows that there are."""
    layer = conv.GATConv(WIDTH, OUT)
    layer.lin.register_forward_hook(lambda module, given, out: out[:-1])
    with pytest.raises(graphattn.InputError, match=f"must give a row of heads and channels for each of {NODES} nodes$"):
        layer(*arguments())


@pytest.mark.parametrize("change", [adapt, hook, parametrise])
@pytest.mark.parametrize("name", LAYERS)
def test_a_changed_map_of_edge_features(name: str, change: Callable[[Any, str], Callable[[], int]]) -> None:
    """The kernels multiply with its weight, so it must be nothing else."""
    (ours, theirs), given = pair(name, edge_dim=EDGE_DIM), arguments(features=True)
    assert graphattn.why_not_fused(ours, *given) is None
    for layer in (ours, theirs):
        change(layer, "lin_edge")
    assert graphattn.why_not_fused(ours, *given) == "lin_edge is not a plain linear map"
    assert_same(ours, theirs, given)


@pytest.mark.parametrize("name", ["att_src", "att_dst"])
def test_the_gradient_of_an_attention_vector_has_the_same_bits_for_any_number_of_threads(name: str) -> None:
    """On more nodes than one chunk of rows. The projection is torch's product, exact here: in whole numbers and eighths."""
    generator = torch.Generator().manual_seed(0)
    x, edge_index = (
        torch.randint(-4, 5, (1000, WIDTH), generator=generator),
        torch.randint(1000, (2, 5000), generator=generator),
    )
    x, layer, found = x.float(), conv.GATConv(WIDTH, 8, heads=4), []
    layer.lin.weight.data = (layer.lin.weight.data * 8).round() / 8
    for number in (1, 2, 4):
        with threads(number):
            found.append(torch.autograd.grad(layer(x, edge_index).square().sum(), getattr(layer, name))[0])
    assert torch.equal(found[0], found[1]), machine()
    assert torch.equal(found[0], found[2]), machine()
