"""Train, predict and evaluate, and what a run's folder holds."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cli_cases import LABELLED, NETWORK, SMILES, TARGETS, read_csv, write_csv, write_molecules, write_network

from graphattn.estimators.sources import MoleculeSource
from graphattn.runs import molecule_stream

FILES = {
    "config.json",
    "curves.png",
    "history.csv",
    "manifest.json",
    "metrics.json",
    "model.safetensors",
    "predictions.csv",
    "splits.json",
}
METRICS = ["train", "valid", "test", "baselines", "better_on_validation", "split", "seed", "seconds", "excluded"]
METRICS += ["duplicates_across_splits"]


def test_the_folder_of_a_molecule_run(molecules: Callable) -> None:
    assert {path.name for path in Path("run").iterdir()} == FILES | {"parity.png"}
    assert not Path("run.partial").exists()
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert list(metrics) == METRICS
    for scores in (metrics["train"], metrics["valid"], metrics["test"], *metrics["baselines"].values()):
        assert list(scores) == ["rmse", "mae", "r2"]
    assert list(metrics["baselines"]) == ["mean", "crippen"]
    assert metrics["split"] == {"train": 20, "valid": 2, "test": 2}
    assert (metrics["seed"], metrics["excluded"], metrics["duplicates_across_splits"]) == (1, {}, 0)
    assert metrics["seconds"] > 0
    splits = json.loads(Path("run/splits.json").read_text())
    assert sorted(splits["train"] + splits["valid"] + splits["test"]) == list(range(len(SMILES)))
    rows = read_csv(Path("run/predictions.csv"))
    # Two validation rows are too few for lower and upper.
    added = ["prediction", "uncertainty", "nearest_training", "never_seen", "error"]
    assert list(rows[0]) == ["name", "smiles", "logp", *added]
    assert [row["name"] for row in rows] == [f"m{row}" for row in splits["test"]]
    # The test RMSE worked out from the file: sqrt(mean((prediction - logp)²)).
    squares = [(float(row["prediction"]) - float(row["logp"])) ** 2 for row in rows]
    assert metrics["test"]["rmse"] == pytest.approx((sum(squares) / len(squares)) ** 0.5, rel=1e-9)
    history = read_csv(Path("run/history.csv"))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert list(history[0]) == ["epoch", "loss", "learning_rate", "valid_rmse"]
    for picture in ("curves.png", "parity.png"):
        assert Path("run", picture).read_bytes().startswith(b"\x89PNG")


def test_intervals_and_ensembles(cli: Callable) -> None:
    write_molecules(Path())
    options = ("--split", "0.4/0.4/0.2", "--ensemble", "2", "--config", "small.toml", "--out", "run")
    result = cli("train", "molecules", "logp.csv", "--target-column", "logp", *options)
    assert result.code == 0, result.err
    assert "90 % intervals hold" in result.err
    assert "mean of its models on test" in result.err
    assert {path.name for path in Path("run").iterdir()} == FILES | {"parity.png", "intervals.png"}
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["uncertainty"]["interval"] == 0.9
    rows = read_csv(Path("run/predictions.csv"))
    held = [float(row["lower"]) <= float(row["logp"]) <= float(row["upper"]) for row in rows]
    assert metrics["uncertainty"]["coverage"] == pytest.approx(sum(held) / len(held))


def test_the_folder_of_a_node_run(nodes: Callable) -> None:
    assert {path.name for path in Path("run").iterdir()} == FILES
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert list(metrics) == METRICS
    assert list(metrics["baselines"]) == ["majority", "label_propagation"]
    assert list(metrics["baselines"]["majority"]) == ["accuracy", "macro_f1", "balanced_accuracy", "mcc", "roc_auc", "pr_auc"]
    assert metrics["split"] == {"train": 10, "valid": 4, "test": 6}
    rows = read_csv(Path("run/predictions.csv"))
    assert list(rows[0]) == ["id", "prediction", "probability_left", "probability_right"]
    splits = json.loads(Path("run/splits.json").read_text())
    assert [int(row["id"]) for row in rows] == [10 * row for row in splits["test"]]
    for row in rows:
        left, right = float(row["probability_left"]), float(row["probability_right"])
        assert left + right == pytest.approx(1)
        assert row["prediction"] == ("left" if left > right else "right")


def test_training_says_that_a_baseline_is_better_on_validation(molecules: Callable) -> None:
    Path("split.json").write_text(json.dumps({"train": list(range(20)), "valid": [20, 21], "test": [22, 23]}))
    write_csv(
        Path("mean.csv"), ["smiles", "value"], [[smiles, row % 2 if row < 20 else 0.5] for row, smiles in enumerate(SMILES)]
    )
    given = ("mean.csv", "--target-column", "value", "--config", "small.toml", "--split", "split.json", "--out", "mean")
    result = molecules("train", "molecules", *given)
    assert result.code == 0, result.err
    assert "warning: baseline mean has a better rmse on valid, 0, than the model, 0." in result.err
    assert "more epochs or rows may help" in result.err


def test_molecules_round_trip(molecules: Callable) -> None:
    result = molecules("predict", "run", "logp.csv", "--out", "deep/p.csv")
    assert (result.code, result.out) == (0, "")
    rows = read_csv(Path("deep/p.csv"))
    assert [row["smiles"] for row in rows] == SMILES
    test = {row["name"]: float(row["prediction"]) for row in read_csv(Path("run/predictions.csv"))}
    again = {row["name"]: float(row["prediction"]) for row in rows if row["name"] in test}
    assert again == pytest.approx(test, rel=1e-5)

    result = molecules("evaluate", "run", "logp.csv")
    assert result.code == 0
    scores = json.loads(result.out)
    assert list(scores) == ["rows", "scores", "trained_on", "scores_unseen", "excluded", "notes"]
    assert (scores["rows"], scores["trained_on"]) == (24, 22)
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert scores["scores_unseen"] == pytest.approx(metrics["test"], rel=1e-5)
    assert "22 of 24 rows were in the training or validation part of this run; see scores_unseen" in result.err


def test_evaluating_new_molecules_warns_of_nothing(molecules: Callable) -> None:
    write_csv(Path("new.csv"), ["structure", "value"], [["CCCCCCCCCC", 5.0], ["CC(C)C", 2.0], ["CCF", "high"]])
    result = molecules("evaluate", "run", "new.csv", "--smiles-column", "structure", "--target-column", "value")
    assert result.code == 0, result.err
    scores = json.loads(result.out)
    assert (scores["rows"], scores["trained_on"], scores["excluded"]) == (2, 0, {"value: not a number": 1})
    assert scores["scores"] == scores["scores_unseen"]
    assert "warning" not in result.err


def test_nodes_round_trip(nodes: Callable) -> None:
    result = nodes("predict", "run", *NETWORK, "--out", "labels.csv")
    assert (result.code, result.out) == (0, "")
    rows = read_csv(Path("labels.csv"))
    assert [int(row["id"]) for row in rows] == list(range(0, 200, 10))
    test = {row["id"]: row for row in read_csv(Path("run/predictions.csv"))}
    assert all(row == test[row["id"]] for row in rows if row["id"] in test)
    result = nodes("evaluate", "run", *NETWORK)
    scores = json.loads(result.out)
    assert (scores["rows"], scores["trained_on"]) == (20, 14)
    assert scores["scores_unseen"] == json.loads(Path("run/metrics.json").read_text())["test"]
    assert "14 of 20 rows" in result.err


def test_another_network_with_people_who_came_later(nodes: Callable) -> None:
    people = Path("people.csv").read_text().replace("side", "club") + "newcomer,\n"
    Path("later.csv").write_text(people)
    Path("later_edges.csv").write_text(Path("edges.csv").read_text() + "newcomer,0\n")
    features = {**json.loads(Path("features.json").read_text()), "newcomer": [0, 2, 777]}
    Path("later.json").write_text(json.dumps(features))
    files = ("--edges", "later_edges.csv", "--nodes", "later.csv", "--features", "later.json")
    result = nodes("predict", "run", *files, "--out", "labels.csv")
    assert result.code == 0, result.err
    assert "1 unknown features" in result.err
    assert read_csv(Path("labels.csv"))[-1]["id"] == "newcomer"
    result = nodes("evaluate", "run", *files)
    assert result.code == 2
    assert "--label-column" in result.error
    assert json.loads(nodes("evaluate", "run", *files, "--label-column", "club").out)["rows"] == 20


def test_classification_of_molecules(cli: Callable) -> None:
    write_molecules(Path())
    rows = [[smiles, "alcohol" if "O" in smiles else "other"] for smiles in SMILES]
    write_csv(Path("kinds.csv"), ["smiles", "kind"], rows)
    args = ("--target-column", "kind", "--task", "classification", "--split", "0.5/0.25/0.25", "--config", "small.toml")
    assert cli("train", "molecules", "kinds.csv", *args, "--out", "run").code == 0
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert list(metrics["baselines"]) == ["majority"]
    assert list(metrics["test"]) == ["accuracy", "macro_f1", "balanced_accuracy", "mcc", "roc_auc", "pr_auc"]
    assert {path.name for path in Path("run").iterdir()} == FILES
    assert cli("predict", "run", "kinds.csv", "--out", "p.csv").code == 0
    probabilities = ["probability_alcohol", "probability_other"]
    columns = ["smiles", "kind", "prediction", *probabilities, "nearest_training", "never_seen", "error"]
    assert list(read_csv(Path("p.csv"))[0]) == columns
    assert metrics["uncertainty"].keys() == {"temperature", "calibration_error"}
    assert json.loads(cli("evaluate", "run", "kinds.csv").out)["rows"] == 24


def test_columns_of_the_node_table_as_features(cli: Callable) -> None:
    write_network(Path())
    rows = [[10 * node, "left" if node < 10 else "right", node >= 10, node % 3] for node in range(20)]
    write_csv(Path("people.csv"), ["id", "side", "old", "size"], rows)
    files = ("--edges", "edges.csv", "--nodes", "people.csv", "--source-column", "from", "--target-column", "to", "--directed")
    train = ("--label-column", "side", "--feature-columns", "old,size", "--config", "small.toml")
    assert cli("train", "nodes", *files, *train, "--out", "run").code == 0
    encoding = json.loads(Path("run/config.json").read_text())["data"]["encoding"]
    assert [column["name"] for column in encoding["columns"]] == ["old", "size"]
    assert cli("predict", "run", *files, "--out", "labels.csv").code == 0
    assert len(read_csv(Path("labels.csv"))) == 20


def test_the_structure_alone(cli: Callable) -> None:
    write_network(Path())
    args = ("--edges", "edges.csv", "--nodes", "people.csv", "--label-column", "side", "--config", "small.toml")
    assert cli("train", "nodes", *args, "--out", "run").code == 0
    assert cli("predict", "run", "--edges", "edges.csv", "--out", "labels.csv").code == 0
    assert len(read_csv(Path("labels.csv"))) == 20


@pytest.mark.parametrize("form", ["semicolon", "tab", "bom", "gzip"])
def test_forms_of_a_table(form: str, molecules: Callable) -> None:
    text = Path("logp.csv").read_text()
    write = {
        "semicolon": lambda path: path.write_text(text.replace(",", ";")),
        "tab": lambda path: path.write_text(text.replace(",", "\t")),
        "bom": lambda path: path.write_bytes(b"\xef\xbb\xbf" + text.encode()),
        "gzip": lambda path: path.write_bytes(gzip.compress(text.encode())),
    }
    write[form](Path("other.csv"))
    args = ("--target-column", "logp", "--config", "small.toml", "--out", "out")
    assert molecules("train", "molecules", "other.csv", *args).code == 0
    assert Path("out/model.safetensors").read_bytes() == Path("run/model.safetensors").read_bytes()
    assert molecules("predict", "run", "other.csv", "--out", "p.csv").code == 0
    assert [row["smiles"] for row in read_csv(Path("p.csv"))] == SMILES


@pytest.mark.parametrize("split", ["random", "scaffold", "0.5/0.3/0.2", "0.9/0.1/0", "own.json"])
def test_splits(split: str, cli: Callable) -> None:
    write_molecules(Path())
    Path("own.json").write_text(json.dumps({"train": [5, 6, 7], "valid": [1], "test": [0, 2]}))
    result = cli(
        "train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--split", split, "--out", "o"
    )
    assert result.code == 0, result.err
    metrics = json.loads(Path("o/metrics.json").read_text())
    sizes = {
        "random": (20, 2, 2),
        "0.5/0.3/0.2": (12, 7, 5),
        "0.9/0.1/0": (22, 2, 0),
        "own.json": (3, 1, 2),
    }
    if split in sizes:
        assert tuple(metrics["split"].values()) == sizes[split]
    assert Path("o/parity.png").exists() == bool(metrics["split"]["test"])


def test_duplicates_across_splits_are_counted(cli: Callable) -> None:
    write_molecules(Path())
    rows = [[smiles, value] for smiles, value in zip(SMILES, TARGETS, strict=True)]
    write_csv(Path("logp.csv"), ["smiles", "logp"], [*rows, ["OCC", -0.0]])  # ethanol again, row 9 written otherwise
    Path("split.json").write_text(json.dumps({"train": list(range(20)), "valid": [20, 21], "test": [22, 24]}))
    args = ("--target-column", "logp", "--config", "small.toml", "--split", "split.json", "--out", "out")
    result = cli("train", "molecules", "logp.csv", *args)
    assert json.loads(Path("out/metrics.json").read_text())["duplicates_across_splits"] == 1
    assert "1 rows of valid and test repeat a molecule of train" in result.err


def test_quiet_shows_nothing_but_results(molecules: Callable) -> None:
    args = ("--target-column", "logp", "--config", "small.toml", "--out", "out", "--quiet")
    result = molecules("train", "molecules", "logp.csv", *args)
    test = json.loads(Path("out/metrics.json").read_text())["test"]
    said = ", ".join(f"{name} {value:.3f}" for name, value in test.items())
    assert (result.code, result.out, result.err) == (0, f"out: test {said}\n", "")
    result = molecules("evaluate", "run", "logp.csv", "-q")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["rows"] == 24
    result = molecules("train", "molecules", "logp.csv", *args)
    assert result.error.startswith("out exists")


def test_training_shows_the_scores_beside_the_baselines(cli: Callable) -> None:
    write_molecules(Path())
    result = cli("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--out", "out")
    metrics = json.loads(Path("out/metrics.json").read_text())
    lines = {line.partition("  ")[0].strip(): line.split() for line in result.err.splitlines()}
    for name, scores in {
        "test (2)": metrics["test"],
        "baseline on test: mean": metrics["baselines"]["mean"],
        "baseline on test: crippen": metrics["baselines"]["crippen"],
    }.items():
        assert lines[name][-3:] == [f"{value:.3f}" for value in scores.values()]
    assert "are in out" in result.err


def test_predicting_holds_a_piece_of_the_table_at_a_time(molecules: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 1_050
    with open("many.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "smiles"])
        writer.writerows([row, SMILES[row % len(SMILES)] if row % 100 else "bad"] for row in range(rows))
    monkeypatch.setattr(molecule_stream, "_CHUNK", 100)
    held: list[int] = []
    inputs = MoleculeSource.inputs
    monkeypatch.setattr(MoleculeSource, "inputs", lambda self, smiles: held.append(len(smiles)) or inputs(self, smiles))
    result = molecules("predict", "run", "many.csv", "--out", "p.csv")
    assert result.code == 0, result.err
    assert held == [100] * 10 + [50]
    frame = pd.read_csv("p.csv")
    assert frame["id"].tolist() == list(range(rows))
    assert frame["prediction"].isna().sum() == 11
    assert "1,039 of 1,050 rows predicted" in result.err


def test_every_command_as_a_process(tmp_path: Path) -> None:
    write_network(tmp_path)

    def graphattn(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "graphattn", *args], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    done = graphattn("train", "nodes", *LABELLED, "--config", "small.toml", "--split", "0.5/0.2/0.3", "--out", "run")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Warning" not in done.stderr
    assert graphattn("predict", "run", *NETWORK, "--out", "labels.csv").returncode == 0
    done = graphattn("evaluate", "run", *NETWORK)
    assert json.loads(done.stdout)["rows"] == 20
    done = graphattn("predict", "nowhere", *NETWORK, "--out", "other.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere is not a folder")
    assert len(done.stderr.splitlines()) == 1
    done = graphattn("datasets", "show", "karate")
    assert "Zachary" in done.stdout
    write_molecules(tmp_path)
    done = graphattn("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--out", "logp")
    assert done.returncode == 0, done.stderr
    done = graphattn("predict", "logp", "logp.csv", "--out", "p.csv")
    assert done.returncode == 0, done.stderr


def test_a_number_for_each_node(cli: Callable) -> None:
    write_network(Path())
    sides = read_csv(Path("people.csv"))
    cells = ["" if row == 3 else "many" if row == 4 else str(row / 2) for row in range(len(sides))]
    write_csv(Path("people.csv"), ["id", "age"], [[side["id"], cell] for side, cell in zip(sides, cells, strict=True)])
    options = ("--id-column", "id", "--label-column", "age", "--task", "regression", "--split", "0.5/0.2/0.3")
    result = cli("train", "nodes", *NETWORK, *options, "--config", "small.toml", "--out", "run")
    assert result.code == 0, result.err
    assert "1 unlabelled, 1 unknown labels" in result.err
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["excluded"] == {"unlabelled": 2}
    assert set(metrics["test"]) == {"rmse", "mae", "r2"}
    assert metrics["baselines"]["label_propagation"]["rmse"] < metrics["baselines"]["mean"]["rmse"]
    assert Path("run/parity.png").exists()
    assert cli("predict", "run", *NETWORK, "--out", "p.csv").code == 0
    rows = read_csv(Path("p.csv"))
    assert [len(rows), *rows[0]] == [20, "id", "prediction"]
    scores = json.loads(cli("evaluate", "run", *NETWORK).out)
    assert (scores["rows"], scores["excluded"]) == (18, {"unlabelled": 1, "unknown_labels": 1})
    result = cli("train", "nodes", "--dataset", "karate", "--task", "regression", "--out", "other")
    assert "has classes, not numbers; leave out --task regression" in result.error
    assert (
        "task must be 'classification' or 'regression'"
        in cli("train", "nodes", *NETWORK, *options[:4], "--task", "x", "--out", "o").error
    )


def test_the_split_from_files_and_from_a_column(cli: Callable) -> None:
    write_molecules(Path())
    rows = [[f"m{row}", smiles, value] for row, (smiles, value) in enumerate(zip(SMILES, TARGETS, strict=True))]
    names = ["name", "smiles", "logp"]
    write_csv(Path("train.csv"), names, rows[:14])
    write_csv(Path("valid.csv"), names, rows[14:20])
    write_csv(Path("test.csv"), ["smiles", "logp"], [row[1:] for row in rows[20:]])
    words = ["train"] * 14 + ["Valid"] * 6 + ["test"] * (len(rows) - 20)
    write_csv(Path("all.csv"), [*names, "part"], [[*row, word] for row, word in zip(rows, words, strict=True)])
    shared = ("--target-column", "logp", "--config", "small.toml")
    files = cli("train", "molecules", "train.csv", "--valid", "valid.csv", "--test", "test.csv", *shared, "--out", "files")
    assert files.code == 0, files.err
    assert "test.csv has no column name; its cells there are empty" in files.err
    column = cli("train", "molecules", "all.csv", "--split", "column:part", *shared, "--out", "column")
    assert column.code == 0, column.err
    splits = [json.loads(Path(run, "splits.json").read_text()) for run in ("files", "column")]
    assert splits[0] == splits[1]
    assert splits[0]["valid"] == list(range(14, 20))
    scores = [json.loads(Path(run, "metrics.json").read_text())["test"] for run in ("files", "column")]
    assert scores[0] == scores[1]

    alone = cli("train", "molecules", "train.csv", "--test", "test.csv", *shared, "--out", "alone")
    assert alone.code == 0, alone.err
    assert len(json.loads(Path("alone/splits.json").read_text())["valid"]) == 1  # a tenth of fourteen
    refused = cli("train", "molecules", "train.csv", "--test", "test.csv", "--split", "random", *shared, "--out", "no")
    assert refused.code == 2
    assert "--split does not go here" in refused.error
    write_csv(Path("odd.csv"), names, [["x", "CC", "1.0"], ["y", "CCC", "a lot"]])
    odd = cli("train", "molecules", "train.csv", "--valid", "odd.csv", *shared, "--out", "no")
    assert "line 3 of odd.csv" in odd.err


def test_a_stratified_split_of_numbers(cli: Callable) -> None:
    write_molecules(Path())
    result = cli("train", "molecules", "logp.csv", "--target-column", "logp", "--split", "stratified", "--config", "small.toml",
                 "--out", "run")  # fmt: skip
    assert result.code == 0, result.err
    splits = json.loads(Path("run/splits.json").read_text())
    assert [len(splits[part]) for part in ("train", "valid", "test")] == [20, 2, 2]


def test_weights_of_rows_and_classes(cli: Callable) -> None:
    rows = [[smiles, "alcohol" if "O" in smiles else "other", "0.5" if row % 2 else "2"] for row, smiles in enumerate(SMILES)]
    write_csv(Path("kinds.csv"), ["smiles", "kind", "w"], rows)
    write_molecules(Path())
    train = ("train", "molecules", "kinds.csv", "--target-column", "kind", "--task", "classification", "--config", "small.toml")
    assert cli(*train, "--out", "plain").code == 0
    assert cli(*train, "--weight-column", "w", "--out", "rows").code == 0
    assert cli(*train, "--class-weight", "balanced", "--out", "classes").code == 0
    losses = [read_csv(Path(run, "history.csv"))[0]["loss"] for run in ("plain", "rows", "classes")]
    assert len(set(losses)) == 3
    refused = cli(*train, "--weight-column", "kind", "--out", "no")
    assert refused.code == 2
    assert "column 'kind' must hold weights" in refused.error
    assert "in line 2" in refused.error
    assert cli(*train, "--class-weight", "equal", "--out", "no").code == 2


def test_a_run_starts_from_another(molecules: Callable) -> None:
    """Of the other run's parameters those of the body are taken; that it has seen the test part is said."""
    rows = [[smiles, "alcohol" if "O" in smiles else "other"] for smiles in SMILES]
    write_csv(Path("kinds.csv"), ["smiles", "kind"], rows)
    options = ("--target-column", "kind", "--task", "classification", "--split", "0.5/0.25/0.25", "--epochs", "1")
    result = molecules("train", "molecules", "kinds.csv", *options, "--init", "run", "--out", "next")
    assert result.code == 0, result.err
    assert "starting from run: all of its weights but the head's" in result.err
    assert "run was trained on" in result.err
    assert "molecules of the test part" in result.err
    configs = [json.loads(Path(run, "config.json").read_text()) for run in ("run", "next")]
    assert configs[0]["params"]["channels"] == configs[1]["params"]["channels"] != 128
    write_network(Path())
    refused = molecules("train", "molecules", "kinds.csv", *options, "--init", "nowhere", "--out", "no")
    assert refused.code == 2
