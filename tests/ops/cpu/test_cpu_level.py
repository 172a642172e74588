"""Kernels are compiled for a named level of processors: one cache serves every machine of that level."""

from __future__ import annotations

import ctypes
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from llvmlite import binding
from torch import Tensor

import graphattn
from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, attention
from graphattn.ops.cpu import compiler, launch, level, specialise, store, threads

TEMPLATE = """
from graphattn.ops.cpu.compiler import inline
from graphattn.ops.cpu.simd import load_index, store_index

@inline
def doubled(number):
    return 2 * number

def double(arguments):
    store_index(arguments, doubled(load_index(arguments, 64)), 64)
"""
CACHED = (
    *((level, name) for name in ("host", "requested")),
    *((specialise, name) for name in ("_module", "_address")),
    *((launch, name) for name in ("_kernel", "_dense_kernel")),
    *((compiler, "_target"), (store, "store")),
)


def start_anew(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    """As a new process would begin, with this level asked for."""
    if name is None:
        monkeypatch.delenv("GRAPHATTN_CPU_LEVEL", raising=False)
    else:
        monkeypatch.setenv("GRAPHATTN_CPU_LEVEL", name)
    for module, function in CACHED:
        monkeypatch.setattr(module, function, cache(getattr(module, function).__wrapped__))
    for module in (compiler, specialise):  # each has its own name for it
        monkeypatch.setattr(module, "requested", level.requested)


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, *without: str) -> None:
    """As if the processor had another name, and not those of its features that are `without`."""
    features = binding.get_host_cpu_features()
    features.update(dict.fromkeys(without, False))
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: name)
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store and one small template."""
    (tmp_path / "tiny.py").write_text(TEMPLATE)
    monkeypatch.setattr(specialise, "_TEMPLATES", tmp_path)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache" / "kernels"


def compiles() -> int:
    """Calls the kernel; returns how many were compiled for that."""
    before, argument = specialise.num_compiled(), ctypes.c_int64(21)
    threads._serial(specialise.address(specialise.Kernel(("tiny",), "double")))(ctypes.addressof(argument))
    assert argument.value == 42
    return specialise.num_compiled() - before


def test_a_cache_serves_a_processor_of_another_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_anew(monkeypatch, None)
    if level.requested().name == level.NATIVE:
        pytest.skip("this processor serves no level")
    assert compiles() == 1
    pretend(monkeypatch, "another", "avx512vnni", "avx512bf16", "adx", "crypto")
    start_anew(monkeypatch, None)
    assert level.host().processor == "another"
    assert compiles() == 0


def test_native_kernels_are_of_one_processor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_anew(monkeypatch, "native")
    assert compiles() == 1
    start_anew(monkeypatch, "native")
    assert compiles() == 0
    pretend(monkeypatch, "another")
    start_anew(monkeypatch, "native")
    assert compiles() == 1


def test_levels_do_not_share_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in level.served():
        start_anew(monkeypatch, name)
        assert compiles() == 1
    assert len(list(folder.glob("tiny_*.py"))) == len(level.served())


def test_the_lowest_level_gives_the_results_of_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(5, 2, 8, generator=draw, requires_grad=True) for _ in range(3)]
    mask = AdjacencyMask.from_edge_index(torch.randint(5, (2, 30), generator=draw), 5)

    def results() -> tuple[Tensor, ...]:
        out = attention(*tensors, mask)
        assert isinstance(out, Tensor)
        return (out.detach(), *torch.autograd.grad(out.square().sum(), tensors))

    default = results()
    start_anew(monkeypatch, level.served()[-2:][0])
    torch.testing.assert_close(results(), default)


@pytest.mark.parametrize(
    ("machine", "without", "expected"),
    [
        ("x86_64", (), ("x86-64-v4", "x86-64-v3", "native")),
        ("AMD64", ("avx512vl",), ("x86-64-v3", "native")),
        ("x86_64", ("avx512f", "fma"), ("native",)),
        ("arm64", (), ("neon", "native")),
        ("riscv64", (), ("native",)),
    ],
)
def test_levels_that_a_processor_serves(
    machine: str, without: tuple[str, ...], expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"{'-' if word in without else '+'}{word}" for word in f"{level._V3} {level._V4} avx512vnni".split()]
    monkeypatch.setattr(level, "host", lambda: level.Level("native", "some", ",".join(words), 512))
    monkeypatch.setattr(level.platform, "machine", lambda: machine)
    assert level.served() == expected


def test_a_name_that_is_no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    start_anew(monkeypatch, "avx2")
    with pytest.raises(InputError) as error:
        level.requested()
    expected = "GRAPHATTN_CPU_LEVEL must be one of x86-64-v4, x86-64-v3, neon, native, got 'avx2'"
    assert str(error.value) == expected
    mask = AdjacencyMask.from_edge_index(torch.zeros(2, 1, dtype=torch.int64), 1)
    with pytest.raises(InputError, match="GRAPHATTN_CPU_LEVEL must be one of"):
        attention(*torch.ones(3, 1, 2, 4), mask)


def test_a_level_that_the_processor_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level, "served", lambda: ("x86-64-v3", "native"))
    pretend(monkeypatch, "haswell")
    start_anew(monkeypatch, "x86-64-v4")
    with pytest.raises(InputError) as error:
        level.requested()
    assert str(error.value) == (
        "GRAPHATTN_CPU_LEVEL=x86-64-v4 asks for kernels that this machine, haswell, cannot run; it can run x86-64-v3, native"
    )


def test_backends_shows_the_level(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from graphattn.cli import backends_screen

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(backends_screen, "requested", lambda: level.Level("x86-64-v3", "x86-64-v3", "", 256))
    monkeypatch.setattr(backends_screen, "served", lambda: ("x86-64-v3", "native"))
    graphattn.backends()
    lines = capsys.readouterr().out.splitlines()
    line = next(line.rstrip() for line in lines if line.startswith("GRAPHATTN_CPU_LEVEL"))
    assert line.split(maxsplit=1)[1] == "x86-64-v3, vectors of 256 bits; this processor serves x86-64-v3, native"
