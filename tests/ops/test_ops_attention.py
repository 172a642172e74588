"""The op in numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import Additive, AdjacencyMask, BlockDiagonalMask, EdgeFeatures, Static, attention

E, TAU = math.e, (1.8 - math.sqrt(6.04)) / 4
TO_ZERO = AdjacencyMask.from_edge_index(torch.tensor([[0, 1], [0, 0]]), (2, 1))


def column(*values: float) -> Tensor:
    """One head of one channel: [nodes, 1, 1]."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)


def weights_of(scores: list[float], **options: Any) -> list[float]:
    """Weights of one query over keys whose dot products with it are the given scores."""
    mask = AdjacencyMask(torch.arange(len(scores)), torch.zeros(len(scores), dtype=torch.long), len(scores), 1)
    key = column(*scores)
    _, weights = attention(column(1), key, key, mask, return_attention=True, **options)
    return weights.flatten().tolist()


@pytest.mark.parametrize(
    ("normaliser", "scores", "expected"),
    [
        ("softmax", [0, 1], [1 / (1 + E), E / (1 + E)]),
        ("softmax", [3], [1]),
        ("softmax", [1e4, 1e4, -1e4], [0.5, 0.5, 0]),
        ("sigmoid", [0, math.log(2)], [1 / 3, 1 / 2]),  # σ(s - log 2) = e^s / (e^s + 2)
        ("sigmoid", [0], [1 / 2]),
        ("relu", [1, -2, 3, 0.5], [0.25, 0, 0.75, 0.125]),
        ("sparsemax", [1, 0.5, -1], [0.75, 0.25, 0]),
        ("sparsemax", [0, 2], [0, 1]),
        ("entmax15", [1, 1], [0.5, 0.5]),
        ("entmax15", [0, 2], [0, 1]),
        # Halved, 0.1 and 0.8: (0.1 - τ)² + (0.8 - τ)² = 1 has τ = (1.8 - √6.04) / 4 below both.
        ("entmax15", [0.2, 1.6], [(0.1 - TAU) ** 2, (0.8 - TAU) ** 2]),
    ],
)
def test_normalisers(normaliser: str, scores: list[float], expected: list[float]) -> None:
    assert weights_of(scores, normaliser=normaliser) == pytest.approx(expected, abs=1e-12)


def test_output_is_the_weighted_sum() -> None:
    out = attention(column(1), column(0, 1), column(10, 20), TO_ZERO)
    assert out.item() == pytest.approx((10 + 20 * E) / (1 + E))


def test_dot_is_scaled_by_the_root_of_the_channels() -> None:
    """q = (1, 1, 1, 1), k = (2, 2, 2, 2) and 0: scores 8 / 2 = 4 and 0."""
    query = torch.ones(1, 1, 4, dtype=torch.float64)
    key = torch.stack([2 * query[0], 0 * query[0]])
    _, weights = attention(query, key, key, TO_ZERO, return_attention=True)
    assert weights.flatten().tolist() == pytest.approx([E**4 / (1 + E**4), 1 / (1 + E**4)])


def test_path_of_three_nodes_with_identity_maps() -> None:
    """0 - 1 - 2 with x = 1, 2, 3: the ends copy the middle; the middle weighs 1 and 3 by e² and e⁶."""
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    x = column(1, 2, 3)
    out = attention(x, x, x, AdjacencyMask.from_edge_index(edges, 3))
    assert out.flatten().tolist() == pytest.approx([2, (E**2 + 3 * E**6) / (E**2 + E**6), 2])


def test_full_attention_by_hand() -> None:
    """Graph 0 has nodes 0 and 2 with x = 0, 1; graph 1 has node 1."""
    x = column(0, 5, 1)
    mask = BlockDiagonalMask.from_batch(torch.tensor([0, 1, 0]))
    expected = [1 / 2, 5, E / (1 + E)]
    assert attention(x, x, x, mask).flatten().tolist() == pytest.approx(expected)
    out, weights = attention(x, x, x, mask, return_attention=True)
    assert out.flatten().tolist() == pytest.approx(expected)
    assert weights.flatten().tolist() == pytest.approx([1 / 2, 1 / 2, 1 / (1 + E), E / (1 + E), 1])


@pytest.mark.parametrize(
    ("score", "scores"),
    [
        # z = q + k = (1, -1) and (3, 1): a · leaky(z) with a = (2, 10) is 2 - 10 · 0.2 = 0 and 6 + 10 = 16.
        (Additive(torch.tensor([[2.0, 10.0]], dtype=torch.float64)), [0.0, 16.0]),
        (Additive(torch.tensor([[2.0, 10.0]], dtype=torch.float64), negative_slope=0.1), [1.0, 16.0]),
        (
            Additive(torch.tensor([[2.0, 10.0]], dtype=torch.float64), activation="tanh"),
            [2 * math.tanh(1) - 10 * math.tanh(1), 2 * math.tanh(3) + 10 * math.tanh(1)],
        ),
        # a_q · q = 1 - 2 = -1; a_k · k = 0 and 3 · 2 = 6: leaky(-1) = -0.2 and leaky(5) = 5.
        (Static(torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]], dtype=torch.float64)), [-0.2, 5.0]),
    ],
    ids=["additive", "slope", "tanh", "static"],
)
def test_scores(score: Additive | Static, scores: list[float]) -> None:
    """q = (1, -1), k = (0, 0) and (2, 2). Under relu and two keys the weights are max(s, 0) / 2."""
    query = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    key = torch.tensor([[[0.0, 0.0]], [[2.0, 2.0]]], dtype=torch.float64)
    _, weights = attention(query, key, key, TO_ZERO, score=score, normaliser="relu", return_attention=True)
    assert weights.flatten().tolist() == pytest.approx([max(s, 0) / 2 for s in scores])
    _, weights = attention(query, key, key, TO_ZERO, score=score, return_attention=True)
    assert math.log(weights[1] / weights[0]) == pytest.approx(scores[1] - scores[0])


