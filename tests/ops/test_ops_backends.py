"""`graphattn.backends()` says what calls do: each is made, and what serves it is noted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numba
import pytest
import torch

import graphattn
from graphattn import InputError
from graphattn.ops import NORMALISERS, Additive, AdjacencyMask, BlockDiagonalMask, Dot, Static, backends
from graphattn.ops.backends import LARGE
from graphattn.ops.backends.report import server
from graphattn.ops.cpu import store, threads

front = importlib.import_module("graphattn.ops.attention")
SCORES = [Dot(), Additive(torch.ones(1, 1)), Static(torch.ones(2, 1, 1))]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who serves calls, instead of serving them."""
    names: list[str] = []
    for backend in backends.BACKENDS:
        kind = "fused" if backend in backends.FUSED else {"torch": "torch", "reference": "plain"}[backend.name]

        def serve(call: backends.Call, kind: str = kind) -> tuple[torch.Tensor, None]:
            names.append(kind)
            return torch.zeros_like(call.query), None

        monkeypatch.setattr(backend, "run", serve)
    return names


@pytest.mark.parametrize("backend", ["auto", "cpu", "reference", "triton"])
@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
@pytest.mark.parametrize("full", [False, True])
def test_every_cell_of_the_table(
    full: bool, score: Any, normaliser: str, backend: str, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", backend)
    edges = torch.tensor([[0, 1], [1, 0]])
    mask = BlockDiagonalMask.single(2) if full else AdjacencyMask.from_edge_index(edges, 2)
    x = torch.ones(2, 1, 1)
    kind, reason = server(score, normaliser, full)
    if kind == "refused":
        with pytest.raises(InputError) as error:
            front.attention(x, x, x, mask, score=score, normaliser=normaliser)
        assert str(error.value) == reason
        return
    front.attention(x, x, x, mask, score=score, normaliser=normaliser)
    assert served == [kind]
    note = full and score is SCORES[0] and normaliser == "softmax" and backend == "auto"
    assert (reason is None) == (kind == "fused" and not note and backend != "triton")
    if not full:
        return
    # A large graph, and dropout, which notes tell of.
    served.clear()
    x, mask = torch.ones(LARGE, 1, 1), BlockDiagonalMask.single(LARGE)
    front.attention(x, x, x, mask, score=score, normaliser=normaliser)
    front.attention(x, x, x, mask, score=score, normaliser=normaliser, dropout=0.5)
    torchs = reason is not None and "without dropout" in reason
    assert served == ["torch" if torchs else kind, "plain" if kind == "torch" else kind]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed, in one line, so that it does not matter where it is broken."""
    graphattn.backends()
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHATTN_BACKEND", raising=False)
    monkeypatch.setenv("COLUMNS", "400")


@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_the_screen(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    graphattn.backends()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split() for line in lines[1:5]] == [
        ["masked"] * 3 + ["full"] * 3,
        ["normaliser", *["dot", "additive", "static"] * 2],
        ["softmax", *["fused"] * 3, "fused¹", "fused", "fused"],
        ["softmax1", *["fused"] * 6],
    ]
    assert "…" not in "".join(lines)


def test_reasons_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert f"¹ torch's scaled_dot_product_attention on one graph of {LARGE} nodes or more, without dropout" in text
    assert "² the normaliser sparsemax has no CPU kernel" in text
    assert "³ the normaliser entmax15 has no CPU kernel" in text
    assert "returned weights the weights are wanted" in text
    assert "over 128 heads there must be 1 to 128 heads" in text
    assert "over 128 edge channels edge features must have 1 to 128 channels" in text
    assert ("on CUDA tensors" in text) == torch.cuda.is_available()
    assert "GRAPHATTN_BACKEND auto" in text
    assert f"torch {torch.__version__}, numba {numba.__version__}" in text
    assert f"graphattn {graphattn.__version__}" in text


def test_the_variable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_BACKEND", "reference")
    text = printed(capsys)
    assert "GRAPHATTN_BACKEND reference" in text
    assert "fused¹" not in text
    assert "¹ GRAPHATTN_BACKEND=reference asks for the plain version" in text
    monkeypatch.setenv("GRAPHATTN_BACKEND", "cpu")
    assert "relu fused" in printed(capsys)
    if not torch.cuda.is_available():
        monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
        assert "¹ in Triton's interpreter, for tests" in printed(capsys)
        monkeypatch.setenv("TRITON_INTERPRET", "0")
        assert "softmax refused¹" in printed(capsys)
        assert "where only Triton's interpreter serves: set TRITON_INTERPRET=1" in printed(capsys)
    monkeypatch.setenv("GRAPHATTN_BACKEND", "gpu")
    with pytest.raises(InputError, match="GRAPHATTN_BACKEND must be one of auto, reference, cpu, triton, got 'gpu'"):
        graphattn.backends()


def test_threads(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "why_serial", lambda: None)
    assert f"threads {torch.get_num_threads()}, torch's own" in printed(capsys)
    monkeypatch.setattr(threads, "why_serial", lambda: "it rains")
    assert "threads 1: it rains" in printed(capsys)


def test_where_kernels_are_kept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.nbc").write_bytes(b"0" * 1_500_000)
    monkeypatch.setattr(store, "store", lambda: store.Store(tmp_path))
    assert f"kernels kept in {tmp_path} 1 kernels, 1.5 MB" in printed(capsys)
    monkeypatch.setattr(store, "store", lambda: store.Store(tmp_path, None, "the disk rusts"))
    assert f"kernels kept in {tmp_path}, for this process alone: the disk rusts" in printed(capsys)
    monkeypatch.setattr(store, "store", lambda: store.Store(None, None, "the disk rusts"))
    assert "kernels kept in nowhere: the disk rusts" in printed(capsys)
