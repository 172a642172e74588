"""A run's folder under way, broken off, resumed, replaced, and damaged."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_cases import LABELLED, NETWORK, read_csv, write_molecules, write_network

from graphattn.cli import screen
from graphattn.estimators.base import GraphEstimator
from graphattn.estimators.manifest import write_manifest

MOLECULES = ("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml")
NODES = ("train", "nodes", *LABELLED, "--config", "small.toml", "--split", "0.5/0.2/0.3")


@pytest.fixture
def checkpoint_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    options = GraphEstimator._train_options
    monkeypatch.setattr(
        GraphEstimator, "_train_options", lambda self: dataclasses.replace(options(self), checkpoint_seconds=0.0)
    )


@contextmanager
def broken_off(epoch: int) -> Iterator[None]:
    """Ctrl-C comes after so many epochs."""

    @contextmanager
    def epochs(self: screen.Screen) -> Iterator[Any]:
        def report(progress: Any) -> None:
            if progress.epoch == epoch:
                raise KeyboardInterrupt

        yield report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen.Screen, "epochs", epochs)
        yield


@pytest.mark.parametrize("job", ["molecules", "nodes"])
@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_a_resumed_run_is_the_same_to_the_bit(job: str, cli: Callable) -> None:
    (write_molecules if job == "molecules" else write_network)(Path())
    train = MOLECULES if job == "molecules" else NODES
    assert cli(*train, "--out", "whole").code == 0
    with broken_off(epoch=3):
        result = cli(*train, "--out", "run")
    assert result.code == 130
    assert result.error == "interrupted; the same command with --resume goes on from there"
    assert not Path("run").exists()
    assert Path("run.partial/checkpoint.pt").exists()

    result = cli(*train, "--out", "run")
    assert result.code == 2
    assert "go on with --resume, or start again with --overwrite" in result.error
    result = cli(*train, "--out", "run", "--epochs", "7", "--resume")
    assert result.code == 2
    assert "other options or data" in result.error

    assert cli(*train, "--out", "run", "--resume").code == 0
    assert not Path("run.partial").exists()
    assert {path.name for path in Path("run").iterdir()} == {path.name for path in Path("whole").iterdir()}
    for file in ("model.safetensors", "config.json", "history.csv", "predictions.csv", "splits.json"):
        assert Path("run", file).read_bytes() == Path("whole", file).read_bytes(), file


CHILD = """
import dataclasses, sys, time
import graphattn.cli.screen as screen
from contextlib import contextmanager
from graphattn.estimators.base import GraphEstimator
options = GraphEstimator._train_options
GraphEstimator._train_options = lambda self: dataclasses.replace(options(self), checkpoint_seconds=0.0)
@contextmanager
def epochs(self):
    yield lambda progress: time.sleep(0.2)
screen.Screen.epochs = epochs
from graphattn.cli import main
main(sys.argv[1:])
"""


def test_a_killed_run_resumes_to_the_same_weights(cli: Callable, tmp_path: Path) -> None:
    write_network(tmp_path)
    train = (*NODES, "--epochs", "40")
    assert cli(*train, "--out", "whole").code == 0
    child = subprocess.Popen([sys.executable, "-c", CHILD, *train, "--out", "run"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not Path("run.partial/checkpoint.pt").exists():
        assert child.poll() is None, "the child ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not Path("run").exists()
    assert cli("predict", "run", *NETWORK, "--out", "labels.csv").code == 2
    assert cli(*train, "--out", "run", "--resume").code == 0
    assert Path("run/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


def test_resume_without_anything_to_resume_starts(cli: Callable) -> None:
    write_network(Path())
    assert cli(*NODES, "--out", "run", "--resume").code == 0


def test_a_refused_run_leaves_nothing(cli: Callable) -> None:
    write_network(Path())
    Path("small.toml").write_text("heads = 7\n")
    assert "heads" in cli(*NODES, "--out", "run").error
    assert not list(Path().glob("run*"))


@pytest.mark.usefixtures("checkpoint_each_epoch")
def test_overwrite_keeps_the_old_run_until_the_new_one_is_complete(nodes: Callable) -> None:
    old = Path("run/model.safetensors").read_bytes()
    with broken_off(epoch=3):
        assert nodes(*NODES, "--seed", "5", "--out", "run", "--overwrite").code == 130
    assert Path("run/model.safetensors").read_bytes() == old
    assert nodes("predict", "run", *NETWORK, "--out", "labels.csv").code == 0
    assert nodes(*NODES, "--seed", "5", "--out", "run", "--overwrite", "--resume").code == 0
    assert Path("run/model.safetensors").read_bytes() != old
    assert json.loads(Path("run/metrics.json").read_text())["seed"] == 5
    assert sorted(path.name for path in Path().glob("run*")) == ["run"]


def test_overwrite_leaves_a_folder_alone_that_is_no_run(cli: Callable) -> None:
    write_network(Path())
    Path("thesis").mkdir()
    Path("thesis/chapter1.txt").write_text("years of work")
    result = cli(*NODES, "--out", "thesis", "--overwrite")
    assert result.code == 2
    assert "not a run of graphattn" in result.error
    assert Path("thesis/chapter1.txt").read_text() == "years of work"
    assert "must name a folder" in cli(*NODES, "--out", ".", "--overwrite").error


class Bomb:
    """What a pickle could do when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def edit_config(**changes: Any) -> None:
    """Changes the config as one would who writes the manifest anew as well, so that the values themselves are checked."""
    config = json.loads(Path("run/config.json").read_text())
    write_sealed("config.json", json.dumps({**config, **changes}).encode())


def write_sealed(name: str, content: bytes) -> None:
    Path("run", name).write_bytes(content)
    write_manifest(Path("run"))


