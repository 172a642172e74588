"""Where only torch_geometric's own code serves: the drop-in layers run it, say which condition it was, and give its numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch_geometric.nn
from conv_pairs import EDGE_DIM, EDGES, HEADS, LAYERS, NODES, OUT, WIDTH, arguments, assert_same, pair
from torch import Tensor, nn
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

import graphattn
from graphattn.nn import conv

HOOKS = [f"register_{step}_forward_{kind}" for step in ("propagate", "message", "aggregate") for kind in ("pre_hook", "hook")]
EDGE_HOOKS = ["register_edge_update_forward_pre_hook", "register_edge_update_forward_hook"]


@pytest.mark.parametrize(
    ("name", "register"), [(name, hook) for name in LAYERS for hook in HOOKS + EDGE_HOOKS * (name != "TransformerConv")]
)
def test_hooks_of_message_passing_run(name: str, register: str) -> None:
    """They are called as torch_geometric calls them; once they are gone the layer is fused again."""
    (ours, theirs), given, calls = pair(name), arguments(), []

    def doubled(module: nn.Module, *seen: Any) -> Any:
        calls.append(module)
        return 2 * seen[1] if len(seen) > 1 else None

    handles = [getattr(layer, register)(doubled) for layer in (ours, theirs)]
    reason = graphattn.why_not_fused(ours, *given)
    assert reason == f"a {register.removeprefix('register_')} is set"
    assert_same(ours, theirs, given)
    assert calls == [ours, theirs]
    handles[0].remove()
    assert graphattn.why_not_fused(ours, *given) is None


@pytest.mark.parametrize("make", ["constructor", "accelerate", "deepcopy"])
@pytest.mark.parametrize("name", LAYERS)
def test_explain_mode(name: str, make: str) -> None:
    """An edge mask weighs messages, and gets a gradient; afterwards the layer is fused again."""
    (ours, theirs), given = pair(name), arguments()
    if make != "constructor":
        ours = graphattn.accelerate(copy.deepcopy(theirs))
        ours = copy.deepcopy(ours) if make == "deepcopy" else ours
    gradients = []
    for layer in (ours, theirs):
        weights = torch.linspace(-1, 1, EDGES, requires_grad=True)
        set_masks(layer, weights, given[1])
        out = layer(*given)
        out.backward(torch.ones_like(out).cumsum(0))
        gradients.append(weights.grad)
    assert graphattn.why_not_fused(ours, *given) == "explain mode is on"
    assert_same(ours, theirs, given)
    assert gradients[0] is not None
    assert gradients[0].any()
    torch.testing.assert_close(gradients[0], gradients[1])
    clear_masks(ours)
    clear_masks(theirs)
    assert graphattn.why_not_fused(ours, *given) is None
    assert_same(ours, theirs, given)


@pytest.mark.parametrize("aggr", ["mean", "max", ["add", "mean"]])
@pytest.mark.parametrize("name", LAYERS)
def test_other_aggregations(name: str, aggr: Any) -> None:
    (ours, theirs), given = pair(name, aggr=aggr, concat=False), arguments()
    reason = graphattn.why_not_fused(ours, *given)
    assert reason is not None
    assert reason.startswith("the aggregation is not the default: M")
    if isinstance(aggr, str):
        assert_same(ours, theirs, given)


def test_a_hooked_aggregation() -> None:
    (ours, theirs), given, calls = pair("GATConv"), arguments(), []
    for layer in (ours, theirs):
        layer.aggr_module.register_forward_hook(lambda module, _, out: calls.append(module) or 3 * out)
    assert_same(ours, theirs, given)
    assert calls == [ours.aggr_module, theirs.aggr_module]


@pytest.mark.parametrize("name", LAYERS)
def test_weights_are_returned_as_torch_geometric_returns_them(name: str) -> None:
    (ours, theirs), given = pair(name), arguments()
    assert graphattn.why_not_fused(ours, *given, return_attention_weights=True) == "the attention weights are wanted"
    found, expected = (layer(*given, return_attention_weights=True) for layer in (ours, theirs))
    torch.testing.assert_close(found[0], ours(*given))
    torch.testing.assert_close(found, expected)


# Said by torch at the first sparse matrix that torch_geometric makes.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
def test_weights_on_a_sparse_matrix() -> None:
    (ours, theirs), x = pair("GATConv", add_self_loops=False), arguments()[0]
    adjacency = torch.eye(NODES).roll(1, 0).to_sparse_csr()
    (_, (found, _)), (_, (expected, _)) = (layer(x, adjacency, return_attention_weights=True) for layer in (ours, theirs))
    assert found.layout == torch.sparse_csr
    torch.testing.assert_close(found.values(), expected.values())


@pytest.mark.parametrize("name", LAYERS)
def test_hooks_of_all_modules_run(name: str) -> None:
    """They see each linear map inside a layer, as they see torch_geometric's."""
    (ours, theirs), given, calls = pair(name, edge_dim=EDGE_DIM), arguments(features=True), []

    def doubled(module: nn.Module, _: Any, out: Any) -> Any:
        calls.append(module)
        return 2 * out if "Linear" in type(module).__name__ else None

    handle = nn.modules.module.register_module_forward_hook(doubled)
    try:
        assert_same(ours, theirs, given)
    finally:
        handle.remove()
    linears = [module for module in theirs.modules() if "Linear" in type(module).__name__]
    assert set(linears) <= set(calls)
    assert {module for module in ours.modules() if "Linear" in type(module).__name__} <= set(calls)


