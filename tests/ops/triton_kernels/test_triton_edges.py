"""The kernels over edges, in shapes that the laws do not try: against the plain version, outputs and all gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases.compare import assert_all_close, assert_close
from cases.op import Tensors, assert_parity, attend, draw
from torch import Tensor

from graphattn import InputError
from graphattn.ops import (
    NORMALISERS,
    Additive,
    AdjacencyMask,
    BlockDiagonalMask,
    EdgeFeatures,
    Normaliser,
    attention,
    layout,
)
from graphattn.ops.backends import TRITON
from graphattn.ops.triton import launch, schedule
from graphattn.ops.triton.tiles import Tile

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="on this machine the kernels are compiled")
SOURCE = [0, 1, 2, 3, 4, 5, 6, 6, 6, 2, 3, 0, 5, 1]
TARGET = [5, 5, 5, 5, 5, 5, 5, 0, 1, 2, 2, 6, 0, 0]
EDGES = torch.tensor([SOURCE, TARGET])
# Heads shared out to programs or not, in ones, twos and fours; channels that are padded, or fill a tile.
SHAPES = [(1, 1, 1), (3, 20, 5), (8, 64, 64), (4, 128, 16), (3, 256, 256), (5, 3, 3), (16, 4, 4), (1, 300, 2)]


def graph() -> AdjacencyMask:
    return AdjacencyMask.from_edge_index(EDGES.clone(), 7)


def tensors(score: str, *shape: int, edge_channels: int = 0) -> Tensors:
    drawn = draw(graph(), score, shape=shape, edge_channels=edge_channels)
    return {name: tensor.requires_grad_() for name, tensor in drawn.items()}


def compare(score: str, *shape: int, edge_channels: int = 0, **options: Any) -> None:
    """In float64 the sums, some of 300 terms, differ by the order of their terms only."""
    given = tensors(score, *shape, edge_channels=edge_channels)
    assert_parity(given, graph(), by="triton", tolerance=1e-12, score=score, seed=2**40 + 3, **options)


@pytest.mark.parametrize("score", ["dot", "tanh"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, int, int], score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(score, *shape, dropout=0.4)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("score", ["dot", "leaky_relu"])
def test_any_of_the_tiles(score: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the fastest may be another than the first, which these graphs run in."""
    taken: list[Tile] = []

    def choose(kind: object, candidates: list[Tile], work: object, run: object) -> Tile:
        taken.append(candidates[min(number, len(candidates) - 1)])
        return taken[-1]

    monkeypatch.setattr(launch, "fastest", choose)
    monkeypatch.setattr(schedule, "PART", 4)
    compare(score, 2, 4, 4, edge_channels=3, dropout=0.3)
    compare(score, 8, 64, 64)
    assert len(taken) == 6


