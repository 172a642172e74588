"""`--config FILE.toml`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import write_network

TRAIN = ("train", "nodes", "--config", "run.toml")


def write_config(**changes: str) -> None:
    entries = {
        "edges": '"edges.csv"',
        "nodes": '"people.csv"',
        "features": '"features.json"',
        "label-column": '"side"',
        "split": '"0.5/0.2/0.3"',
        "out": '"from_file"',
        "epochs": "2",
        "channels": "16",
        "num-layers": "1",
        "heads": "2",
        "encodings": "{degree = 1, random_walk = 4}",
    }
    Path("run.toml").write_text("".join(f"{key} = {value}\n" for key, value in {**entries, **changes}.items()))


def test_a_file_can_hold_everything(cli: Callable) -> None:
    write_network(Path())
    write_config()
    result = cli(*TRAIN)
    assert result.code == 0, result.err
    params = json.loads(Path("from_file/config.json").read_text())["params"]
    assert (params["epochs"], params["channels"], params["num_layers"]) == (2, 16, 1)
    assert params["encodings"] == {"degree": 1, "random_walk": 4}


def test_the_command_line_wins(cli: Callable) -> None:
    write_network(Path())
    write_config()
    assert cli(*TRAIN, "--epochs", "1", "--out", "given").code == 0
    assert json.loads(Path("given/config.json").read_text())["params"]["epochs"] == 1
    assert not Path("from_file").exists()


def test_feature_columns_may_be_a_list(cli: Callable) -> None:
    write_network(Path())
    write_config(feature_columns='["id"]')
    Path("run.toml").write_text(Path("run.toml").read_text().replace('features = "features.json"\n', ""))
    assert cli(*TRAIN).code == 0
    assert json.loads(Path("from_file/config.json").read_text())["data"]["encoding"]["columns"][0]["name"] == "id"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("chanels", "3", "unknown key 'chanels'; known are adjacency_matrix, attention, "),
        ("valid_fraction", "0.5", "unknown key 'valid_fraction'"),
        ("config", '"other.toml"', "unknown key 'config'"),
        ("channels", '"wide"', "channels is 'wide', but must be int"),
        ("channels", "true", "channels is True, but must be int"),
        ("dropout", '"half"', "dropout is 'half', but must be float"),
        ("dropout", "2", "dropout must lie in [0, 1), got 2"),
        ("encodings", "3", "encodings is 3, but must be"),
        ("encodings", "{foo = 1}", "encodings must be among"),
        ("heads", "0", "heads must be a whole number of at least 1"),
        ("patience", "0", "patience must be a whole number of at least 1"),
        ("epochs", '"many"', "--epochs"),
        ("channels", "= 3", "not valid TOML"),
    ],
)
def test_a_bad_file_is_one_line(key: str, value: str, message: str, cli: Callable) -> None:
    write_network(Path())
    write_config(**{key: value})
    result = cli(*TRAIN)
    assert result.code == 2
    assert message in result.error
    assert not Path("from_file").exists()


def test_a_file_that_is_not_there(cli: Callable) -> None:
    assert "run.toml cannot be read: No such file" in cli(*TRAIN).error