def test_bias_is_added_to_the_scores_of_each_head() -> None:
    query, key = (torch.zeros(n, 2, 1, dtype=torch.float64) for n in (1, 2))
    bias = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]], dtype=torch.float64)
    _, weights = attention(query, key, key, TO_ZERO, bias=bias, return_attention=True)
    assert weights.tolist() == [pytest.approx([1 / 5, 3 / 4]), pytest.approx([4 / 5, 1 / 4])]


@pytest.mark.parametrize("need_weights", [False, True])
def test_bias_on_blocks_is_flat(need_weights: bool) -> None:
    """Scores zero, values 1 and 3: row 0 has biases (0, log 3), row 1 (log 2, 0)."""
    zero, value = column(0, 0), column(1, 3)
    bias = torch.tensor([0, math.log(3), math.log(2), 0], dtype=torch.float64).unsqueeze(1)
    result = attention(zero, zero, value, BlockDiagonalMask.single(2), bias=bias, return_attention=need_weights)
    out = result[0] if need_weights else result
    assert out.flatten().tolist() == pytest.approx([(1 + 9) / 4, (2 + 3) / 3])


@pytest.mark.parametrize("normaliser", ["softmax", "sigmoid", "relu", "sparsemax", "entmax15"])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("kind", ["adjacency", "block"])
def test_a_row_that_a_bias_forbids_gives_zero(kind: str, need_weights: bool, normaliser: str) -> None:
    """Of two nodes that see each other and themselves, node 0 may see nothing and node 1 only itself."""
    blocks = BlockDiagonalMask.single(2)
    mask = blocks if kind == "block" else blocks.pairs()
    x = column(1, 2).requires_grad_()
    bias = torch.tensor([-math.inf, -math.inf, -math.inf, 0], dtype=torch.float64).unsqueeze(1)
    result = attention(x, x, x, mask, normaliser=normaliser, bias=bias, return_attention=need_weights)
    out = result[0] if need_weights else result
    # Node 1's own score is 4: σ(4 - log 2), 4 / 2, or all of the weight.
    weight = {"sigmoid": E**4 / (E**4 + 2), "relu": 2}.get(normaliser, 1)
    assert out.flatten().tolist() == pytest.approx([0, 2 * weight])
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.isfinite().all()


def test_edge_features_enter_keys_and_values() -> None:
    """k = 0 + 2e, v = 10 + 100e with e = 0 and 1/2: scores 0 and 1, values 10 and 60."""
    attr = torch.tensor([[0.0], [0.5]], dtype=torch.float64)
    zero, ten = column(0, 0), column(10, 10)
    key_weight, value_weight = column(2), column(100)

    def run(*features: Tensor | None) -> float:
        return attention(column(1), zero, ten, TO_ZERO, edge_attr=EdgeFeatures(*features)).item()

    assert run(attr, key_weight, value_weight) == pytest.approx((10 + 60 * E) / (1 + E))
    assert run(attr, None, value_weight) == pytest.approx(35)
    assert run(attr, key_weight) == pytest.approx(10)


def test_half_precision_is_computed_in_float32() -> None:
    """A sum of 4,096 ones, weight 1 / 4096 each: in bfloat16 itself it would stop at 256."""
    one = torch.ones(4096, 1, 1, dtype=torch.bfloat16)
    mask = AdjacencyMask(torch.arange(4096), torch.zeros(4096, dtype=torch.long), 4096, 1)
    out, weights = attention(one[:1], one, one, mask, return_attention=True)
    assert out.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    assert out.item() == 1


def test_large_graphs_in_full() -> None:
    """3,000 nodes through scaled dot product, equal to softmax by rows of the whole matrix."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3000, 1, 8, generator=generator) for _ in range(3))
    out = attention(query, key, value, BlockDiagonalMask.single(3000))
    expected = (query[:, 0] @ key[:, 0].t() / math.sqrt(8)).softmax(-1) @ value[:, 0]
    assert (out[:, 0] - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("options", [{"normaliser": "sigmoid"}, {"dropout": 0.5}, {"return_attention": True}])
def test_full_attention_that_would_not_fit_is_refused_by_the_plain_version(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """400,000 nodes have 1.6e11 pairs; each takes 36 floats (query, key, value, products, scores, weights) and 40 bytes."""
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    x = torch.zeros(1, 1, 8).expand(400_000, 1, 8)
    with pytest.raises(InputError, match=r"160,000,000,000 pairs of nodes would take about 29,440,000,000,000 bytes"):
        attention(x, x, x, BlockDiagonalMask.single(400_000), **options)


def test_additive_attention_of_a_whole_network_is_refused_by_the_plain_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    x = torch.zeros(22_000, 8, 64)
    score = Additive(torch.zeros(8, 64))
    with pytest.raises(
        InputError, match=r"484,000,000 pairs of nodes would take about 4,046,\d{3},\d{3},\d{3} bytes, more than"
    ):
        attention(x, x, x, BlockDiagonalMask.single(22_000), score=score)
