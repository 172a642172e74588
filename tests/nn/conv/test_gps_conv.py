"""GPSConv against torch_geometric's: outputs, all gradients and running statistics, with shared weights."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch_geometric.nn
from helpers import machine
from torch import Tensor, nn
from torch_geometric.nn import GINConv, GINEConv
from torch_geometric.nn.conv import gps_conv as their_module

import graphattn
from graphattn.nn.conv import GPSConv, gps_conv

CHANNELS, HEADS = 16, 2
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
# A norm may cancel these: their gradients are sums over nodes that are zero but for rounding, and that grows with the terms.
CANCELLED = ("attn.in_proj_bias", "attn.out_proj.bias", "mlp.3.bias", "conv.nn.2.bias")
EVEN, SKEWED, HOLES = (5,) * 6, (2, 3, 2, 40, 1, 4), (0, 3, 0, 4, 1)


def make(kind: type[nn.Module], dtype: torch.dtype = torch.float64, conv: str | None = None, **options: Any) -> nn.Module:
    """A layer with every parameter moved off its initial value, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        local = None
        if conv is not None:
            mlp = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.ReLU(), nn.Linear(CHANNELS, CHANNELS))
            local = GINConv(mlp) if conv == "gin" else GINEConv(mlp, edge_dim=3)
        layer = kind(CHANNELS, local, **{"heads": HEADS, **options}).to(dtype)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
    return layer


