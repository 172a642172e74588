"""Attention over unions of masks: the types of their edges, a learned bias for each, and features on the first edges alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from helpers import machine, threads
from torch import Tensor, nn
from torch.export import Dim

from graphattn.errors import InputError
from graphattn.nn import MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask, with_virtual_nodes
from graphattn.structure import expander, k_hop

E = math.e
# Two graphs, the nodes of one between those of the other; a multi-edge, a self-loop and a node without edges.
BATCH = torch.tensor([0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0])
EDGES = torch.tensor([[0, 2, 2, 3, 3, 1, 4, 6, 7], [2, 3, 3, 5, 3, 4, 6, 7, 1]])


def edges() -> AdjacencyMask:
    return AdjacencyMask.from_edge_index(EDGES.clone(), len(BATCH))


def blocks() -> BlockDiagonalMask:
    return BlockDiagonalMask.from_batch(BATCH)


MASKS: dict[str, Callable[[], AdjacencyMask]] = {
    "edges": edges,
    "loops": lambda: (edges() | edges()).with_self_loops(),
    "k_hop": lambda: k_hop(edges(), 3),
    "expander": lambda: expander(edges(), blocks(), 3),
    "virtual": lambda: with_virtual_nodes(edges(), blocks(), 2)[0],
    "all": lambda: with_virtual_nodes(edges() | k_hop(edges(), 2, first=2) | expander(edges(), blocks(), 3), blocks())[0],
}


def layer(mask: AdjacencyMask, **options: object) -> MaskedSelfAttention:
    """In float64, with every parameter away from its initial value."""
    torch.manual_seed(0)
    made = MaskedSelfAttention(6, 8, 2, edge_types=mask.num_types, **options).double()
    nn.init.normal_(made.type_bias)
    return made


def vectors(nodes: int, channels: int = 6) -> Tensor:
    return torch.randn(nodes, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(nodes))


def gradients(out: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(out.square().sum(), list(module.parameters())))


def close(actual: Tensor, expected: Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=1e-9, atol=1e-11)


# --- types ----------------------------------------------------------------------------------------------------------


def test_a_union_numbers_the_types_one_after_the_other() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 0]]))
    two = mask | mask
    assert (mask.edge_type, mask.num_types) == (None, 1)
    assert (two.edge_type.tolist(), two.num_types) == ([0, 0, 1, 1], 2)
    assert (two | mask).edge_type.tolist() == [0, 0, 1, 1, 2, 2]
    assert (mask | two).edge_type.tolist() == [0, 0, 1, 1, 2, 2]
    assert mask.with_types(torch.tensor([1, 0]), 3).__or__(two).edge_type.tolist() == [1, 0, 3, 3, 4, 4]
    assert (mask | two) is (mask | two)


def test_types_go_with_the_edges() -> None:
    mask = AdjacencyMask.from_edge_index(torch.tensor([[0, 1, 2], [1, 1, 0]]), 3).with_types(torch.tensor([2, 1, 1]), 4)
    renewed, _ = mask.with_self_loops_renewed()
    assert mask.reversed().edge_type.tolist() == [2, 1, 1]
    assert mask.with_self_loops().edge_type.tolist() == [2, 1, 1, 0, 0, 0]
    assert renewed.edge_type.tolist() == [2, 1, 0, 0, 0]
    assert all(made.num_types == 4 for made in (mask.reversed(), mask.with_self_loops(), renewed, mask.to("cpu")))
    assert mask.to("meta").edge_type.is_meta
    assert mask.type_columns.tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    untyped = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 1]]))
    assert untyped.with_self_loops().edge_type is untyped.with_self_loops_renewed()[0].edge_type is None


@pytest.mark.parametrize(
    ("edge_type", "message"),
    [
        (torch.tensor([0, 2]), r"^edge_type must lie in \[0, 2\), got values from 0 to 2$"),
        (torch.tensor([0, -1]), r"^edge_type must lie in \[0, 2\), got values from -1 to 0$"),
        (torch.tensor([0]), r"^edge_type must be an integer for each of the 2 edges, got torch.int64 \[1\]$"),
        (torch.zeros(2), r"^edge_type must be an integer for each of the 2 edges, got torch.float32 \[2\]$"),
    ],
)
def test_bad_types(edge_type: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [1, 0]])).with_types(edge_type, 2)


# --- the bias -------------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """Equal keys: node 0 hears node 1 by type 0 with bias 0, and node 2 by type 1 with bias 1."""
    made = MaskedSelfAttention(1, 1, edge_types=2, bias=False, out_proj=False)
    for parameter in (made.lin_query.weight, made.lin_key.weight, made.lin_value.weight):
        nn.init.ones_(parameter)
    assert made.type_bias.tolist() == [[0], [0]]
    with torch.no_grad():
        made.type_bias[1] = 1
    mask = AdjacencyMask.from_edge_index(torch.tensor([[1], [0]]), 3) | AdjacencyMask.from_edge_index(
        torch.tensor([[2], [0]]), 3
    )
    _, weights = made(torch.ones(3, 1), mask, return_attention=True)
    assert weights.flatten().tolist() == pytest.approx([1 / (1 + E), E / (1 + E)])


@pytest.mark.parametrize("score", ["dot", "additive", "static"])
@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid", "relu"])
@pytest.mark.parametrize("kind", MASKS)
def test_fused_equals_reference(kind: str, score: str, normaliser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = MASKS[kind]()
    made, x = layer(mask, score=score, normaliser=normaliser), vectors(mask.num_targets)
    found = []
    for backend in ("cpu", "reference"):
        monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
        out = made(x, mask)
        found.append([out, *gradients(out, made)])
    assert all(close(fused, plain) for fused, plain in zip(*found, strict=True))
    of_types = found[0][1 + [name for name, _ in made.named_parameters()].index("type_bias")]
    # Under softmax a bias that all edges have changes nothing.
    assert bool(of_types.abs().sum() > 1e-3) == (mask.num_types > 1 or normaliser != "softmax")


@pytest.mark.parametrize("kind", MASKS)
def test_against_a_loop_over_the_edges(kind: str) -> None:
    mask = MASKS[kind]()
    made, x = layer(mask, bias=False, out_proj=False), vectors(mask.num_targets)
    query, key, value = ((x @ lin.weight.t()).unflatten(1, (2, 4)) for lin in (made.lin_query, made.lin_key, made.lin_value))
    types = [0] * mask.num_edges if mask.edge_type is None else mask.edge_type.tolist()
    expected = torch.zeros_like(query)
    for i in range(len(x)):
        into = [(j, t) for j, k, t in zip(mask.source.tolist(), mask.target.tolist(), types, strict=True) if k == i]
        if into:
            scores = torch.stack([(query[i] * key[j]).sum(1) / 2 + made.type_bias[t] for j, t in into])
            expected[i] = sum(w.unsqueeze(1) * value[j] for w, (j, _) in zip(scores.softmax(0), into, strict=True))
    assert close(made(x, mask), expected.flatten(1))


def test_gradient_of_many_edges_has_the_same_bits_for_any_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [AdjacencyMask.from_edge_index(torch.randint(500, (2, 20_000), generator=generator), 500) for _ in range(3)]
    mask = parts[0] | parts[1] | parts[2]
    # The projections are torch's products, exact here: in whole numbers and eighths.
    made, x = layer(mask, out_proj=False).float(), torch.randint(-4, 5, (500, 6), generator=generator).float()
    for parameter in made.parameters():
        parameter.data = (parameter.data * 8).round() / 8
    found: list[Tensor] = []
    for number in (1, 2, 4):
        with threads(number):
            found += torch.autograd.grad(made(x, mask).square().sum(), made.type_bias)
    assert all(torch.equal(found[0], other) for other in found[1:]), machine()


def test_a_mask_without_types_is_of_type_0() -> None:
    mask = edges()
    typed = mask.with_types(torch.zeros(mask.num_edges, dtype=torch.long), 3)
    made = layer(typed, normaliser="sigmoid")
    x = vectors(mask.num_targets)
    assert close(made(x, mask), made(x, typed))
    assert close(made(x, EDGES), made(x, typed))


def test_without_edge_types_they_change_nothing() -> None:
    mask = MASKS["all"]()
    plain = AdjacencyMask(mask.source, mask.target, mask.num_sources, mask.num_targets)
    made, x = MaskedSelfAttention(6, 8, 2).double(), vectors(mask.num_targets)
    assert torch.equal(made(x, mask), made(x, plain))
    assert "type_bias" not in dict(made.named_parameters())


def test_more_types_than_the_layer_knows() -> None:
    mask = edges() | edges() | edges()
    made = MaskedSelfAttention(6, 8, edge_types=2).double()
    with pytest.raises(InputError, match=r"^edge_index must be a mask of at most edge_types=2 types of edges, got one of 3$"):
        made(vectors(len(BATCH)), mask)
    with pytest.raises(InputError, match=r"^edge_types must be at least 1, or None, got 0$"):
        MaskedSelfAttention(6, 8, edge_types=0)


def test_autocast() -> None:
    mask = MASKS["all"]()
    made, x = layer(mask, add_self_loops=True).float(), vectors(mask.num_targets).float()
    with torch.autocast("cpu", torch.bfloat16):
        out = made(x, mask)
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), made(x, mask), atol=0.05)


def test_training_after_inference() -> None:
    """What the mask keeps of a call in inference mode serves a later training step."""
    mask = MASKS["all"]()
    made, x = layer(mask), vectors(mask.num_targets)
    with torch.inference_mode():
        expected = made(x, mask)
    out = made(x, mask)
    assert close(out, expected)
    assert all(gradient.isfinite().all() for gradient in gradients(out, made))


def test_no_nodes() -> None:
    mask = AdjacencyMask.from_edge_index(EDGES[:, :0], 0)
    made = layer(mask | mask, edge_dim=3)
    out = made(vectors(0), mask | mask, torch.zeros(0, 3).double())
    assert out.shape == (0, 8)
    assert all(gradient.isfinite().all() for gradient in gradients(out, made))


# --- edge features --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loops", [False, True])
def test_features_of_the_first_edges(loops: bool) -> None:
    mask = edges() | k_hop(edges(), 2)
    made = layer(mask, edge_dim=3, add_self_loops=loops)
    x, attr = vectors(mask.num_targets), vectors(EDGES.shape[1], 3)
    padded = torch.cat([attr, attr.new_zeros(mask.num_edges - len(attr), 3)])
    out, weights = made(x, mask, attr, return_attention=True)
    expected, expected_weights = made(x, mask, padded, return_attention=True)
    assert torch.equal(out, expected)
    assert torch.equal(weights, expected_weights)
    assert close(made(x, mask, attr), expected)


def test_features_must_be_complete_without_types_and_never_too_many() -> None:
    made, x = layer(edges() | edges(), edge_dim=3), vectors(len(BATCH))
    with pytest.raises(InputError, match=r"^edge_attr must have shape \[9, 3\], got \[8, 3\]$"):
        made(x, edges(), vectors(8, 3))
    with pytest.raises(InputError, match=r"^edge_attr must have shape \[up to 18, 3\], got \[19, 3\]$"):
        made(x, edges() | edges(), vectors(19, 3))
    with pytest.raises(InputError, match=r"^edge_attr must have shape \[up to 18, 3\], got \[9, 4\]$"):
        made(x, edges() | edges(), vectors(9, 4))


# --- tracers --------------------------------------------------------------------------------------------------------


class Union(nn.Module):
    """A layer over edges, edges of given types, and virtual nodes, all masks made inside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = MaskedSelfAttention(8, 8, 2, edge_dim=3, edge_types=5)
        nn.init.normal_(self.layer.type_bias)

    def forward(self, x: Tensor, edge_index: Tensor, attr: Tensor, more: Tensor, edge_type: Tensor, batch: Tensor) -> Tensor:
        nodes = x.shape[0]
        mask = AdjacencyMask.from_edge_index(edge_index, nodes)
        mask = mask | AdjacencyMask.from_edge_index(more, nodes).with_types(edge_type, 2)
        mask, _ = with_virtual_nodes(mask, BlockDiagonalMask.from_batch(batch, 2), 1)
        return self.layer(torch.cat([x, x.new_zeros(2, 8)]), mask, attr)


def inputs(nodes: int, first: int, more: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(nodes)

    def draw(bound: int, *shape: int) -> Tensor:
        return torch.randint(bound, shape, generator=generator)

    x, attr = vectors(nodes, 8).float(), vectors(first, 3).float()
    return x, draw(nodes, 2, first), attr, draw(nodes, 2, more), draw(2, more), torch.arange(nodes) % 2


def test_compile_and_export() -> None:
    model = Union()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    nodes, first, more = Dim("nodes"), Dim("first"), Dim("more")
    shapes = {
        "x": {0: nodes},
        "edge_index": {1: first},
        "attr": {0: first},
        "more": {1: more},
        "edge_type": {0: more},
        "batch": {0: nodes},
    }
    exported = torch.export.export(model, inputs(5, 6, 7), dynamic_shapes=shapes).module()
    for sizes in ((5, 6, 7), (9, 20, 4)):
        given = inputs(*sizes)
        expected = model(*given)
        assert torch.allclose(exported(*given), expected, atol=1e-5)
        out = compiled(*given)
        assert torch.allclose(out, expected, atol=1e-5)
        for actual, reference in zip(gradients(out, model), gradients(expected, model), strict=True):
            assert torch.allclose(actual, reference, rtol=1e-4, atol=1e-4)
