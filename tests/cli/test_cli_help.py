"""Help answers at once, and every example in it runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import graphattn

COMMANDS = [
    (),
    ("train",),
    ("train", "molecules"),
    ("train", "nodes"),
    ("predict",),
    ("evaluate",),
    ("datasets",),
    ("datasets", "list"),
    ("datasets", "show"),
    ("datasets", "fetch"),
    ("demo",),
    ("backends",),
    ("warmup",),
]


def examples(text: str) -> list[list[str]]:
    """The commands of a help text's example, which must stand on one line each in 80 columns."""
    lines = [line.strip() for line in text.partition("Example:")[2].splitlines()]
    return [shlex.split(line) for line in lines if line]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_shows_an_example_that_runs(
    command: tuple[str, ...], cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(*command, "--help")
    assert result.code == 0
    assert all(len(line) <= 80 for line in result.out.splitlines())
    found = examples(result.out)
    assert found
    if command in (("demo",), ("datasets", "fetch"), ("warmup",)):
        return  # a minute, the network, a compiler: run in test_cli_demo.py, tests/data and test_cli_warmup.py
    for words in found:
        assert words[0] == "graphattn"
        ran = cli(*words[1:])
        assert ran.code == 0, ran.err


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom graphattn.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = 'torch', 'numba', 'pandas', 'rdkit', 'sklearn', 'matplotlib', 'requests'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip().endswith("[]")


def test_version_of_the_module() -> None:
    done = subprocess.run([sys.executable, "-m", "graphattn", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"graphattn {graphattn.__version__}\n")


def test_without_a_command_there_is_help(cli: Callable) -> None:
    assert "Commands" in cli("--help").out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["tran"], "Did you mean 'train'"),
        (["train"], "Missing command"),
        (["train", "nodes"], "Missing option '--out'"),
        (["train", "nodes", "--out", "x", "--epoch", "3"], "No such option"),
        (["train", "nodes", "--out", "x", "--epochs", "0"], "--epochs"),
        (["train", "nodes", "--out", "x", "--seed", "-1"], "--seed"),
    ],
)
def test_mistakes_in_the_arguments_are_one_line(args: list[str], message: str, cli: Callable) -> None:
    result = cli(*args)
    assert result.code == 2
    assert message in result.error
    assert re.search(r"\(see graphattn.* --help\)$", result.error)
    assert len(result.err.strip().splitlines()) == 1


def test_predicting_imports_nothing_that_it_does_not_use(trained_molecules: Path, tmp_path: Path) -> None:
    """Imports are most of the time of a short prediction: no scikit-learn, trainer, compiler or pictures."""
    code = (
        "import sys\nfrom graphattn.cli import main\n"
        "try:\n    main(['predict', 'run', 'logp.csv', '--out', sys.argv[1]])\nexcept SystemExit as end:\n    print(end.code)\n"
        "heavy = 'sklearn', 'lightning_fabric', 'matplotlib', 'scipy.stats', 'torch._dynamo', 'torch_geometric.datasets'\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "import torch, torch_geometric.datasets\n"
        "print(torch_geometric.datasets.Planetoid.__name__, torch._dynamo.config.__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "p.csv")]
    done = subprocess.run(command, cwd=trained_molecules, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split("\n")[:3] == ["0", "[]", "Planetoid torch._dynamo.config"], done.stderr
