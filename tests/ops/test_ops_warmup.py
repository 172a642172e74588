"""What is warmed up is what layers call. Kernels are noted, not compiled; `graphattn warmup` is run in tests/cli."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from graphattn import InputError, warmup
from graphattn.chem import BOND_WIDTH
from graphattn.estimators import MoleculeClassifier, MoleculeRegressor, NodeClassifier
from graphattn.nn import FullSelfAttention, LinearSelfAttention, MaskedSelfAttention
from graphattn.ops.cpu import launch, products, threads
from graphattn.ops.cpu.specialise import Kernel
from graphattn.ops.linear_attention import LINEAR_FORMS
from graphattn.ops.warmup import COMMON, SCORES, Form


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[Kernel]:
    """The kernels that calls ask for; none is compiled, and outputs are what was in memory."""
    kernels: set[Kernel] = set()
    monkeypatch.delenv("GRAPHATTN_BACKEND", raising=False)
    monkeypatch.setattr(launch, "_kernel", lambda form, *of_form: kernels.add(form.kernel(*of_form)))
    monkeypatch.setattr(launch, "_dense_kernel", lambda form, function: kernels.add(form.dense_kernel(function)))
    monkeypatch.setattr(products, "_address", lambda *of_kernel: kernels.add(products.kernel(*of_kernel)))
    monkeypatch.setattr(threads, "run", lambda *_: None)
    monkeypatch.setattr(launch, "_call", lambda *_: None)
    return kernels


def use_layer(estimator: Any, kind: str, score: str, dropout: float, edge_dim: int | None) -> None:
    """Training steps of a layer as an estimator makes it, on a small graph and on one with a hub, and a prediction."""
    options = {"score": score, "normaliser": estimator.normaliser, "dropout": dropout}
    channels = estimator.channels
    for edges in (torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.zeros(2, 10_000, dtype=torch.int64)):
        x = torch.zeros(3, channels, requires_grad=True)
        if kind == "full":
            layer: Any = FullSelfAttention(channels, channels, estimator.heads, **options)
            inputs: tuple[Any, ...] = (x, torch.tensor([0, 0, 1]))
        else:
            layer = MaskedSelfAttention(channels, channels, estimator.heads, edge_dim=edge_dim, **options)
            inputs = (x, edges, None if edge_dim is None else torch.zeros(edges.shape[1], edge_dim))
        layer(*inputs).sum().backward()
        with torch.inference_mode():
            layer.eval()(*inputs)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["masked", "full"])
@pytest.mark.parametrize(
    ("estimator", "edge_dim"), [(NodeClassifier(), None), (MoleculeRegressor(), BOND_WIDTH), (MoleculeClassifier(), BOND_WIDTH)]
)
def test_the_layers_of_our_estimators_are_warm(
    estimator: Any, edge_dim: int | None, kind: str, dropout: float, called: set[Kernel]
) -> None:
    if dropout and edge_dim is not None:
        pytest.skip("molecule estimators have no attention dropout")
    warmup()
    warm = called.copy()
    called.clear()
    for score in SCORES if kind == "masked" else ("dot",):
        use_layer(estimator, kind, score, dropout, edge_dim)
    assert called
    assert called <= warm


def test_one_form_is_what_its_layer_calls(called: set[Kernel]) -> None:
    estimator = MoleculeRegressor(channels=12, heads=3, normaliser="sigmoid")
    for dropout in (0.0, 0.5):
        use_layer(estimator, "masked", "additive", dropout, 5)
    wanted = called.copy()
    called.clear()
    warmed = warmup(3, 4, score="additive", normaliser="sigmoid", edge_dim=5, dropout=True)
    assert called == wanted
    form = Form(3, 4, "additive", "sigmoid", edge_dim=5)
    assert [each.form for each in warmed] == [form, form._replace(dropout=True)]
    assert str(warmed[1].form) == "3 × 4 additive sigmoid masked float32, 5 edge channels, dropout"


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_types(dtype: str, called: set[Kernel]) -> None:
    warmup(2, 3, dtype=dtype)
    assert {dict(kernel.constants)["STORAGE"] for kernel in called} == {dtype}


def test_linear_attention_is_warm(called: set[Kernel]) -> None:
    warmup()
    warm = called.copy()
    called.clear()
    for heads, channels in ((8, 8), (8, 16), (4, 32), (1, 64)):
        for form, nodes in product(LINEAR_FORMS, (5, 3000)):
            x = torch.ones(nodes, heads * channels, requires_grad=True)
            LinearSelfAttention(heads * channels, heads * channels, heads, form=form)(x).sum().backward()
    assert called
    assert called <= warm


def test_progress_and_what_is_returned(called: set[Kernel]) -> None:
    seen: list[tuple[int, int, str]] = []
    warmed = warmup(progress=lambda *step: seen.append(step))
    assert [form for form, _, _ in warmed] == list(COMMON)
    assert seen == [(number, len(COMMON), str(form)) for number, form in enumerate(COMMON)]
    assert len(set(COMMON)) == len(COMMON)
    assert {form[:2] for form in COMMON} == {(8, 8), (8, 16), (4, 32), (4, 16), (1, 64)}


def test_the_callers_modes_and_generators_do_not_matter(called: set[Kernel]) -> None:
    warmup(2, 3, dropout=True)
    wanted = called.copy()
    called.clear()
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        warmup(2, 3, dropout=True)
    assert called == wanted
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 8}, "heads and channels must both be given, or neither, got 8 and None"),
        ({"channels": 8}, "heads and channels must both be given, or neither, got None and 8"),
        ({"score": "static"}, "heads and channels must be given with other options, got neither"),
        ({"heads": 0, "channels": 8}, "heads must be at least 1, got 0"),
        ({"heads": 8, "channels": 8, "edge_dim": 0}, "edge_dim must be at least 1, got 0"),
        ({"heads": 8, "channels": 8, "score": "cosine"}, "score must be one of dot, additive, static, got 'cosine'"),
        ({"heads": 8, "channels": 8, "normaliser": "max"}, "normaliser must be one of .*, got 'max'"),
        (
            {"heads": 8, "channels": 8, "normaliser": "sparsemax"},
            "nothing to compile for 8 × 8 dot sparsemax .* has no CPU kernel",
        ),
        ({"heads": 8, "channels": 8, "attention": "all"}, "attention must be one of masked, full, linear, got 'all'"),
        ({"heads": 8, "channels": 8, "attention": "full", "edge_dim": 3}, "edge_dim must be None with attention='full'"),
        ({"heads": 8, "channels": 8, "attention": "linear", "edge_dim": 3}, "edge_dim must be None with attention='linear'"),
        ({"heads": 8, "channels": 8, "attention": "linear", "dropout": True}, "score, normaliser and dropout must be left out"),
        ({"heads": 8, "channels": 8, "dtype": "float16"}, "dtype must be one of float32, float64, bfloat16, got 'float16'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str, called: set[Kernel]) -> None:
    with pytest.raises(InputError, match=message):
        warmup(**arguments)
    assert not called


def test_the_plain_version_has_nothing_to_compile(called: set[Kernel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    with pytest.raises(InputError, match="GRAPHATTN_BACKEND=reference asks for the plain version"):
        warmup()
