"""Attention that updates a state on pairs: its formula pair by pair, numbers by hand, and the laws."""

from __future__ import annotations

import copy
import itertools
import math
import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases.compare import assert_close
from helpers import batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim

from graphattn.errors import InputError
from graphattn.nn.layers.pair import PairSelfAttention, signed_sqrt
from graphattn.ops import BlockDiagonalMask

WIDTH, HEADS, PAIR_WIDTH = 6, 2, 3
law = settings(deadline=None, derandomize=True, max_examples=20, database=None)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs_of(batch: Tensor) -> list[tuple[int, int]]:
    """(target, source) of every row of a state on pairs, listed without the help of the mask."""
    listed = []
    for graph in batch.unique().tolist():
        nodes = (batch == graph).nonzero().flatten().tolist()
        listed += list(itertools.product(nodes, nodes))
    return listed


def inputs_of(batch: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    return normal(batch.shape[0], WIDTH, seed=seed), normal(len(pairs_of(batch)), PAIR_WIDTH, seed=seed + 1)


def make(seed: int = 0, **options: Any) -> PairSelfAttention:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = PairSelfAttention(WIDTH, HEADS, PAIR_WIDTH, **options).double().eval()
        for parameter in layer.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return layer


def gradients(outs: tuple[Tensor, ...], inputs: list[Tensor]) -> list[Tensor]:
    directions = [normal(*out.shape, seed=9).to(out.dtype) for out in outs]
    return list(torch.autograd.grad(outs, inputs, directions, allow_unused=True, materialize_grads=True))


def oracle(
    layer: PairSelfAttention, x: Tensor, pair: Tensor, batch: Tensor, degree: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The formula in loops over targets, sources and heads."""
    place = {pair: row for row, pair in enumerate(pairs_of(batch))}
    query, key, value = (m(x).unflatten(1, (HEADS, -1)) for m in (layer.lin_query, layer.lin_key, layer.lin_value))
    factor, shift = (half.unflatten(1, (HEADS, -1)) for half in layer.lin_pair(pair).chunk(2, dim=1))
    states: dict[tuple[int, int], list[Tensor]] = {}
    weights: dict[tuple[int, int], list[Tensor]] = {}
    attended = []
    for i, head in itertools.product(range(x.shape[0]), range(HEADS)):
        sources = [j for j in range(x.shape[0]) if batch[j] == batch[i]]
        scores = []
        for j in sources:
            row = place[i, j]
            z = (query[i, head] + key[j, head]) * factor[row, head]
            root = z.relu().sqrt() - (-z).relu().sqrt()
            state = (root + shift[row, head]).relu()
            states.setdefault((i, j), []).append(state)
            scores.append(layer.att[head] @ state)
        total = 0 * value[0, 0]
        for weight, j in zip(torch.stack(scores).softmax(0), sources, strict=True):
            weights.setdefault((i, j), []).append(weight)
            total = total + weight * (value[j, head] + layer.pair_value[head] @ states[i, j][head])
        attended.append(total)
    out = torch.stack(attended).reshape(x.shape[0], -1)
    flat_states = [torch.cat(states[pair]) for pair in place]
    flat_weights = [torch.stack(weights[pair]) for pair in place]
    if layer.degree_weight is not None:
        assert degree is not None
        out = out * layer.degree_weight[0] + out * layer.degree_weight[1] * torch.log(1 + degree).unsqueeze(1)
    return layer.lin_out(out), layer.lin_pair_out(torch.stack(flat_states)), torch.stack(flat_weights)


# --- the formula ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree_scaler", [False, True])
@law
@given(batch=batches(4, 5).filter(len), seed=st.integers(0, 99))
def test_equals_the_formula_pair_by_pair(degree_scaler: bool, batch: Tensor, seed: int) -> None:
    layer = make(degree_scaler=degree_scaler)
    x, pair = (part.requires_grad_() for part in inputs_of(batch, seed))
    degree = torch.arange(batch.shape[0]).double() if degree_scaler else None
    results = layer(x, pair, batch, degree, return_attention=True)
    expected = oracle(layer, x, pair, batch, degree)
    for actual, reference in zip(results, expected, strict=True):
        assert_close(actual, reference)
    inputs = [x, pair, *layer.parameters()]
    for actual, reference in zip(gradients(results, inputs), gradients(expected, inputs), strict=True):
        assert_close(actual, reference, tolerance=1e-6)


def test_by_hand() -> None:
    """Two nodes, all maps 1, x = (0, 4) and e = (1, 2, 0, 1), so that W_Ew e = W_Eb e = e.

    Row 0: z = (0 + 0)·1 and (0 + 4)·2, ê = 0 + 1 and √8 + 2. Row 1: z = (4 + 0)·0 and (4 + 4)·1, ê = 0 + 0 and √8 + 1.
    Messages are x_j + ê_ij.
    """
    layer = PairSelfAttention(1, bias=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    x, pair = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [2.0], [0.0], [1.0]])
    out, state, weights = layer(x, pair, return_attention=True)
    root = math.sqrt(8)
    first, second = 1 / (1 + math.exp(root + 1)), 1 / (1 + math.exp(root + 1))
    assert state.flatten().tolist() == pytest.approx([1, root + 2, 0, root + 1])
    assert weights.flatten().tolist() == pytest.approx([first, 1 - first, second, 1 - second])
    assert out.flatten().tolist() == pytest.approx(
        [first * 1 + (1 - first) * (4 + root + 2), second * 0 + (1 - second) * (4 + root + 1)]
    )


def test_derivatives_away_from_kinks() -> None:
    layer, batch = make(degree_scaler=True), torch.tensor([1, 0, 3, 1, 0])
    x, pair = (part.requires_grad_() for part in inputs_of(batch))
    degree = torch.tensor([0, 2, 1, 3, 3])
    assert torch.autograd.gradcheck(lambda *inputs: layer(*inputs, batch, degree), (x, pair))


def test_signed_square_root() -> None:
    z = torch.tensor([-9.0, -1e-4, -1e-7, 0.0, 1e-7, 1e-6, 0.25], dtype=torch.float64, requires_grad=True)
    assert signed_sqrt(z).tolist() == pytest.approx([-3, -1e-2, -1e-4, 0, 1e-4, 1e-3, 0.5])
    (slope,) = torch.autograd.grad(signed_sqrt(z).sum(), z)
    assert slope[[0, 1, 2, 3, 4, 6]].tolist() == pytest.approx([1 / 6, 50, 1000, 1000, 1000, 1])


def test_the_degree_scaler_begins_as_nothing() -> None:
    batch = torch.tensor([0, 0, 1, 1, 1])
    plain, scaled = PairSelfAttention(WIDTH, 2, PAIR_WIDTH), PairSelfAttention(WIDTH, 2, PAIR_WIDTH, degree_scaler=True)
    scaled.load_state_dict(plain.state_dict(), strict=False)
    x, pair = (part.float() for part in inputs_of(batch))
    for actual, expected in zip(scaled(x, pair, batch, torch.arange(5)), plain(x, pair, batch), strict=True):
        assert torch.equal(actual, expected)


# --- the laws -------------------------------------------------------------------------------------------------------


@law
@given(batch=batches(4, 5), seed=st.integers(0, 99), dtype=st.sampled_from([torch.float64, torch.float32]))
def test_alone_or_batched_the_same(batch: Tensor, seed: int, dtype: torch.dtype) -> None:
    layer, pairs = make().to(dtype), pairs_of(batch)
    x, pair = (part.to(dtype) for part in inputs_of(batch, seed))
    together = layer(x, pair, batch)
    for graph in batch.unique().tolist():
        own = torch.tensor([int(batch[i]) == graph for i, _ in pairs])
        alone = layer(x[batch == graph], pair[own])
        tolerance = 1e-9 if dtype == torch.float64 else 1e-5
        assert_close(alone[0], together[0][batch == graph], tolerance=tolerance)
        assert_close(alone[1], together[1][own], tolerance=tolerance)


@law
@given(batch=batches(4, 5), seed=st.integers(0, 99))
def test_order_does_not_matter(batch: Tensor, seed: int) -> None:
    layer, (x, pair) = make(), inputs_of(batch, seed)
    order = torch.randperm(batch.shape[0], generator=torch.Generator().manual_seed(seed))
    place = {pair: row for row, pair in enumerate(pairs_of(batch))}
    moved = [place[int(order[i]), int(order[j])] for i, j in pairs_of(batch[order])]
    rows = torch.tensor(moved, dtype=torch.long)
    expected = layer(x, pair, batch, return_attention=True)
    actual = layer(x[order], pair[rows], BlockDiagonalMask.from_batch(batch[order], 6), return_attention=True)
    assert_close(actual[0], expected[0][order])
    for own, reference in zip(actual[1:], expected[1:], strict=True):
        assert_close(own, reference[rows])


def test_twice_is_the_same() -> None:
    batch = torch.repeat_interleave(torch.tensor([40, 1, 25, 30]))
    layer = make(dropout=0.3).float().train()
    x, pair = (part.float().requires_grad_() for part in inputs_of(batch))
    runs = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(4)
            results = layer(x, pair, batch)
        runs.append([*results, *gradients(results, [x, pair, *layer.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_nothing_to_attend_to() -> None:
    layer = make(bias=False)
    empty = torch.zeros(0, WIDTH).double(), torch.zeros(0, PAIR_WIDTH).double()
    for mask in (None, BlockDiagonalMask.from_batch(torch.zeros(0).long(), 2)):
        x, pair = layer(*empty, mask)
        assert x.shape == (0, WIDTH)
        assert pair.shape == (0, PAIR_WIDTH)
    x, pair = torch.zeros(4, WIDTH, requires_grad=True), torch.zeros(10, PAIR_WIDTH, requires_grad=True)
    results = layer.float()(x, pair, torch.tensor([0, 2, 2, 2]))
    assert all((out == 0).all() for out in results)
    assert all(gradient.isfinite().all() for gradient in gradients(results, [x, pair, *layer.parameters()]))


def test_weights_sum_to_one_and_are_those_before_dropout() -> None:
    batch = torch.tensor([0, 1, 0, 1, 1, 3])
    layer, (x, pair) = make(dropout=0.5).train(), inputs_of(batch)
    weights = layer(x, pair, batch, return_attention=True)[2]
    sums = torch.zeros(6, HEADS).double().index_add(0, torch.tensor([i for i, _ in pairs_of(batch)]), weights.detach())
    assert_close(sums, torch.ones(6, HEADS).double())


def test_dropout_in_training_only() -> None:
    batch = torch.zeros(30).long()
    layer, (x, pair) = make(dropout=0.5), inputs_of(batch)
    expected = layer(x, pair)
    assert torch.equal(layer(x, pair)[0], expected[0])
    layer.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = [layer(x, pair) for _ in range(400)]
    assert not torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], expected[1])
    mean = torch.stack([out.detach() for out, _ in draws]).mean(0)
    assert (mean - expected[0]).norm() < 0.1 * expected[0].norm()


def test_inputs_are_not_changed() -> None:
    layer, batch = make(), torch.tensor([1, 0, 2, 1, 1, 0])
    x, pair = (part.requires_grad_() for part in inputs_of(batch))
    everything = [x, pair, batch, *layer.state_dict().values()]
    before = [tensor.detach().clone() for tensor in everything]
    gradients(layer(x, pair, batch), [x, pair])
    assert all(torch.equal(a.detach(), b) for a, b in zip(everything, before, strict=True))


def test_autocast_and_half_precision() -> None:
    layer, batch = make(), torch.arange(60) // 25
    x, pair = inputs_of(batch)
    expected = layer(x, pair, batch)
    layer = layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = layer(x.float(), pair.float(), batch)
    assert all(part.isfinite().all() for part in gradients(under_autocast, list(layer.parameters())))
    for results in (under_autocast, layer.bfloat16()(x.bfloat16(), pair.bfloat16(), batch)):
        for out, reference in zip(results, expected, strict=True):
            assert out.dtype == torch.bfloat16
            assert (out.double() - reference).abs().max() <= 0.1 * reference.abs().max()


def test_compiles_and_exports() -> None:
    torch.compiler.reset()
    layer = make()
    compiled: Callable[..., Any] = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    small, large = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0, 2, 2, 1, 0, 1, 1, 0])
    for batch in (small, large):
        x, pair = (part.requires_grad_() for part in inputs_of(batch))
        inputs = [x, pair, *layer.parameters()]
        actual, expected = compiled(x, pair, batch), layer(x, pair, batch)
        for own, reference in zip(actual, expected, strict=True):
            assert_close(own, reference)
        for own, reference in zip(gradients(actual, inputs), gradients(expected, inputs), strict=True):
            assert_close(own, reference)
    nodes, pairs = Dim("nodes"), Dim("pairs")
    shapes = {"x": {0: nodes}, "pair": {0: pairs}, "batch": {0: nodes}}
    exported = torch.export.export(layer, (*inputs_of(small), small), dynamic_shapes=shapes).module()
    for own, reference in zip(exported(*inputs_of(large), large), layer(*inputs_of(large), large), strict=True):
        assert_close(own, reference)
    torch.compiler.reset()


# --- the layer ------------------------------------------------------------------------------------------------------


def test_parameters() -> None:
    layer = PairSelfAttention(6, 2, 3, degree_scaler=True)
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    assert shapes == {
        "lin_query.weight": (6, 6),
        "lin_query.bias": (6,),
        "lin_key.weight": (6, 6),
        "lin_value.weight": (6, 6),
        "lin_value.bias": (6,),
        "lin_pair.weight": (12, 3),
        "lin_pair.bias": (12,),
        "att": (2, 3),
        "pair_value": (2, 3, 3),
        "degree_weight": (2, 6),
        "lin_out.weight": (6, 6),
        "lin_out.bias": (6,),
        "lin_pair_out.weight": (3, 6),
        "lin_pair_out.bias": (3,),
    }
    assert PairSelfAttention(6, 2).lin_pair.in_features == 6
    assert not any("bias" in name for name, _ in PairSelfAttention(6, 2, bias=False).named_parameters())


def test_copies() -> None:
    layer, batch = make(degree_scaler=True), torch.tensor([0, 0, 1])
    other = PairSelfAttention(WIDTH, HEADS, PAIR_WIDTH, degree_scaler=True).double()
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        results = [module(*inputs_of(batch), batch, torch.ones(3)) for module in (twin, layer)]
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_repr() -> None:
    assert "6, heads=2, pair_channels=3, degree_scaler=False, dropout=0.0" in repr(PairSelfAttention(6, 2, 3))


def test_a_state_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 100)
    layer = PairSelfAttention(6, 2, 3)
    small, large = torch.zeros(20).long(), torch.zeros(40).long()
    layer(*(part.float() for part in inputs_of(small)), small)
    needed = 1600 * ((10 * 6 + 2 * 3) * 4 + 16)
    with pytest.raises(
        InputError, match=f"PairSelfAttention on a state of 1,600 pairs of nodes would take about {needed:,} bytes"
    ):
        layer(*(part.float() for part in inputs_of(large)), large)


X, PAIR = torch.ones(3, 4), torch.ones(9, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PairSelfAttention(6, 4), "channels must be a multiple of heads, got channels=6, heads=4"),
        (lambda: PairSelfAttention(4, dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (lambda: PairSelfAttention(4)(torch.ones(3, 5), PAIR), r"x must be floats of shape \[nodes, 4\]"),
        (lambda: PairSelfAttention(4)(X, torch.ones(9, 3)), r"pair must be floats of shape \[pairs, 4\]"),
        (lambda: PairSelfAttention(4)(X, torch.ones(8, 4)), "pair must have a row for each of the 9 pairs of nodes, got 8"),
        (lambda: PairSelfAttention(4)(X, PAIR, torch.zeros(2).long()), "batch must be of the 3 nodes of x, got a mask of 2"),
        (lambda: PairSelfAttention(4)(X, PAIR, None, torch.ones(3)), "degree must be None, as degree_scaler is False"),
        (lambda: PairSelfAttention(4, degree_scaler=True)(X, PAIR), r"degree must have shape \[3\].*got None"),
        (lambda: PairSelfAttention(4, degree_scaler=True)(X, PAIR, None, torch.ones(2)), r"degree must have shape \[3\]"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
