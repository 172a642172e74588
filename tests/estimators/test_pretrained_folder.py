"""Damaged and foreign folders: an error that names the file, and nothing from it is ever run."""

from __future__ import annotations

import json
import pickle

import pytest

from graphattn import InputError, MoleculeRegressor, NodeClassifier
from graphattn.estimators.manifest import write_manifest
from graphattn.train import Classification


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
    write_manifest(folder)


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
    edit(folder, format=4)
    refused(folder, "has format 4; this version of graphattn reads format 3$")


def test_a_format_of_the_past_has_no_checksums(folder):
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 2}))
    refused(folder, "has format 2; .* reads format 3, whose files have checksums; train it again")


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
    refused(folder, r"model\.safetensors is damaged or was changed")
    write_manifest(folder)
    refused(folder, r"model\.safetensors cannot be read")


def test_one_changed_bit_of_the_weights(folder, saved):
    content = bytearray(saved["model.safetensors"])
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors is damaged or was changed: its SHA-256 is not the one in manifest\.json")


def test_truncated_weights(folder, saved):
    (folder / "model.safetensors").write_bytes(saved["model.safetensors"][:-100])
    size = len(saved["model.safetensors"])
    refused(folder, rf"model\.safetensors is damaged .*: it has {size - 100:,} bytes, and manifest\.json says {size}")


def test_no_byte_of_a_config_changes_unseen(folder, saved):
    for place in range(0, len(saved["config.json"]), 7):
        content = bytearray(saved["config.json"])
        content[place] ^= 1
        (folder / "config.json").write_bytes(content)
        refused(folder, r"config\.json")


TARGET = {"mean": 1.0, "std": 2.0}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({**TARGET, "std": float("nan")}, "the std of its targets must be a finite number, got 'nan'"),
        ({**TARGET, "std": -2.0}, r"standard deviation of its targets must be positive, got -2\.0"),
        ({**TARGET, "std": 0}, "standard deviation of its targets must be positive, got 0"),
        ({**TARGET, "mean": float("inf")}, "the mean of its targets must be a finite number, got 'inf'"),
        ({**TARGET, "mean": "1"}, "the mean of its targets must be a finite number, got '1'"),
    ],
)
def test_values_that_no_training_gives(folder, target, message):
    edit(folder, target=target)
    refused(folder, message)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"kind": "U", "values": ["a", "a"]}, "its classes must differ, but 'a' is there more than once"),
        ({"kind": "U", "values": ["a", 1]}, "its classes hold '1', which is no class of kind 'U'"),
        ({"kind": "i", "values": [1, 2.5]}, r"its classes hold '2\.5', which is no class of kind 'i'"),
        ({"kind": "f", "values": [1.0, float("nan")]}, "its classes hold 'nan'"),
        ({"kind": "x", "values": ["a", "b"]}, "its classes must be a list of a known kind"),
        ({"kind": "U", "values": "ab"}, "its classes must be a list of a known kind"),
        ({"kind": "U", "values": ["a"]}, "it has 1 classes for 2 outputs"),
    ],
)
def test_classes_that_no_training_gives(classes, message):
    with pytest.raises(InputError, match=message):
        Classification().restore({"classes": classes}, 2)


@pytest.mark.parametrize(
    ("option", "size", "message"),
    [
        ("num_layers", 10**6, "num_layers must be at most 1,000, got 1000000"),
        ("channels", 10**9, "channels must be at most 16,384"),
        ("num_layers", 10**400, "num_layers must be at most 1,000, got 1"),
        ("encodings", {"random_walk": 10**9}, "encodings: random_walk must be at most 10,000"),
        ("encodings", [1], r"encodings must be a mapping, name → number, got \[1\]"),
    ],
)
def test_sizes_are_bounded_before_anything_is_built(folder, option, size, message):
    config = json.loads((folder / "config.json").read_text())
    edit(folder, model={**config["model"], option: size})
    refused(folder, message)
    with pytest.raises(InputError, match=message):
        MoleculeRegressor(**{option: size}).fit(["C", "CC"], [1.0, 2.0])
