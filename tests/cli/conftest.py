"""`graphattn` as a function, and runs trained on small data once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import LABELLED, Result, call, inside, write_molecules, write_network

from graphattn.ops.cpu.store import store


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`graphattn` as a function, in an empty folder and without the user's caches, but for that of compiled kernels."""
    store()  # finds the folder for the rest of the process: a test would take minutes if it had to compile all of them again
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHATTN_DATA", raising=False)
    return call


@pytest.fixture(scope="session")
def trained_molecules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("molecules")
    write_molecules(folder)
    with inside(folder):
        result = call("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--out", "run")
    assert result.code == 0, result.err
    return folder


@pytest.fixture(scope="session")
def trained_nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    write_network(folder)
    with inside(folder):
        result = call("train", "nodes", *LABELLED, "--config", "small.toml", "--split", "0.5/0.2/0.3", "--out", "run")
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def molecules(trained_molecules: Path, tmp_path: Path, cli: Callable[..., Result]) -> Callable[..., Result]:
    """`graphattn` in a folder with a copy of a table of molecules and a `run` trained on it."""
    shutil.copytree(trained_molecules, tmp_path, dirs_exist_ok=True)
    return cli


@pytest.fixture
def nodes(trained_nodes: Path, tmp_path: Path, cli: Callable[..., Result]) -> Callable[..., Result]:
    """`graphattn` in a folder with a copy of a network and a `run` trained on it."""
    shutil.copytree(trained_nodes, tmp_path, dirs_exist_ok=True)
    return cli