class OwnMessageAndAggregate(conv.TransformerConv):
    def message_and_aggregate(self, edge_index: Any) -> Tensor:
        return torch.full((NODES, HEADS, OUT), 3.0)


def test_an_own_message_and_aggregate() -> None:
    layer = OwnMessageAndAggregate(WIDTH, OUT, heads=HEADS)
    reason = graphattn.why_not_fused(layer, *arguments())
    assert reason == "OwnMessageAndAggregate has its own message_and_aggregate"


def test_a_size_with_a_number_left_open() -> None:
    (ours, theirs), (x, edge_index) = pair("GATConv", add_self_loops=False), arguments()
    given = ((x, None), edge_index, None, (NODES, None))
    assert graphattn.why_not_fused(ours, *given) == f"size is ({NODES}, None), with a number left open"
    torch.testing.assert_close(ours(*given), theirs(*given))


@pytest.mark.parametrize("name", LAYERS)
def test_another_node_dim(name: str) -> None:
    layer = pair(name)[0]
    layer.node_dim = -2
    assert graphattn.why_not_fused(layer, *arguments()) == "node_dim is -2"


def test_without_edges_the_map_of_their_features_has_no_gradient() -> None:
    """An optimiser leaves a parameter without a gradient alone, where it would decay one whose gradient is zero."""
    for layer in pair("GATConv", edge_dim=EDGE_DIM, add_self_loops=False):
        layer(torch.randn(NODES, WIDTH), torch.empty(2, 0, dtype=torch.long), torch.empty(0, EDGE_DIM)).sum().backward()
        assert layer.att_edge.grad is None
        assert layer.lin_edge.weight.grad is None
        assert layer.lin.weight.grad is not None


def test_a_fill_value_that_torch_geometric_refuses() -> None:
    for layer in pair("GATConv", fill_value="zork"):
        with pytest.raises(ValueError, match="zork"):
            layer(*arguments(features=True))


class OwnMessage(conv.GATConv):
    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        return x_j * alpha.unsqueeze(-1) * 3


class OwnUpdate(conv.GATv2Conv):
    def update(self, inputs: Tensor) -> Tensor:
        return inputs.tanh()


class OwnAggregate(conv.TransformerConv):
    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: int | None = None) -> Tensor:
        return super().aggregate(inputs, index, dim_size=dim_size).relu()


class OwnEdgeUpdate(conv.GATConv):
    def edge_update(self, alpha_j: Tensor, alpha_i: Tensor) -> Tensor:
        return (alpha_i + alpha_j).sigmoid()