def pair(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.Module, nn.Module]:
    """torch_geometric's layer, and ours that has loaded its state."""
    theirs, ours = make(torch_geometric.nn.GPSConv, dtype, **options), make(GPSConv, dtype, **options)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def problem(sizes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, edges inside the graphs, and the number of each node's graph."""
    generator = torch.Generator().manual_seed(1)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    ends = torch.randint(len(batch), (2, 6 * len(batch)), generator=generator)
    x = torch.randn(len(batch), CHANNELS, generator=generator, dtype=torch.float64).to(dtype)
    return x, ends[:, batch[ends[0]] == batch[ends[1]]], batch


def outcome(layer: nn.Module, x: Tensor, *arguments: Any, seed: int = 0, **keywords: Any) -> dict[str, Tensor]:
    """Output, gradients of x and all parameters, and the state afterwards, which holds the running statistics."""
    x = x.detach().clone().requires_grad_()
    torch.manual_seed(seed)
    out = layer(x, *arguments, **keywords)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(out.dtype)
    wanted = {"x": x, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(out, list(wanted.values()), direction, allow_unused=True, materialize_grads=True)
    state = {f"state {name}": value for name, value in layer.state_dict().items()}
    return {"output": out.detach()} | dict(zip(wanted, gradients, strict=True)) | state


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal within 1e-5 or 1e-9 of the largest number; a sum that cancels, of the largest gradient of a node."""
    assert list(actual) == list(expected)
    of_a_node = max(float(expected["x"].abs().max()), 1.0)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        if value.is_floating_point():
            largest = max(float(value.abs().max()), of_a_node if name in CANCELLED else 0.0)
            error, allowed = float((actual[name] - value).abs().max()), TOLERANCE[value.dtype] * largest
            assert error <= allowed, f"{name}: {error:.3g} apart, {allowed:.3g} allowed; {machine()}"


@contextmanager
def no_padding() -> Iterator[None]:
    """Nothing may be padded meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (gps_conv, their_module):
            patch.setattr(module, "to_dense_batch", lambda *_: pytest.fail("it was padded"))
        yield


NORMS: list[dict[str, Any]] = [
    {},
    {"norm": None},
    {"norm": "layer_norm"},
    {"norm": "layer_norm", "norm_kwargs": {"mode": "node"}},
    {"norm": "graph_norm"},
    {"norm": "instance_norm"},
    {"norm": "pair_norm"},
    {"norm": "batch_norm", "norm_kwargs": {"momentum": 0.3}},
]
OPTIONS: list[dict[str, Any]] = [
    *NORMS,
    {"heads": 1},
    {"heads": 4},
    {"conv": "gin"},
    {"conv": "gin", "norm": "graph_norm"},
    {"act": "gelu", "dropout": 0.5},
    {"conv": "gin", "act": "leaky_relu", "act_kwargs": {"negative_slope": 0.3}, "dropout": 0.2},
    {"attn_kwargs": {"bias": False}},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_numbers(options: dict[str, Any], training: bool, dtype: torch.dtype) -> None:
    """Dropout outside the attention draws the same numbers as torch_geometric's, from the same seed."""
    theirs, ours = (layer.train(training) for layer in pair(dtype, **options))
    given = problem(SKEWED, dtype)
    expected = outcome(theirs, *given)
    with no_padding():
        assert_same(outcome(ours, *given), expected)
    assert graphattn.why_not_fused(ours, *given) is None
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert torch.allclose(theirs.eval()(*given), ours.eval()(*given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [EVEN, SKEWED, HOLES, (7,), (1,) * 5], ids=str)
@pytest.mark.parametrize("options", [{"norm": None}, {"conv": "gin"}, {"norm": "layer_norm"}], ids=str)
def test_batches(sizes: tuple[int, ...], options: dict[str, Any]) -> None:
    theirs, ours = pair(**options)
    given = problem(sizes)
    expected = outcome(theirs, *given)
    with no_padding():
        assert_same(outcome(ours, *given), expected)


@pytest.mark.parametrize("backend", ["auto", "cpu"])
@pytest.mark.parametrize("nodes", [1, 9, 700])
def test_without_batch_all_nodes_are_one_graph(nodes: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
    theirs, ours = pair(norm="layer_norm")
    x, edge_index, _ = problem((nodes,))
    expected = outcome(theirs, x, edge_index)
    with no_padding():
        assert_same(outcome(ours, x, edge_index), expected)
    assert graphattn.why_not_fused(ours, x, edge_index) is None


def test_arguments_of_the_local_part_are_passed_on() -> None:
    theirs, ours = pair(conv="gine")
    x, edge_index, batch = problem(SKEWED)
    edge_attr = torch.randn(edge_index.shape[1], 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = outcome(theirs, x, edge_index, batch, edge_attr=edge_attr)
    assert_same(outcome(ours, x, edge_index, batch=batch, edge_attr=edge_attr), expected)


FALLBACKS: list[tuple[str, dict[str, Any]]] = [
    ("PerformerAttention", {"attn_type": "performer"}),
    ("PerformerAttention", {"attn_type": "performer", "conv": "gin", "attn_kwargs": {"qkv_bias": True, "head_channels": 4}}),
    ("add_bias_kv", {"attn_kwargs": {"add_bias_kv": True}}),
    ("add_zero_attn", {"attn_kwargs": {"add_zero_attn": True}}),
    ("dropout", {"attn_kwargs": {"dropout": 1.0}}),
]


@pytest.mark.parametrize(("reason", "options"), FALLBACKS, ids=str)
def test_what_only_torch_geometric_computes(reason: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(norm="layer_norm", **options)
    if options.get("attn_type") == "performer":  # its random features are no parameters
        ours.attn.fast_attn.projection_matrix = theirs.attn.fast_attn.projection_matrix
    given = problem(SKEWED)
    assert_same(outcome(ours, *given), outcome(theirs, *given))
    assert reason in graphattn.why_not_fused(ours, *given)


ORDERS: list[dict[str, Any]] = [{}, {"attn_kwargs": {"add_zero_attn": True}}, {"attn_type": "performer"}]


@pytest.mark.parametrize("options", [{**more, **norm} for more in ORDERS for norm in ({}, {"norm": "graph_norm"})], ids=str)
def test_an_unsorted_batch_gives_the_answer_of_the_sorted_one(options: dict[str, Any]) -> None:
    """On the fused path and on the padded one."""
    theirs, ours = pair(conv="gin", **options)
    if options.get("attn_type") == "performer":
        ours.attn.fast_attn.projection_matrix = theirs.attn.fast_attn.projection_matrix
    x, edge_index, batch = problem(SKEWED)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    moved = x[order], order.argsort()[edge_index], batch[order]
    theirs.eval()
    ours.eval()
    expected = theirs(x, edge_index, batch)[order]
    assert torch.allclose(ours(*moved), expected, rtol=1e-9)


def test_an_unsorted_batch_is_where_torch_geometric_differs() -> None:
    """It puts node 0, of graph 1, into graph 0, and says nothing; other orders raise an error."""
    theirs, ours = pair(norm=None)
    x, edge_index, _ = problem((6,))
    batch = torch.tensor([1, 0, 1, 1, 1, 1])
    order = batch.argsort(stable=True)
    expected = theirs(x[order], edge_index, batch[order])[order.argsort()]
    assert torch.allclose(ours(x, edge_index, batch), expected)
    assert not torch.allclose(theirs(x, edge_index, batch), expected, rtol=1e-2)


def test_hooks_on_the_attention_are_run() -> None:
    theirs, ours = pair(norm=None)
    given = problem(SKEWED)
    for layer in (theirs, ours):
        layer.attn.register_forward_hook(lambda module, inputs, out: (2 * out[0], out[1]))
    assert_same(outcome(ours, *given), outcome(theirs, *given))
    assert "as it was made" in graphattn.why_not_fused(ours, *given)


@pytest.mark.parametrize("part", ["attn", "attn.out_proj"])
def test_adapters_of_the_attention_are_used(part: str) -> None:
    class Adapter(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    theirs, ours = pair(norm=None)
    given = problem(SKEWED)
    for layer in (theirs, ours):
        name = "in_proj_weight" if part == "attn" else "weight"
        nn.utils.parametrize.register_parametrization(layer.get_submodule(part), name, Adapter())
    assert_same(outcome(ours, *given), outcome(theirs, *given))
    assert "as it was made" in graphattn.why_not_fused(ours, *given)


BAD: list[Any] = [
    lambda x, edge_index, batch: (x[:, 1:], edge_index, batch),
    lambda x, edge_index, batch: (x.unsqueeze(0), edge_index),
    lambda x, edge_index, batch: (x.float(), edge_index, batch),
    lambda x, edge_index, batch: (x.long(), edge_index, batch),
    lambda x, edge_index, batch: (x[:0], edge_index[:, :0], batch[:0]),
    lambda x, edge_index, batch: (x[:0], edge_index[:, :0]),
    lambda x, edge_index, batch: (x, edge_index, batch[1:]),
    lambda x, edge_index, batch: (x, edge_index, torch.cat([batch, batch[-1:]])),
    lambda x, edge_index, batch: (x, edge_index, batch.unsqueeze(0)),
    lambda x, edge_index, batch: (x, edge_index, batch - 1),
    lambda x, edge_index, batch: (x, edge_index, batch.double()),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_is_refused_is_refused_in_the_same_words(number: int) -> None:
    given = BAD[number](*problem(EVEN))
    expected, found = (refusal(layer, given) for layer in pair(norm=None))
    assert expected is not None
    assert type(found) is type(expected)
    assert str(found) == str(expected)


def refusal(layer: nn.Module, given: tuple[Any, ...]) -> Exception | None:
    try:
        layer(*given)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("sizes", [EVEN, (8,)], ids=str)
def test_attention_dropout_keeps_the_expectation_and_repeats_with_the_seed(sizes: tuple[int, ...]) -> None:
    layer = make(GPSConv, norm=None, attn_kwargs={"dropout": 0.3})
    layer.mlp = nn.Identity()  # so that the output is a linear function of the weights that were kept
    given = problem(sizes)
    assert graphattn.why_not_fused(layer, *given) is None
    with torch.no_grad():
        first, second = (outcome_of(layer, given, seed=1) for _ in range(2))
        assert torch.equal(first, second)
        draws = torch.stack([outcome_of(layer, given, seed) for seed in range(2000)])
        expected = layer.eval()(*given)
    error = draws.std(0) / len(draws) ** 0.5
    assert float(error.min()) > 0
    assert float(((draws.mean(0) - expected).abs() / error).max()) < 5


def outcome_of(layer: nn.Module, given: tuple[Tensor, ...], seed: int) -> Tensor:
    torch.manual_seed(seed)
    return layer(*given)


def test_attention_dropout_follows_the_mode_of_the_attention() -> None:
    """As in torch_geometric, where the MultiheadAttention looks at its own flag."""
    layer = make(GPSConv, norm=None, attn_kwargs={"dropout": 0.5})
    layer.attn.eval()
    given = problem(EVEN)
    assert torch.equal(outcome_of(layer, given, 0), outcome_of(layer, given, 1))


def test_autocast_gives_the_same_type() -> None:
    for options in ({"norm": None}, {"conv": "gin", "norm": "layer_norm"}, {}):
        theirs, ours = pair(torch.float32, **options)
        given = problem(SKEWED, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            expected, found = theirs(*given).detach(), ours(*given).detach()
            assert graphattn.why_not_fused(ours, *given) is None
        assert found.dtype == expected.dtype
        assert float((found - expected).abs().max() / expected.abs().max()) < 3e-2


def test_the_blocks_of_a_batch_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make_mask = [], gps_conv.BlockDiagonalMask._from_batch
    monkeypatch.setattr(gps_conv.BlockDiagonalMask, "_from_batch", lambda *given: (made.append(1), make_mask(*given))[1])
    ours = make(GPSConv)
    x, edge_index, batch = problem(EVEN)
    for _ in range(3):
        ours(x, edge_index, batch)
    assert len(made) == 1
    batch[0] = 1
    ours(x, edge_index, batch)
    assert len(made) == 2


def test_it_is_the_same_module_to_look_at() -> None:
    theirs, ours = pair(conv="gin")
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, torch_geometric.nn.GPSConv)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    given = problem(SKEWED)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(other) is GPSConv
        assert torch.equal(other.eval()(*given), ours.eval()(*given))