@pytest.mark.parametrize("score", ["dot", "tanh"])
def test_edge_features_that_nothing_reads(score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tensors(score, 2, 4, 4, edge_channels=3)
    tables = [given[name] for name in ("query", "key", "value")]
    for backend in ("reference", "triton"):
        monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
        mask = graph()
        how: Any = "dot" if score == "dot" else Additive(given["weight"], score)
        out = attention(*tables, mask, score=how, edge_attr=EdgeFeatures(given["attr"]))
        assert isinstance(out, Tensor)
        (gradient,) = torch.autograd.grad(out.sum(), given["attr"], allow_unused=True, materialize_grads=True)
        assert not gradient.any()


def test_infinities_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a source that no edge leaves: it shares a program with others."""
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    given = tensors("dot", 1, 2, 2)
    with torch.no_grad():
        given["value"][4] = float("inf")
    mask = AdjacencyMask.from_edge_index(EDGES[:, EDGES[0] != 4], 7)
    out = attention(given["query"], given["key"], given["value"], mask)
    assert isinstance(out, Tensor)
    for gradient in torch.autograd.grad(out.sum(), [given[name] for name in ("query", "key", "value")]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("score", ["dot", "leaky_relu"])
@pytest.mark.parametrize(("shape", "edge_channels"), [((3, 5, 4), 1), ((2, 16, 16), 7), ((4, 128, 128), 2)], ids=str)
def test_edge_features(shape: tuple[int, int, int], edge_channels: int, score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "PART", 4)
    compare(score, *shape, edge_channels=edge_channels, dropout=0.2, normaliser="sigmoid")
    compare(score, *shape, edge_channels=edge_channels)


def test_indices_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "INT32_LIMIT", 0)
    monkeypatch.setattr(schedule, "PART", 3)
    compare("tanh", 2, 4, 4, edge_channels=3, dropout=0.3)


def test_few_programs_share_the_sums_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_MOST_SUMS", 1)
    compare("leaky_relu", 2, 4, 4, edge_channels=3)


@pytest.mark.parametrize("wanted", ["query", "bias", "attr", "key_weight"])
def test_one_gradient_alone(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for score in ("dot", "tanh"):
        given = tensors(score, 2, 4, 4, edge_channels=3)
        for name, tensor in given.items():
            tensor.requires_grad_(name == wanted)
        gradients = []
        for backend in ("reference", "triton"):
            monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
            gradients += torch.autograd.grad(attend(given, graph(), score).square().sum(), given[wanted])
        assert_close(gradients[1], gradients[0], tolerance=1e-12)


def test_rows_with_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries, keys and values that are columns of wider tables are read where they lie."""
    given = tensors("dot", 2, 4, 4)
    wide = {name: torch.cat([given[name], given[name]], 1).detach() for name in ("query", "key", "value")}
    views = {**given, **{name: table[:, 2:] for name, table in wide.items()}}
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    torch.testing.assert_close(attend(views, graph(), "dot"), attend(given, graph(), "dot"), rtol=0, atol=0)


def test_blocks_with_rows_that_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Additive scores on graph blocks go over pairs that nobody lists; of 9 and of 3 nodes, in no order."""
    monkeypatch.setattr(schedule, "PART", 4)
    batch = torch.tensor([0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    bias = torch.randn(90, 2, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    results = []
    for backend in ("reference", "triton"):
        monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
        mask = BlockDiagonalMask.from_batch(batch.clone())
        out = attention(x, x, x, mask, score=Additive(weight), bias=bias, dropout=0.3, seed=1)
        assert isinstance(out, Tensor)
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, bias])])
    assert_all_close(results[1], results[0], tolerance=1e-12)


def test_what_asks_for_triton_and_cannot_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tensors("dot", 1, 2, 2)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    with pytest.raises(
        InputError, match="GRAPHATTN_BACKEND=triton asks for fused kernels, but the normaliser sparsemax has no"
    ):
        attend(given, graph(), "dot", normaliser="sparsemax")
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(InputError, match="only Triton's interpreter serves: set TRITON_INTERPRET=1"):
        attend(given, graph(), "dot")


def test_a_normaliser_without_a_formula_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lets its name through: never another normaliser's weights."""
    monkeypatch.setitem(NORMALISERS, "relu2", Normaliser("relu2", lambda scores, index, size: scores.relu().square()))
    monkeypatch.setattr(TRITON, "normalisers", (*TRITON.normalisers, "relu2"))
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    for score in ("dot", "leaky_relu"):
        with pytest.raises(Exception, match="there is no Triton kernel for this normaliser"):
            attend(tensors(score, 1, 2, 2), graph(), score, normaliser="relu2")


def test_a_mask_of_the_other_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable may change between two calls with one mask."""
    x = torch.randn(7, 1, 4, generator=torch.Generator().manual_seed(0))
    mask = graph()
    first = attention(x, x, x, mask)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    second = attention(x, x, x, mask)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "cpu")
    third = attention(x, x, x, mask)
    torch.testing.assert_close(second, first)
    assert torch.equal(third, first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("part", [schedule.PART, 3], ids=["whole", "cut"])
def test_rows_of_the_lowest_scores(dtype: torch.dtype, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias that forbids by the lowest number, not by -inf, leaves the mean where it forbids all of a row."""
    monkeypatch.setattr(schedule, "PART", part)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    zero, value = torch.zeros(7, 1, 2, dtype=dtype), torch.arange(7, dtype=dtype).reshape(7, 1, 1)
    bias = torch.full((len(SOURCE), 1), torch.finfo(dtype).min, dtype=dtype)
    out = attention(zero, zero, value, graph(), bias=bias)
    torch.testing.assert_close(out, torch.tensor([4.0, 6, 2.5, 0, 0, 3, 0], dtype=dtype).reshape(7, 1, 1))
