"""Training steps captured as CUDA graphs, with masks prepared ahead, and layers compiled for a GPU: both as run plainly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.cuda import captured
from graphattn.nn import AttentionContext, EncoderLayer, FullSelfAttention, MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("through_triton")]
MOLECULES, ATOMS, WIDTH, EDGE_DIM = 64, 25, 32, 4
TOLERANCE, ROUNDING = 1e-5, 1e-6

Call = Callable[[nn.Module, Tensor, AttentionContext], Any]


def around(device: str = "cuda") -> AttentionContext:
    """Rings of atoms, bound both ways, and vectors on their bonds."""
    atom = torch.arange(MOLECULES * ATOMS, device=device)
    graph = atom // ATOMS
    following = graph * ATOMS + (atom + 1) % ATOMS
    bonds = torch.stack([torch.cat([atom, following]), torch.cat([following, atom])])
    generator = torch.Generator().manual_seed(0)
    edge_attr = torch.randn(bonds.shape[1], EDGE_DIM, generator=generator).to(device)
    mask = AdjacencyMask.from_edge_index(bonds, atom.shape[0])
    return AttentionContext(mask, BlockDiagonalMask.from_batch(graph), edge_attr)


def draw(seed: int, device: str = "cuda") -> Tensor:
    return torch.randn(MOLECULES * ATOMS, WIDTH, generator=torch.Generator().manual_seed(seed)).to(device)


def training_step(layer: nn.Module, call: Call, x: Tensor, of: AttentionContext) -> list[Tensor]:
    """Output, and the gradients of the node vectors and of every parameter."""
    out = call(layer, x, of)
    gradients = torch.autograd.grad(out.square().sum(), [x, *layer.parameters()], materialize_grads=True, allow_unused=True)
    return [out.detach(), *gradients]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    """Relative to each tensor's largest number; or to the largest of all where it is zero but for rounding, as the gradient
    of a bias that softmax takes out again."""
    largest = max(float(reference.abs().max()) for reference in expected)
    for actual, reference in zip(found, expected, strict=True):
        allowed = max(TOLERANCE * float(reference.abs().max()), ROUNDING * largest)
        assert float((actual - reference).abs().max()) <= allowed


def _masked(layer: nn.Module, x: Tensor, of: AttentionContext) -> Any:
    return layer(x, of.adjacency, of.edge_attr if layer.edge_dim else None)


def _full(layer: nn.Module, x: Tensor, of: AttentionContext) -> Any:
    return layer(x, of.blocks)


def _encoder(layer: nn.Module, x: Tensor, of: AttentionContext) -> Any:
    return layer(x, of).x


LAYERS: dict[str, tuple[Callable[[], nn.Module], Call]] = {
    "dot": (partial(MaskedSelfAttention, WIDTH, WIDTH, 4), _masked),
    "dot-edges": (partial(MaskedSelfAttention, WIDTH, WIDTH, 4, edge_dim=EDGE_DIM), _masked),
    "additive": (partial(MaskedSelfAttention, WIDTH, WIDTH, 4, score="additive", edge_dim=EDGE_DIM), _masked),
    "static": (partial(MaskedSelfAttention, WIDTH, WIDTH, 4, score="static", normaliser="sigmoid"), _masked),
    "full": (partial(FullSelfAttention, WIDTH, WIDTH, 4), _full),
    "full-additive": (partial(FullSelfAttention, WIDTH, WIDTH, 4, score="additive"), _full),
    "encoder": (partial(EncoderLayer, WIDTH, 4, attention="masked+full", edge_dim=EDGE_DIM), _encoder),
}


def make(name: str, device: str = "cuda", **options: Any) -> tuple[nn.Module, Call]:
    new, call = LAYERS[name]
    torch.manual_seed(0)
    return new(**options).to(device), call


@pytest.mark.parametrize("name", LAYERS)
def test_a_captured_training_step_is_that_of_a_plain_one(name: str) -> None:
    layer, call = make(name)
    of = around()
    of.adjacency.prepare()
    of.blocks.prepare()
    x = draw(0).requires_grad_()
    replay, outputs = captured(partial(training_step, layer, call, x, of))
    for seed in (1, 2):
        with torch.no_grad():
            x.copy_(draw(seed))
        replay()
        replayed = [tensor.clone() for tensor in outputs]
        assert_close(replayed, training_step(layer, call, x, of))


def test_capture_needs_no_step_before_but_compiled_kernels() -> None:
    """A mask that no call has seen is ready once it is prepared: capture would fail on a sort's wait for the GPU."""
    layer, call = make("encoder")
    x = draw(0).requires_grad_()
    training_step(layer, call, x, around())
    of = around()
    of.adjacency.prepare()
    of.blocks.prepare()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = training_step(layer, call, x, of)
    graph.replay()
    assert_close(outputs, training_step(layer, call, x, of))


def test_every_replay_drops_other_weights() -> None:
    layer, call = make("dot", dropout=0.5)
    of = around()
    of.adjacency.prepare()
    x = draw(0).requires_grad_()
    replay, outputs = captured(partial(training_step, layer, call, x, of))
    runs = []
    for _ in range(2):
        replay()
        runs.append(outputs[0].clone())
    assert not torch.equal(*runs)


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["made-inside", "given"])
@pytest.mark.parametrize("name", ["dot-edges", "additive", "full", "encoder"])
def test_a_compiled_layer_gives_the_same(monkeypatch: pytest.MonkeyPatch, name: str, mask: str) -> None:
    """By inductor, which compiles everything between the attention's operators."""
    monkeypatch.delenv("GRAPHATTN_BACKEND")
    layer, call = make(name)
    given, x = around(), draw(0).requires_grad_()
    edge_index = torch.stack([given.adjacency.source, given.adjacency.target])

    def forward(layer: nn.Module, x: Tensor, of: AttentionContext) -> Any:
        if mask == "given":
            return call(layer, x, of)
        adjacency = AdjacencyMask.from_edge_index(edge_index, x.shape[0])
        return call(layer, x, AttentionContext(adjacency, of.blocks, of.edge_attr))

    expected = training_step(layer, call, x, given)
    assert_close(training_step(layer, torch.compile(forward, fullgraph=True), x, given), expected)
