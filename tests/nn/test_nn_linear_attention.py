"""Linear attention: its formulas with whole matrices of weights, torch_geometric's layers where they agree, and the laws."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases.compare import assert_close, gradients
from helpers import batches, machine, threads
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim
from torch_geometric.nn.attention import PerformerAttention, PolynormerAttention, SGFormerAttention

from graphattn.errors import InputError
from graphattn.nn.layers.linear import LinearSelfAttention
from graphattn.ops import BlockDiagonalMask, attention
from graphattn.ops.cpu import products
from graphattn.ops.linear_attention import LINEAR_FORMS, linear_attention, orthogonal_projection, sums

NAMES = tuple(LINEAR_FORMS)
WIDTH, HEADS, CHANNELS = 5, 2, 3
law = settings(deadline=None, derandomize=True, max_examples=25, database=None)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rows(nodes: int, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value; the values are wider than the keys."""
    query, key = (scale * normal(nodes, HEADS, CHANNELS, seed=2 * seed + k) for k in range(2))
    return query, key, normal(nodes, HEADS, CHANNELS + 1, seed=seed + 100)


def projection_of(form: str, channels: int = CHANNELS, features: int = 7) -> Tensor | None:
    draw = LINEAR_FORMS[form].draw_projection
    return None if draw is None else draw(channels, features).double()


def make(form: str, seed: int = 0, **options: Any) -> LinearSelfAttention:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = LinearSelfAttention(WIDTH, 6, HEADS, form=form, **options).double().eval()
        for parameter in layer.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return layer


def kernel_matrix(form: str, query: Tensor, key: Tensor, projection: Tensor | None) -> Tensor:
    """κ of all pairs of one graph and one head, from the definition, [n, n]."""
    nodes, channels = query.shape
    if form == "sgformer":
        return torch.eye(nodes) + (query / query.norm()) @ (key / key.norm()).t() / nodes
    if form == "polynormer":
        return query.sigmoid() @ key.sigmoid().t()
    assert projection is not None
    query, key = query / channels**0.25, key / channels**0.25
    features = [torch.exp(part @ projection.t() - part.square().sum(1, keepdim=True) / 2) for part in (query, key)]
    return features[0] @ features[1].t()


def oracle(form: str, query: Tensor, key: Tensor, value: Tensor, batch: Tensor, projection: Tensor | None) -> Tensor:
    out = 0 * value
    for graph in batch.unique().tolist():
        nodes = (batch == graph).nonzero().flatten()
        for head in range(query.shape[1]):
            kernel = kernel_matrix(form, query[nodes, head], key[nodes, head], projection)
            out[nodes, head] = kernel @ value[nodes, head] / kernel.sum(1, keepdim=True)
    return out


# --- the formulas ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NAMES)
@law
@given(batch=batches(5, 7), seed=st.integers(0, 99))
def test_equals_the_formula_graph_by_graph(form: str, batch: Tensor, seed: int) -> None:
    inputs, projection = rows(batch.shape[0], seed), projection_of(form)
    inputs = tuple(part.requires_grad_() for part in inputs)
    out = linear_attention(*inputs, BlockDiagonalMask.from_batch(batch), form, projection)
    expected = oracle(form, *inputs, batch, projection)
    assert_close(out, expected)
    for actual, reference in zip(gradients(out, list(inputs)), gradients(expected, list(inputs)), strict=True):
        assert_close(actual, reference, tolerance=1e-7)


@pytest.mark.parametrize("form", NAMES)
def test_large_graphs_are_summed_in_chunks(form: str) -> None:
    batch = torch.repeat_interleave(torch.tensor([2600, 256, 3, 257]))
    inputs, projection = rows(batch.shape[0]), projection_of(form)
    out = linear_attention(*inputs, BlockDiagonalMask.from_batch(batch), form, projection)
    assert_close(out, oracle(form, *inputs, batch, projection))


