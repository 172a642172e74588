"""Bars in a terminal, lines elsewhere; errors in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import write_molecules

from graphattn.cli import screen
from graphattn.errors import InputError
from graphattn.train import EpochReport


def test_elsewhere_a_line_now_and_then(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    write_molecules(Path())
    train = ("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml")
    monkeypatch.setattr(screen, "_SECONDS_BETWEEN_LINES", 600.0)
    assert "epoch" not in cli(*train, "--out", "a").err
    monkeypatch.setattr(screen, "_SECONDS_BETWEEN_LINES", 0.0)
    lines = [line for line in cli(*train, "--out", "b").err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 3
    assert re.fullmatch(r"epoch 2/3  loss [\d.]+  valid rmse [\d.]+ \(best [\d.]+\)  \d+ s left", lines[1])


def test_a_terminal_has_a_bar_that_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with screen.Screen() as shown, shown.epochs() as report:
        for epoch in range(1, 181):
            report(EpochReport(epoch, 200, "accuracy", loss=0.123456, score=0.5, best=0.75))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    lines = re.split(r"[\r\n]+", text)
    last = next(line for line in reversed(lines) if line.startswith("epoch"))
    assert "180/200" in last
    assert "loss 0.123  valid accuracy 0.500 (best 0.750)" in last
    assert last.rstrip().endswith("left")
    assert len(last) <= 80
    assert "stopped after 180 of 200 epochs" in text


def test_a_run_without_validation_shows_the_loss_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "_SECONDS_BETWEEN_LINES", 0.0)
    with screen.Screen() as shown, shown.epochs() as report:
        report(EpochReport(2, 2, "accuracy", loss=0.5))
    assert capsys.readouterr().err.startswith("epoch 2/2  loss 0.5")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no [such] column\nhere"), 2, "error: no [such] column here"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 2, "error: x.csv: No such file or directory"),
        (ValueError("odd"), 1, "error: ValueError: odd; this is a fault of graphattn: --debug shows where, please report it"),
    ],
)
def test_errors_are_one_line(error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert screen.complain(error) == code
    assert capsys.readouterr().err == line + "\n"


def test_long_errors_are_not_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    screen.complain(InputError("word " * 60 + "end"))
    assert capsys.readouterr().err.count("\n") == 1