class OwnPropagate(conv.TransformerConv):
    def propagate(self, edge_index: Tensor, size: Any = None, **kwargs: Any) -> Tensor:
        return kwargs["value"] * 2


class OwnName(conv.GATConv):
    """Nothing but another name."""


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (OwnMessage, "message"),
        (OwnUpdate, "update"),
        (OwnAggregate, "aggregate"),
        (OwnEdgeUpdate, "edge_update"),
        (OwnPropagate, "propagate"),
    ],
)
def test_a_subclass_with_steps_of_its_own(kind: type[Any], step: str) -> None:
    layer, given = kind(WIDTH, OUT, heads=HEADS), arguments()
    theirs = getattr(torch_geometric.nn, kind.__mro__[1].__name__)(WIDTH, OUT, heads=HEADS)
    theirs.load_state_dict(layer.state_dict())
    assert graphattn.why_not_fused(layer, *given) == f"{kind.__name__} has its own {step}"
    assert not torch.allclose(layer(*given), theirs(*given))
    expected = {OwnUpdate: lambda: theirs(*given).tanh(), OwnMessage: lambda: 3 * theirs(*given)}.get(kind)
    if expected is not None:
        torch.testing.assert_close(layer(*given), expected())


def test_a_subclass_without() -> None:
    layer, given = OwnName(WIDTH, OUT), arguments()
    assert graphattn.why_not_fused(layer, *given) is None
    layer.message = lambda x_j, alpha: 0 * x_j * alpha.unsqueeze(-1)
    assert graphattn.why_not_fused(layer, *given) == "OwnName has its own message"
    assert not layer(*given).any()


def test_what_the_kernels_do_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments()
    many = torch_geometric.nn.GATConv(WIDTH, 1, heads=200)
    ours = graphattn.accelerate(copy.deepcopy(many))
    assert graphattn.why_not_fused(ours, *given) == "there must be 1 to 128 heads with channels, got 200"
    assert_same(ours, many, given)
    ours, theirs = pair("TransformerConv")
    on_meta = [given[0].to("meta"), given[1].to("meta")]
    assert graphattn.why_not_fused(ours, *on_meta) == "the tensors are on meta"
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    assert graphattn.why_not_fused(ours, *given) == "GRAPHATTN_BACKEND=reference asks for the plain version"
    assert_same(ours, theirs, given)


@pytest.mark.parametrize("name", LAYERS)
def test_transforms_of_functions(name: str) -> None:
    (ours, theirs), (x, edge_index) = pair(name), arguments()
    stack = torch.stack([x, 2 * x])
    found = torch.func.vmap(lambda rows: ours(rows, edge_index))(stack)
    torch.testing.assert_close(found, torch.stack([theirs(rows, edge_index) for rows in stack]))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_traces_hold_no_edges(name: str) -> None:
    ours, given = getattr(conv, name)(WIDTH, OUT), arguments()
    traced = torch.jit.trace(ours, tuple(given), check_trace=False)
    other = [given[0] + 1, given[1].flip(0)]
    torch.testing.assert_close(traced(*other), ours(*other))


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_of_everything(name: str) -> None:
    (ours, theirs), given = pair(name, dropout=1.0), arguments()
    assert graphattn.why_not_fused(ours, *given) == "dropout is 1.0"
    assert_same(ours, theirs, given)
    assert graphattn.why_not_fused(ours.eval(), *given) is None
    assert_same(ours, theirs.eval(), given)


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_is_fused(name: str) -> None:
    """Drawn from torch's generator, right on average, gone in eval mode."""
    layer, given = getattr(conv, name)(WIDTH, OUT, heads=HEADS, dropout=0.5), arguments()
    assert graphattn.why_not_fused(layer, *given) is None
    torch.manual_seed(0)
    first, second = layer(*given), layer(*given)
    torch.manual_seed(0)
    assert torch.equal(layer(*given), first)
    assert not torch.equal(second, first)
    with torch.no_grad():
        mean = torch.stack([layer(*given) for _ in range(2000)]).mean(0)
        torch.testing.assert_close(mean, layer.eval()(*given), atol=0.1, rtol=0)
