"""Damaged and foreign folders: an error that names the file, and nothing from it is ever run."""

from __future__ import annotations

import json
import pickle

import pytest

from graphattn import InputError, MoleculeRegressor, NodeClassifier


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = MoleculeRegressor(channels=8, num_layers=1, heads=1, epochs=1, valid_fraction=0.0)
    model.fit(["C", "CC", "CCO"], [1.0, 2.0, 3.0]).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(saved, tmp_path):
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('weights were unpickled')",))


def refused(folder, message, kind=MoleculeRegressor):
    with pytest.raises(InputError, match=message):
        kind.from_pretrained(folder)


def test_the_folder_as_saved_loads(folder):
    assert MoleculeRegressor.from_pretrained(folder).predict(["C"]).shape == (1,)


def test_missing_files(folder):
    refused(folder / "nothing", "is not a folder")
    (folder / "model.safetensors").unlink()
    refused(folder, r"has no model\.safetensors")
    (folder / "config.json").unlink()
    refused(folder, r"has no config\.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"name": "bert"}', b"\xff\xfe"])
def test_a_config_that_is_none(folder, content):
    (folder / "config.json").write_bytes(content)
    refused(folder, r"config\.json is not")


def test_a_format_of_the_future(folder):
    edit(folder, format=3)
    refused(folder, "has format 3; this version of graphattn reads format 2")


def test_another_estimator(folder):
    refused(folder, "holds a MoleculeRegressor, not a NodeClassifier", NodeClassifier)


@pytest.mark.parametrize(
    "changes",
    [{"model": {"channels": 8}}, {"params": {"colour": 1}}, {"features": 0}, {"target": {}}, {"target": None}, {"model": None}],
)
def test_a_damaged_config(folder, changes):
    edit(folder, **changes)
    refused(folder, r"config\.json is damaged")


def test_weights_of_another_model(folder):
    config = json.loads((folder / "config.json").read_text())
    edit(folder, model={**config["model"], "channels": 16})
    refused(folder, r"does not hold the weights that config\.json describes")


@pytest.mark.parametrize("content", [b"", b"junk" * 100, pickle.dumps(Bomb())])
def test_damaged_weights_are_refused_and_never_run(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors cannot be read")


def test_one_changed_bit_of_the_weights(folder, saved):
    content = bytearray(saved["model.safetensors"])
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors is damaged, or belongs to another config\.json")


def test_truncated_weights(folder, saved):
    (folder / "model.safetensors").write_bytes(saved["model.safetensors"][:-100])
    refused(folder, r"model\.safetensors cannot be read")
