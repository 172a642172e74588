"""What the commands say of how data were read, and the columns and streams that they write to."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli_cases import NETWORK, SMILES, TARGETS, read_csv, write_csv, write_molecules, write_network

TRAIN = ("train", "molecules", "logp.csv", "--config", "small.toml")


def test_an_option_given_twice_is_an_error(cli: Callable) -> None:
    write_molecules(Path())
    for options in (
        ("--target-column", "logp", "--target-column", "name"),
        ("--target-column", "logp", "--seed", "1", "--seed=1"),
    ):
        result = cli(*TRAIN, *options, "--out", "run")
        assert result.code == 2
        assert "given twice; expected one value" in result.error
    assert not Path("run").exists()


def test_models_can_be_chained(molecules: Callable) -> None:
    """The output of one model is the input of another; a clash of columns is found before anything is done."""
    assert molecules("predict", "run", "logp.csv", "--out", "one.csv").code == 0
    refused = molecules("predict", "run", "one.csv", "--out", "two.csv")
    assert refused.code == 2
    assert "'prediction'" in refused.error
    assert "--prediction-column" in refused.error
    assert molecules("predict", "run", "one.csv", "--prediction-column", "second", "--out", "two.csv").code == 0
    rows = read_csv(Path("two.csv"))
    added = ["uncertainty", "nearest_training", "never_seen", "error"]
    assert list(rows[0]) == ["name", "smiles", "logp", "prediction", *added, "second", *(f"second_{name}" for name in added)]
    assert [row["second"] for row in rows] == [row["prediction"] for row in rows]


def test_the_name_of_the_prediction_is_kept_in_the_run(cli: Callable) -> None:
    write_molecules(Path())
    assert cli(*TRAIN, "--target-column", "logp", "--prediction-column", "logp_model", "--out", "run").code == 0
    assert "logp_model" in read_csv(Path("run/predictions.csv"))[0]
    assert cli("predict", "run", "logp.csv", "--out", "out.csv").code == 0
    added = [f"logp_model_{name}" for name in ("uncertainty", "nearest_training", "never_seen", "error")]
    assert list(read_csv(Path("out.csv"))[0]) == ["name", "smiles", "logp", "logp_model", *added]


def test_standard_input_and_output(molecules: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert molecules("predict", "run", "logp.csv", "--out", "out.csv").code == 0

    def given() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("logp.csv").read_bytes())))

    given()
    result = molecules("predict", "run", "-", "--out", "-")
    assert result.code == 0, result.err
    assert result.out == Path("out.csv").read_text()
    given()
    scores = molecules("evaluate", "run", "-")
    assert scores.code == 0, scores.err
    assert json.loads(scores.out)["rows"] == len(SMILES)


def test_a_network_from_standard_input(nodes: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nodes("predict", "run", *NETWORK, "--out", "out.csv").code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("edges.csv").read_bytes())))
    result = nodes("predict", "run", "--edges", "-", *NETWORK[2:], "--out", "-")
    assert result.code == 0, result.err
    assert result.out.splitlines() == Path("out.csv").read_text().splitlines()


def test_markers_of_missing_values_are_kept_in_the_run(cli: Callable) -> None:
    write_molecules(Path())
    rows = [[smiles, "below" if row == 0 else target] for row, (smiles, target) in enumerate(zip(SMILES, TARGETS, strict=True))]
    write_csv(Path("t.csv"), ["smiles", "logp"], rows)
    given = ("train", "molecules", "t.csv", "--target-column", "logp", "--config", "small.toml", "--out", "run")
    result = cli(*given, "--na-values", "below")
    assert result.code == 0, result.err
    assert json.loads(Path("run/metrics.json").read_text())["excluded"] == {"logp: missing": 1}
    scores = json.loads(cli("evaluate", "run", "t.csv").out)
    assert (scores["rows"], scores["excluded"]) == (len(SMILES) - 1, {"logp: missing": 1})
    for written in ('"below"', '["below"]'):
        Path("own.toml").write_text(Path("small.toml").read_text() + f"na-values = {written}\n")
        result = cli(
            "train", "molecules", "t.csv", "--target-column", "logp", "--config", "own.toml", "--out", "own", "--overwrite"
        )
        assert "1 rows left out: logp: missing" in result.err


def test_a_cell_that_is_no_number_is_shown_with_its_line(cli: Callable) -> None:
    write_molecules(Path())
    cells = ["5 uM" if row == 3 else ">1000" if row == 5 else target for row, target in enumerate(TARGETS)]
    write_csv(Path("t.csv"), ["smiles", "logp"], [list(pair) for pair in zip(SMILES, cells, strict=True)])
    given = ("train", "molecules", "t.csv", "--target-column", "logp", "--config", "small.toml")
    result = cli(*given, "--out", "run")
    assert result.code == 0, result.err
    assert "'5 uM'" in result.err
    assert "line 5" in result.err
    quiet = cli(*given, "--out", "quiet", "--quiet")
    assert "2 rows left out: logp: not a number" in quiet.err
    write_csv(Path("t.csv"), ["smiles", "logp"], [[smiles, f"{row} ± 0.1"] for row, smiles in enumerate(SMILES)])
    refused = cli(*given, "--out", "none")
    assert refused.code == 2
    assert "± 0.1" in refused.error
    assert "classification" not in refused.error


def test_cells_with_several_labels_and_names_after_smiles_are_said(cli: Callable) -> None:
    write_molecules(Path())
    labels = ["a;b" if row % 3 == 0 else "a" if row % 3 == 1 else "b;c" for row in range(len(SMILES))]
    write_csv(
        Path("t.csv"), ["smiles", "kind"], [[f"{smiles} name", label] for smiles, label in zip(SMILES, labels, strict=True)]
    )
    given = ("train", "molecules", "t.csv", "--target-column", "kind", "--task", "classification", "--config", "small.toml")
    result = cli(*given, "--out", "run")
    assert result.code == 0, result.err
    assert "16 of 24 cells seem to hold several labels, such as 'a;b'" in " ".join(result.err.split())
    assert "kind: 3 classes: a;b 8, a 8, b;c 8" in result.err
    notes = json.loads(cli("evaluate", "run", "t.csv").out)["notes"]
    assert [note for note in notes if note.startswith("24 SMILES are followed by a space and text")]


def test_names_of_columns_are_folded_and_said(cli: Callable) -> None:
    write_molecules(Path())
    frame = (
        pd.read_csv("logp.csv")
        .rename(columns={"smiles": "SMILES", "logp": " logP"})
        .assign(empty="")
        .rename(columns={"empty": ""})
    )
    frame.to_csv("t.csv", index=False)
    result = cli("train", "molecules", "t.csv", "--target-column", "logp", "--config", "small.toml", "--out", "run")
    assert result.code == 0, result.err
    assert "column 'SMILES' of t.csv is taken for 'smiles'" in result.err
    assert "column ' logP' of t.csv is taken for 'logp'" in result.err


def test_how_a_network_was_read_is_said(cli: Callable) -> None:
    write_network(Path())
    people = pd.read_csv("people.csv").assign(age=range(20), job=["baker", "smith"] * 10)
    people.to_csv("people.csv", index=False)
    given = ("--edges", "edges.csv", "--nodes", "people.csv", "--label-column", "side", "--feature-columns", "age,job")
    result = cli("train", "nodes", *given, "--config", "small.toml", "--out", "run")
    assert result.code == 0, result.err
    assert "side: 2 classes: left 10, right 10" in result.err
    assert "features: age number, mean 9.5, std 5.766; job one-hot, 2 categories" in result.err


def test_quiet_says_what_is_left_out_of_a_network(nodes: Callable) -> None:
    with open("edges.csv", "a", encoding="utf-8") as file:
        file.write("0,nobody\n")
    result = nodes("predict", "run", *NETWORK, "--ignore-unknown-edges", "--out", "out.csv", "--quiet")
    assert (result.code, result.err) == (0, "1 edges left out: an end is not in the node table\n")