DAMAGES: dict[str, tuple[Callable[[], Any], str]] = {
    "no folder": (lambda: shutil.rmtree("run"), "run is not a folder"),
    "no config": (lambda: Path("run/config.json").unlink(), "has no config.json"),
    "config cut off": (lambda: Path("run/config.json").write_text('{"format": 1,'), "config.json is not valid JSON"),
    "config not text": (lambda: Path("run/config.json").write_bytes(b"\xff\xfe\x00"), "config.json is not valid JSON"),
    "config of something else": (
        lambda: Path("run/config.json").write_text('{"model_type": "bert"}'),
        "not the config of a graphattn",
    ),
    "config a list": (lambda: Path("run/config.json").write_text("[1]"), "not the config of a graphattn"),
    "config of a later version": (lambda: edit_config(format=99), "config.json has format 99"),
    "unknown estimator": (lambda: edit_config(estimator="os.system"), "os.system"),
    "no params": (lambda: edit_config(params=None), "config.json is damaged"),
    "unknown param": (lambda: edit_config(params={"evil": 1}), "config.json is damaged"),
    "no model": (lambda: edit_config(model={}), "config.json is damaged"),
    "model of other type": (lambda: edit_config(model=[1]), "config.json is damaged"),
    "model of other size": (
        lambda: edit_config(model={**json.loads(Path("run/config.json").read_text())["model"], "channels": 32}),
        "model.safetensors does not hold the weights",
    ),
    "data is text": (lambda: edit_config(data="table.csv"), "config.json"),
    "data is empty": (lambda: edit_config(data={}), "config.json"),
    "no weights": (lambda: Path("run/model.safetensors").unlink(), "has no model.safetensors"),
    "weights cut off": (
        lambda: Path("run/model.safetensors").write_bytes(Path("run/model.safetensors").read_bytes()[:-100]),
        "model.safetensors is damaged or was changed: it has",
    ),
    "weights empty": (
        lambda: Path("run/model.safetensors").write_bytes(b""),
        "model.safetensors is damaged or was changed: it has 0 bytes",
    ),
    "weights a pickle": (lambda: write_sealed("model.safetensors", pickle.dumps(Bomb())), "model.safetensors cannot be read"),
    "no manifest": (lambda: Path("run/manifest.json").unlink(), "run has no manifest.json"),
    "manifest of other files": (
        lambda: Path("run/manifest.json").write_text('{"files": {}, "sha256": ""}'),
        "manifest.json is damaged or was changed: its own checksum",
    ),
    "config nested without end": (lambda: write_sealed("config.json", b"[" * 100_000), "it is nested too deeply"),
    "a million layers": (
        lambda: edit_config(model={**json.loads(Path("run/config.json").read_text())["model"], "num_layers": 10**6}),
        "num_layers must be at most 1,000, got 1000000",
    ),
    "a param without end": (
        lambda: edit_config(params={"channels": 8, "heads": 1, "num_layers": 10**400}),
        "num_layers must be",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("job", ["molecules", "nodes"])
def test_a_damaged_run_is_a_clear_error(job: str, damage: str, request: pytest.FixtureRequest) -> None:
    cli = request.getfixturevalue(job)
    spoil, message = DAMAGES[damage]
    spoil()
    data = ["logp.csv"] if job == "molecules" else NETWORK
    result = cli("predict", "run", *data, "--out", "p.csv")
    assert result.code == 2, result.err
    assert message in result.error
    assert not list(Path().glob("p.csv*"))
    assert not Path("exploded").exists()


def test_a_damaged_encoding_of_features(nodes: Callable) -> None:
    data = json.loads(Path("run/config.json").read_text())["data"]
    for encoding in ({}, {"kind": "magic"}, {"kind": "columns", "columns": [1]}, {"kind": "ids", "vocabulary": 3}, "text"):
        edit_config(data={**data, "encoding": encoding})
        result = nodes("predict", "run", *NETWORK, "--out", "p.csv")
        assert result.code == 2, (encoding, result.err)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"train": []}', '{"trained_on": 3}'])
def test_damaged_splits_are_an_error_where_they_matter(content: str, molecules: Callable) -> None:
    Path("run/splits.json").write_text(content)
    result = molecules("evaluate", "run", "logp.csv")
    assert result.code == 2
    assert "splits.json is damaged" in result.error
    assert molecules("predict", "run", "logp.csv", "--out", "p.csv").code == 0


@pytest.mark.usefixtures("checkpoint_each_epoch")
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Bomb())])
def test_a_damaged_checkpoint_is_a_clear_error(content: bytes, cli: Callable) -> None:
    write_network(Path())
    with broken_off(epoch=3):
        assert cli(*NODES, "--out", "run").code == 130
    Path("run.partial/checkpoint.pt").write_bytes(content)
    result = cli(*NODES, "--out", "run", "--resume")
    assert result.code == 2
    assert "checkpoint.pt is damaged" in result.error
    assert not Path("exploded").exists()
    assert cli(*NODES, "--out", "run", "--overwrite").code == 0


def test_a_model_saved_from_python_predicts_too(cli: Callable) -> None:
    from cli_cases import SMILES, TARGETS

    from graphattn import MoleculeRegressor

    write_molecules(Path())
    params = {"channels": 16, "num_layers": 1, "heads": 2, "epochs": 1}
    MoleculeRegressor(**params, valid_fraction=0.0).fit(SMILES, TARGETS).save_pretrained("saved")
    assert cli("predict", "saved", "logp.csv", "--out", "p.csv").code == 0
    assert len(read_csv(Path("p.csv"))) == len(SMILES)
    result = cli("evaluate", "saved", "logp.csv")
    assert "--target-column is missing" in result.error
    assert json.loads(cli("evaluate", "saved", "logp.csv", "--target-column", "logp").out)["rows"] == 24
