"""`graphattn warmup` and `graphattn backends`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from graphattn.cli import screen
from graphattn.ops.cpu import launch, specialise, store

SMALL = ("warmup", "--heads", "1", "--channels", "1")


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets the kernels in memory, and where they are kept."""

    def forget() -> None:
        caches = ((store, "store"), (specialise, "_module"), (specialise, "_address"))
        for module, name in (*caches, (launch, "_kernel"), (launch, "_dense_kernel")):
            monkeypatch.setattr(module, name, cache(getattr(module, name).__wrapped__))

    monkeypatch.delenv("GRAPHATTN_BACKEND", raising=False)
    return forget


def test_compiles_once_and_says_where(
    cli: Callable, new_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new_process()
    monkeypatch.setattr(screen, "_SECONDS_BETWEEN_LINES", 0.0)
    first = cli(*SMALL)
    assert first.code == 0, first.err
    assert first.err == "0/1  1 × 1 dot softmax masked float32\n"  # and no advice to do what is being done
    form, total = first.out.splitlines()
    folder = tmp_path / "cache" / "kernels"
    assert re.fullmatch(r"1 × 1 dot softmax masked float32: 7 kernels in [\d.]+ s", form)
    assert re.fullmatch(rf"compiled 7 kernels in \d+ s; kept in {re.escape(str(folder))}", total)
    assert len(list(folder.rglob("*.nbc"))) == 7

    new_process()
    second = cli(*SMALL, "--quiet")
    assert (second.code, second.err) == (0, "")
    assert second.out.splitlines()[0] == "1 × 1 dot softmax masked float32: kept already"

    assert "7 kernels, " in cli("backends").out


def test_every_form_gets_a_line(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphattn.ops import warmup

    monkeypatch.setattr(warmup, "_use", lambda form: None)
    result = cli("warmup")
    assert result.code == 0, result.err
    assert len(result.out.splitlines()) == len(warmup.COMMON) + 1
    options = ("--score", "static", "--normaliser", "relu", "--edge-dim", "3", "--dropout", "--dtype", "float64")
    assert cli("warmup", "--heads", "2", "--channels", "5", *options).out.splitlines()[:2] == [
        "2 × 5 static relu masked float64, 3 edge channels: kept already",
        "2 × 5 static relu masked float64, 3 edge channels, dropout: kept already",
    ]
    full = cli("warmup", "--heads", "2", "--channels", "5", "--attention", "full").out
    assert full.startswith("2 × 5 dot softmax full float32: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--heads", "8"), "heads and channels must both be given, or neither, got 8 and None"),
        (("--score", "static"), "heads and channels must be given with other options, got neither"),
        (("--heads", "8", "--channels", "8", "--score", "cosine"), "score must be one of dot, additive, static, got 'cosine'"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], message: str, cli: Callable) -> None:
    result = cli("warmup", *arguments)
    assert result.code == 2
    assert result.error == message


def test_nothing_is_compiled_that_cannot_be_kept(cli: Callable, new_process: Callable[[], None], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    new_process()
    result = cli("warmup")
    assert result.code == 2
    assert result.error.startswith(f"what is compiled could not be kept: {tmp_path / 'cache' / 'kernels'} cannot be written: ")
    assert result.error.endswith("; set GRAPHATTN_CACHE to a folder of your own")


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with screen.Screen() as shown, shown.steps() as report:
        report(3, 31, "8 × 8 dot")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search(r" 3/31 .* 8 × 8 dot", text)