@pytest.mark.parametrize("form", NAMES)
def test_derivatives(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ROWS", "_SUMMED_ROWS"):
        monkeypatch.setattr(products, name, 2)
    mask, projection = BlockDiagonalMask.from_batch(torch.tensor([1, 0, 3, 1, 0, 1, 1, 1])), projection_of(form)

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return linear_attention(query, key, value, mask, form, projection)

    inputs = tuple(part.requires_grad_() for part in rows(8))
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_sgformer_by_hand() -> None:
    """x = 1 and 2, identity maps: norms √5, so κ = [[1 + 1/10, 2/10], [2/10, 1 + 4/10]]."""
    layer = LinearSelfAttention(1, 1, bias=False, out_proj=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    out = layer(torch.tensor([[1.0], [2.0]]))
    assert out.flatten().tolist() == pytest.approx([(1.1 + 0.4) / 1.3, (0.2 + 2.8) / 1.6])


def test_polynormer_by_hand() -> None:
    """σ(0) = 1/2 and σ(ln 3) = 3/4: the second node has 3/5 of every row."""
    layer = LinearSelfAttention(1, 1, form="polynormer", bias=False, out_proj=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    out = layer(torch.tensor([[0.0], [math.log(3)]]))
    assert out.flatten().tolist() == pytest.approx([0.6 * math.log(3)] * 2)


def test_performer_by_hand() -> None:
    """Ω = 1 and x = 0 and 1: φ = 1 and e^(1 - 1/2), so the second node has √e / (1 + √e) of every row."""
    layer = LinearSelfAttention(1, 1, form="performer", features=1, bias=False, out_proj=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    nn.init.ones_(layer.projection)
    out = layer(torch.tensor([[0.0], [1.0]]))
    assert out.flatten().tolist() == pytest.approx([math.exp(0.5) / (1 + math.exp(0.5))] * 2)


def test_performer_estimates_softmax_attention() -> None:
    """For short queries and keys: the variance of the estimate rises with the exponential of their lengths."""
    query, key, value = rows(30, scale=0.3)
    mask, errors = BlockDiagonalMask.single(30), []
    expected = attention(query, key, value, mask)
    for features in (3, 60, 1200, 24000):
        out = linear_attention(query, key, value, mask, "performer", orthogonal_projection(CHANNELS, features))
        errors.append(float((out - expected).norm() / expected.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.005


def test_random_features_are_orthogonal_in_blocks_and_as_long_as_gaussian_vectors() -> None:
    projection = orthogonal_projection(16, 400)
    first = projection[:16] @ projection[:16].t()
    assert (first - first.diagonal().diag()).abs().max() < 1e-4
    assert float(projection.square().sum(1).mean()) == pytest.approx(16, rel=0.05)
    assert float(projection.square().sum(1).std()) == pytest.approx(math.sqrt(32), rel=0.2)
    assert (projection.mean(0).abs() < 0.25).all()
    assert torch.equal(projection, orthogonal_projection(16, 400))
    assert orthogonal_projection(16).shape == (45, 16)
    assert orthogonal_projection(1).shape == (1, 1)


# --- torch_geometric ------------------------------------------------------------------------------------------------


def copy_maps(layer: LinearSelfAttention, theirs: nn.Module, heads_first: bool = True) -> None:
    """Their queries, keys and values in ours; theirs may have the heads last in a row."""
    names = {"lin_query": "q", "lin_key": "k", "lin_value": "v"}
    for ours, name in names.items():
        source = getattr(theirs, name, theirs.k)
        for part in ("weight", "bias"):
            tensor = getattr(source, part).detach()
            if not heads_first:
                tensor = tensor.unflatten(0, (-1, HEADS)).transpose(0, 1).flatten(0, 1)
            getattr(getattr(layer, ours), part).data.copy_(tensor)


@pytest.mark.parametrize("shared", [True, False])
def test_equals_torch_geometrics_polynormer(shared: bool) -> None:
    """But for the 1e-6 in its denominators. Its gate and norm around the attention are applied to ours here."""
    theirs = PolynormerAttention(WIDTH, HEADS, CHANNELS, qkv_bias=True, qk_shared=shared).double()
    layer, x = LinearSelfAttention(WIDTH, 6, HEADS, form="polynormer", out_proj=False).double(), normal(20, WIDTH)
    copy_maps(layer, theirs, heads_first=False)
    attended = layer(x).unflatten(1, (HEADS, -1)).transpose(1, 2).flatten(1)
    out = theirs.lin_out(theirs.lns(attended) * (theirs.h_lins(x) + theirs.beta)).relu()
    assert_close(out, theirs(x.unsqueeze(0)).squeeze(0), tolerance=1e-5)


def test_equals_torch_geometrics_sgformer_but_for_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It divides every query and key by its own norm; with the paper's norm over the graph in that place, they agree."""
    theirs = SGFormerAttention(6, HEADS, CHANNELS, qkv_bias=True)
    layer, x = LinearSelfAttention(6, 6, HEADS, out_proj=False), normal(20, 6).float()
    copy_maps(layer, theirs)
    mean_over_heads = layer(x).unflatten(1, (HEADS, -1)).mean(1)
    norm = torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "norm", lambda t, ord, dim, keepdim: norm(t, dim=(1, 3), keepdim=True))
    assert_close(mean_over_heads, theirs(x.unsqueeze(0)).squeeze(0), tolerance=1e-6)


def test_equals_torch_geometrics_performer_but_for_the_features() -> None:
    """Its kernel is max(Ωx, 0) + 0.001. As many orthonormal rows as channels keep lengths, so that FAVOR+ is a kernel of Ωx."""

    def kernel(projected: Tensor) -> Tensor:
        return (projected - projected.square().sum(-1, keepdim=True) / 2).exp() - 0.001

    theirs = PerformerAttention(6, HEADS, CHANNELS, kernel=kernel, qkv_bias=True).double()
    layer, x = LinearSelfAttention(6, 6, HEADS, form="performer", features=CHANNELS).double(), normal(20, 6)
    copy_maps(layer, theirs)
    layer.lin_out.load_state_dict(theirs.attn_out.state_dict())
    layer.projection.copy_(theirs.fast_attn.projection_matrix)
    for linear in (layer.lin_query, layer.lin_key):
        for parameter in linear.parameters():
            parameter.data *= CHANNELS**0.25
    # Their rows are orthonormal in float32.
    assert_close(layer(x), theirs(x.unsqueeze(0)).squeeze(0), tolerance=1e-6)


# --- the laws -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NAMES)
@law
@given(batch=batches(5, 7), seed=st.integers(0, 99), dtype=st.sampled_from([torch.float64, torch.float32]))
def test_alone_or_batched_the_same(form: str, batch: Tensor, seed: int, dtype: torch.dtype) -> None:
    layer, x = make(form).to(dtype), normal(batch.shape[0], WIDTH, seed=seed).to(dtype)
    # Graphs of very different scales: what leaks shows.
    x = x * (10.0 ** (batch % 3 - 1)).unsqueeze(1)
    together = layer(x, batch)
    for graph in batch.unique().tolist():
        tolerance = 1e-9 if dtype == torch.float64 else 1e-5
        assert_close(layer(x[batch == graph]), together[batch == graph], tolerance=tolerance)


@pytest.mark.parametrize("form", NAMES)
@law
@given(batch=batches(5, 7), seed=st.integers(0, 99))
def test_order_does_not_matter(form: str, batch: Tensor, seed: int) -> None:
    layer, x = make(form), normal(batch.shape[0], WIDTH, seed=seed)
    order = torch.randperm(batch.shape[0], generator=torch.Generator().manual_seed(seed))
    assert_close(layer(x[order], batch[order]), layer(x, batch)[order])
    assert_close(layer(x, BlockDiagonalMask.from_batch(batch, 9)), layer(x, batch))


SIZES = torch.repeat_interleave(torch.tensor([3001, 5, 700, 1, 40]))


@pytest.mark.parametrize("heads", [1, 4, 32])
def test_sums_have_the_same_bits_for_any_number_of_threads(heads: int) -> None:
    query, key, value = (normal(SIZES.shape[0], heads, 32 // heads, seed=s).float().requires_grad_() for s in range(3))
    ptr, runs = BlockDiagonalMask.from_batch(SIZES).ptr, []
    for number in (1, 2, 4):
        with threads(number):
            out = torch.cat(sums.kernel_sums(query, key, value, ptr), dim=-1)
            runs.append([out, *gradients(out, [query, key, value])])
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True)), machine()


@pytest.mark.parametrize("form", NAMES)
def test_twice_is_the_same(form: str) -> None:
    """At one number of threads: torch's own sigmoid, for one, has other bits at the ends of the threads' shares."""
    layer, x = make(form).float(), normal(SIZES.shape[0], WIDTH).float().requires_grad_()
    runs = []
    with threads(2):
        for _ in range(2):
            out = layer(x, SIZES)
            runs.append([out, *gradients(out, [x, *layer.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("form", NAMES)
def test_nothing_to_attend_to(form: str) -> None:
    layer = make(form, bias=False)
    assert layer(torch.zeros(0, WIDTH).double()).shape == (0, 6)
    assert layer(torch.zeros(0, WIDTH).double(), BlockDiagonalMask.from_batch(torch.zeros(0).long(), 3)).shape == (0, 6)
    x = torch.zeros(4, WIDTH, dtype=torch.float64, requires_grad=True)
    out = layer(x, torch.tensor([0, 2, 2, 2]))
    assert torch.equal(out, torch.zeros_like(out))
    assert all(gradient.isfinite().all() for gradient in gradients(out, [x, *layer.parameters()]))


def test_a_graph_of_one_node_keeps_its_value() -> None:
    """Where query and key are opposite, both sides of SGFormer's fraction are zero."""
    query = torch.tensor([[[2.0]], [[3.0]]], requires_grad=True)
    value = torch.tensor([[[5.0]], [[7.0]]])
    out = linear_attention(query, -query, value, BlockDiagonalMask.from_batch(torch.tensor([0, 1])))
    assert_close(out, value, tolerance=1e-6)
    assert gradients(out, [query])[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("form", NAMES)
def test_far_from_zero_all_stays_finite(form: str, dtype: torch.dtype) -> None:
    batch = torch.tensor([0, 0, 0, 1, 1, 2])
    inputs = [part.to(dtype).requires_grad_() for part in rows(6, scale=1e4)]
    projection = projection_of(form)
    out = linear_attention(*inputs, BlockDiagonalMask.from_batch(batch), form, projection)
    assert all(gradient.isfinite().all() for gradient in gradients(out, inputs))
    assert out.isfinite().all()
    assert out.abs().max() <= 2 * inputs[2].abs().max()


def test_performer_with_distant_keys_is_right_in_float32() -> None:
    """Only the key that each query likes matters: no epsilon and no common maximum may drown it."""
    points = torch.tensor([[[40.0]], [[-40.0]]])
    value = torch.tensor([[[1.0]], [[2.0]]])
    projection = torch.tensor([[1.0], [-1.0]])
    out = linear_attention(points, points, value, BlockDiagonalMask.single(2), "performer", projection)
    assert torch.equal(out, value)


@pytest.mark.parametrize("form", NAMES)
def test_inputs_are_not_changed(form: str) -> None:
    layer, x, batch = make(form), normal(6, WIDTH).requires_grad_(), torch.tensor([1, 0, 2, 1, 1, 0])
    everything = [x, batch, *layer.state_dict().values()]
    before = [tensor.detach().clone() for tensor in everything]
    gradients(layer(x, batch), [x])
    assert all(torch.equal(a.detach(), b) for a, b in zip(everything, before, strict=True))


@pytest.mark.parametrize("form", NAMES)
def test_autocast_and_half_precision(form: str) -> None:
    layer, x = make(form).float(), normal(2000, WIDTH).float()
    batch = torch.arange(2000) // 600
    expected = layer.double()(x.double(), batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = layer.float()(x, batch)
        gradient = gradients(under_autocast, list(layer.parameters()))
    in_half = layer.bfloat16()(x.bfloat16(), batch)
    for out in (under_autocast, in_half):
        assert out.dtype == torch.bfloat16
        assert (out.double() - expected).abs().max() <= 0.1 * expected.abs().max()
    assert all(part.isfinite().all() for part in gradient)


@pytest.mark.cuda
@pytest.mark.parametrize("form", NAMES)
def test_on_a_gpu(form: str) -> None:
    layer, x, found = make(form), normal(SIZES.shape[0], WIDTH), []
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(layer).to(device)
        leaf = x.to(device).requires_grad_()
        out = there(leaf, SIZES.to(device))
        direction = normal(*out.shape, seed=9).to(device)
        found.append([out, *torch.autograd.grad(out, [leaf, *there.parameters()], direction)])
    for actual, expected in zip(found[1], found[0], strict=True):
        assert_close(actual.cpu(), expected)


@pytest.mark.parametrize("form", NAMES)
def test_compiles_and_exports(form: str) -> None:
    torch.compiler.reset()
    layer = make(form)
    compiled: Callable[..., Tensor] = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    small, large = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([0, 2, 2, 1, 0, 1, 1, 0])
    for batch in (small, large):
        x = normal(batch.shape[0], WIDTH).requires_grad_()
        inputs = [x, *layer.parameters()]
        out, expected = compiled(x, batch), layer(x, batch)
        assert_close(out, expected)
        for actual, reference in zip(gradients(out, inputs), gradients(expected, inputs), strict=True):
            assert_close(actual, reference)
    nodes = Dim("nodes")
    exported = torch.export.export(
        layer, (normal(5, WIDTH), small), dynamic_shapes={"x": {0: nodes}, "batch": {0: nodes}}
    ).module()
    assert_close(exported(normal(8, WIDTH), large), layer(normal(8, WIDTH), large))
    torch.compiler.reset()


def test_memory_is_linear_in_the_nodes() -> None:
    """The weights of 100,000 nodes' pairs would take 40 GB."""
    query, key, value = normal(100_000, 3, 1, 4).unbind(1)
    out = linear_attention(query, key, value, BlockDiagonalMask.single(100_000), "polynormer")
    kernel = query[:5, 0].sigmoid() @ key[:, 0].sigmoid().t()
    assert_close(out[:5, 0], kernel @ value[:, 0] / kernel.sum(1, keepdim=True))


# --- the layer ------------------------------------------------------------------------------------------------------


def test_parameters() -> None:
    maps = {f"{name}.{part}" for name in ("lin_query", "lin_key", "lin_value", "lin_out") for part in ("weight", "bias")}
    for form in LINEAR_FORMS:
        layer = LinearSelfAttention(WIDTH, 6, 2, form=form)
        assert {name for name, _ in layer.named_parameters()} == maps
        assert set(layer.state_dict()) - maps == ({"projection"} if form == "performer" else set())
        assert all((parameter == 0).all() for name, parameter in layer.named_parameters() if name.endswith("bias"))
        assert len(list(LinearSelfAttention(WIDTH, 6, form=form, bias=False, out_proj=False).parameters())) == 3


@pytest.mark.parametrize("form", NAMES)
def test_copies(form: str) -> None:
    layer, x = make(form), normal(6, WIDTH)
    other = LinearSelfAttention(WIDTH, 6, HEADS, form=form).double()
    other.load_state_dict(layer.state_dict())
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))


def test_hooked_maps_are_called() -> None:
    layer, x = make("sgformer"), normal(6, WIDTH)
    expected = layer(x)
    layer.lin_value.register_forward_hook(lambda module, inputs, output: 2 * output)
    layer.lin_out.bias.data.zero_()
    expected = expected - make("sgformer").lin_out.bias
    assert_close(layer(x), 2 * expected)


def test_repr() -> None:
    assert "5, 6, heads=2, form='performer'" in repr(LinearSelfAttention(5, 6, 2, form="performer"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearSelfAttention(4, 6, 4), "out_channels must be a multiple of heads, got out_channels=6, heads=4"),
        (
            lambda: LinearSelfAttention(4, 4, form="softmax"),
            "form must be one of sgformer, polynormer, performer, got 'softmax'",
        ),
        (lambda: LinearSelfAttention(4, 4, features=9), "features must be None for form='sgformer'"),
        (lambda: LinearSelfAttention(4, 4, form="performer", features=0), "features must be a positive number"),
        (lambda: LinearSelfAttention(4, 4)(torch.ones(3, 5)), r"x must be floats of shape \[nodes, 4\]"),
        (lambda: LinearSelfAttention(4, 4)(torch.ones(3, 4), torch.zeros(2).long()), "batch must be of the 3 nodes of x"),
        (lambda: LinearSelfAttention(4, 4)(torch.ones(3, 4), return_attention=True), "return_attention must be False"),
        (lambda: linear_attention(*rows(3), BlockDiagonalMask.single(2)), "mask must be of the 3 nodes"),
        (lambda: linear_attention(*rows(3)[:2], torch.ones(2, 2, 2), BlockDiagonalMask.single(3)), "query, key and value must"),
        (lambda: linear_attention(*rows(3), BlockDiagonalMask.single(3), "performer"), "projection must be a tensor"),
        (
            lambda: linear_attention(*rows(3), BlockDiagonalMask.single(3), "polynormer", torch.ones(2, 3)),
            "projection must be None",
        ),
        (
            lambda: linear_attention(*rows(3), BlockDiagonalMask.single(3), "performer", torch.ones(2, 2)),
            r"projection must have shape \[features, 3\]",
        ),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
