"""A normaliser and a score from outside the package, through the registries: served wherever the plain version serves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from graphattn import InputError
from graphattn.nn import FullSelfAttention, GraphTransformer, MaskedSelfAttention
from graphattn.ops import (
    NORMALISERS,
    SCORES,
    AdjacencyMask,
    BlockDiagonalMask,
    EdgeFeatures,
    Mask,
    Normaliser,
    Score,
    attention,
    backends,
    register_normaliser,
    register_score,
)
from graphattn.ops.cpu import specialise
from graphattn.ops.segment import segment_sum

EDGES = torch.tensor([[0, 1, 2, 2, 4, 0], [1, 0, 0, 1, 3, 0]])
DOCS = Path(__file__).parents[2] / "docs"


def two_more(scores: Tensor, index: Tensor, size: int) -> Tensor:
    """exp(s) / (2 + Σ exp(s)), for scores that do not overflow."""
    exponential = scores.exp()
    return exponential / (2 + segment_sum(exponential, index, size))[index]


class Distance(Score):
    """s = -w |q - k|²."""

    name = "distance"

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        return -self.weight * (query - key).square().sum(-1)

    @classmethod
    def weight_shape(cls, heads: int, channels: int) -> tuple[int, ...]:
        return (heads,)

    def to(self, dtype: torch.dtype) -> Distance:
        return Distance(self.weight.to(dtype))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_normaliser(Normaliser("two_more", two_more))
    register_score(Distance)
    yield
    del NORMALISERS["two_more"], SCORES["distance"]


@pytest.mark.parametrize("mask", [AdjacencyMask.from_edge_index(EDGES, 5), BlockDiagonalMask.single(3)], ids=["edges", "full"])
def test_the_operator(mask: Mask) -> None:
    """By hand, with a bias; weights are returned; gradients and dropout go through."""
    nodes, edges = mask.num_targets, mask.num_edges if isinstance(mask, AdjacencyMask) else mask.num_pairs
    listed = mask if isinstance(mask, AdjacencyMask) else mask.pairs()
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, nodes, 2, 4, dtype=torch.float64, generator=generator).requires_grad_().unbind()
    bias, weight = torch.randn(edges, 2, dtype=torch.float64, generator=generator), torch.tensor([0.5, 0.2]).double()
    out, alpha = attention(
        query, key, value, mask, score=Distance(weight), normaliser="two_more", bias=bias, return_attention=True
    )
    for i in range(nodes):
        into = (listed.target == i).nonzero().flatten()
        source = listed.source[into]
        exponential = (bias[into] - weight * (query[i] - key[source]).square().sum(-1)).exp()
        expected = exponential / (2 + exponential.sum(0))
        torch.testing.assert_close(alpha[into], expected)
        torch.testing.assert_close(out[i], (expected.unsqueeze(-1) * value[source]).sum(0))

    def function(query: Tensor, key: Tensor, value: Tensor, weight: Tensor) -> Any:
        score = Distance(weight)
        return attention(query, key, value, mask, score=score, normaliser="two_more", bias=bias, dropout=0.4, seed=3)

    leaves = [tensor.detach().requires_grad_() for tensor in (query, key, value, weight)]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_with_edge_features() -> None:
    mask, x = AdjacencyMask.from_edge_index(EDGES, 5), torch.randn(3, 5, 2, 4).unbind()
    features = EdgeFeatures(torch.randn(6, 3), torch.randn(2, 4, 3), torch.randn(2, 4, 3))
    out = attention(*x, mask, score=Distance(torch.ones(2)), normaliser="two_more", edge_attr=features)
    assert isinstance(out, Tensor)
    assert out.shape == (5, 2, 4)


def test_layers_and_models_take_the_names() -> None:
    torch.manual_seed(0)
    masked = MaskedSelfAttention(4, 8, heads=2, score="distance", normaliser="two_more")
    assert masked.att is not None
    assert masked.att.shape == (2,)
    full = FullSelfAttention(4, 8, heads=2, score="dot", normaliser="two_more")
    x = torch.randn(5, 4)
    out, alpha = full(x, torch.zeros(5, dtype=torch.int64), return_attention=True)
    assert out.shape == (5, 8)
    assert bool((alpha.view(5, 5, 2).sum(1) < 1).all())
    model = GraphTransformer(4, 8, 3, num_layers=2, heads=2, score="distance", normaliser="two_more")
    model(x, EDGES).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_the_kernels_refuse_what_they_have_no_formula_for(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    x, mask = torch.randn(5, 3, 2, 4), AdjacencyMask.from_edge_index(EDGES, 5)
    title = {"cpu": "CPU", "triton": "Triton"}[backend]
    with pytest.raises(InputError, match=f"the normaliser two_more has no {title} kernel$"):
        attention(x, None, None, mask, normaliser="two_more")
    with pytest.raises(InputError, match=f"the score Distance has no {title} kernel$"):
        attention(x, None, None, mask, score=Distance(torch.ones(2)))


def test_names_are_taken_once() -> None:
    with pytest.raises(InputError, match="there is a normaliser 'softmax' already"):
        register_normaliser(Normaliser("softmax", two_more))
    with pytest.raises(InputError, match="there is a score 'distance' already"):
        register_score(Distance)
    with pytest.raises(InputError, match=r"normaliser must be one of softmax, .*, two_more, got 'three_more'"):
        attention(torch.randn(5, 3, 2, 4), None, None, AdjacencyMask.from_edge_index(EDGES, 5), normaliser="three_more")


# --- the guide ------------------------------------------------------------------------------------------------------


def test_the_guide_adds_a_normaliser_that_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/cpu_kernels.md, "Adding a normaliser", done as it stands there: the plain version, then its CPU kernel."""
    guide = (DOCS / "cpu_kernels.md").read_text(encoding="utf-8").partition("## Adding a normaliser")[2].partition("\n## ")[0]
    plain, kernel = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    monkeypatch.setattr(backends.CPU, "normalisers", {*backends.CPU.normalisers, "relu2"})
    for path in specialise._TEMPLATES.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "normaliser_relu2.py").write_text(kernel, encoding="utf-8")
    monkeypatch.setattr(specialise, "_TEMPLATES", tmp_path)
    monkeypatch.setattr("graphattn.ops.cpu.form.NORMALISERS", {"relu2"})
    try:
        exec(plain, {})
        mask = AdjacencyMask.from_edge_index(torch.randint(9, (2, 60), generator=torch.Generator().manual_seed(0)), 9)
        given = torch.randn(9, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        found = []
        for backend in ("cpu", "reference"):
            monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
            out = attention(given, None, None, mask, normaliser="relu2")
            assert isinstance(out, Tensor)
            found.append((out.detach(), *torch.autograd.grad(out.sin().sum(), given)))
        for fused, reference in zip(*found, strict=True):
            assert float((fused - reference).abs().max()) <= 1e-9 * float(reference.abs().max())
    finally:
        NORMALISERS.pop("relu2", None)
