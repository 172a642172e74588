"""The table of bad input: what is wrong is said in one line, or the row stays and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_cases import LABELLED, NETWORK, SMILES, TARGETS, read_csv, write_csv, write_molecules, write_network

TRAIN = ("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--out", "out")
TRAIN_NODES = ("train", "nodes", *LABELLED, "--config", "small.toml", "--split", "0.5/0.2/0.3", "--out", "out")


@pytest.mark.parametrize("strict", [False, True])
def test_bad_smiles_keep_their_row(strict: bool, molecules: Callable) -> None:
    write_csv(Path("new.csv"), ["name", "smiles"], [["good", "CCO"], ["syntax", "C1CC"], ["empty", ""], ["blank", "  "]])
    result = molecules("predict", "run", "new.csv", "--out", "p.csv", *(["--strict"] if strict else []))
    assert result.code == (1 if strict else 0)
    rows = read_csv(Path("p.csv"))
    assert [row["name"] for row in rows] == ["good", "syntax", "empty", "blank"]
    assert rows[0]["prediction"]
    assert not rows[0]["error"]
    assert all(not row["prediction"] and row["error"].startswith("SMILES") for row in rows[1:])
    assert "2 rows without a prediction: SMILES is empty" in result.err
    assert "1 of 4 rows predicted" in result.err
    if strict:
        assert "3 rows" in result.error


def test_odd_molecules_are_predicted_normally(molecules: Callable) -> None:
    odd = ["C", "[Na+].[Cl-]", "CC.OO", "C" * 500, "[Pu]", "[H][H]"]
    write_csv(Path("new.csv"), ["smiles"], [[smiles] for smiles in odd])
    assert molecules("predict", "run", "new.csv", "--out", "p.csv", "--strict").code == 0
    rows = read_csv(Path("p.csv"))
    assert [row["smiles"] for row in rows] == odd
    assert all(float(row["prediction"]) == float(row["prediction"]) for row in rows)


def test_text_after_a_smiles_is_said(molecules: Callable) -> None:
    write_csv(Path("new.csv"), ["smiles"], [["CCO"], ["CC O"], ["CCC propane"], ["C[#255]C"]])
    result = molecules("predict", "run", "new.csv", "--out", "p.csv")
    assert result.code == 0
    said = "note: 2 SMILES are followed by a space and text, which is taken for a name and not read, such as 'CC O'"
    assert said in result.err.replace("\n", " ")
    assert "1 rows without a prediction: RDKit cannot describe this molecule" in result.err
    assert "3 of 4 rows predicted" in result.err


def test_bad_targets_are_left_out_and_counted(cli: Callable) -> None:
    write_molecules(Path())
    rows = [[smiles, value] for smiles, value in zip(SMILES, TARGETS, strict=True)]
    bad = [["CCC", "high"], ["CCC", "NaN"], ["CCC", ""], ["CCC", "inf"], ["C1CC", 1.0], ["CCC", ""]]
    write_csv(Path("logp.csv"), ["smiles", "logp"], rows + bad)
    result = cli(*TRAIN)
    assert result.code == 0, result.err
    excluded = json.loads(Path("out/metrics.json").read_text())["excluded"]
    assert excluded == {"logp: not a number": 1, "logp: not finite": 2, "logp: empty": 2, "smiles: cannot be read": 1}
    for reason, count in excluded.items():
        assert f"{count} rows left out: {reason}" in result.err


def test_only_bad_targets_is_an_error(cli: Callable) -> None:
    write_molecules(Path())
    write_csv(Path("logp.csv"), ["smiles", "logp"], [["C", "low"], ["CC", "high"], ["CCC", ""]])
    result = cli(*TRAIN)
    assert result.code == 2
    assert "no cell of column 'logp'" in result.error
    assert "2 not a number" in result.error
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize(
    "args",
    [
        ("train", "molecules", "logp.csv", "--smiles-column", "structure", "--target-column", "logp", "--out", "x"),
        ("train", "molecules", "logp.csv", "--target-column", "structure", "--out", "x"),
        ("predict", "run", "logp.csv", "--smiles-column", "structure", "--out", "x"),
        ("evaluate", "run", "logp.csv", "--target-column", "structure"),
    ],
)
def test_a_missing_column_names_those_there_are(args: tuple[str, ...], molecules: Callable) -> None:
    result = molecules(*args)
    assert result.code == 2
    assert result.error == "logp.csv has no column 'structure'; its columns are: 'name', 'smiles', 'logp'"
    assert not list(Path().glob("x*"))


@pytest.mark.parametrize("option", ["--id-column", "--label-column", "--feature-columns"])
def test_a_missing_column_of_a_network(option: str, cli: Callable) -> None:
    write_network(Path())
    args = [arg for arg in TRAIN_NODES if option != "--feature-columns" or arg not in ("--features", "features.json")]
    if option in args:
        place = args.index(option)
        args = [*args[:place], *args[place + 2 :]]
    result = cli(*args, option, "no")
    assert result.code == 2
    assert "'no'" in result.error
    assert "'id', 'side'" in result.error


def test_an_edge_to_an_unknown_id(cli: Callable) -> None:
    write_network(Path())
    with open("edges.csv", "a") as file:
        file.writelines(f"10,{stranger}\n" for stranger in range(1001, 1008))
    result = cli(*TRAIN_NODES)
    assert result.code == 2
    for text in ("7 edges", "'1001', '1002', '1003', '1004', '1005', …", "--ignore-unknown-edges"):
        assert text in result.error
    result = cli(*TRAIN_NODES, "--ignore-unknown-edges")
    assert result.code == 0, result.err
    assert "7 unknown edges" in result.err


def test_ids_that_stand_twice(cli: Callable) -> None:
    write_network(Path())
    with open("people.csv", "a") as file:
        file.writelines(f"{node},left\n" for node in (0, 10, 20, 30, 40, 50))
    result = cli(*TRAIN_NODES)
    assert result.code == 2
    assert "6 ids more than once" in result.error
    assert "'0', '10', '20', '30', '40', …" in result.error


def test_duplicate_edges_self_loops_and_ids_that_are_text(cli: Callable) -> None:
    write_network(Path())
    lines = Path("edges.csv").read_text().splitlines()
    named = ["from,to"] + [",".join(f"person {node}" for node in line.split(",")) for line in lines[1:]]
    Path("edges.csv").write_text("\n".join([*named, named[1], "person 0,person 0"]) + "\n")
    people = Path("people.csv").read_text().splitlines()
    Path("people.csv").write_text("\n".join([people[0]] + [f"person {line}" for line in people[1:]]) + "\n")
    features = json.loads(Path("features.json").read_text())
    Path("features.json").write_text(json.dumps({f"person {node}": ids for node, ids in features.items()}))
    result = cli(*TRAIN_NODES)
    assert result.code == 0, result.err
    assert "1 duplicate edges" in result.err
    assert "1 self loops" in result.err
    assert all(row["id"].startswith("person ") for row in read_csv(Path("out/predictions.csv")))


def test_nodes_without_features_or_label_and_a_class_of_one(cli: Callable) -> None:
    write_network(Path())
    features = json.loads(Path("features.json").read_text())
    features.pop("30")
    Path("features.json").write_text(json.dumps(features))
    people = Path("people.csv").read_text().replace("\n40,left", "\n40,").replace("\n50,left", "\n50,hermit")
    Path("people.csv").write_text(people)
    # Rows 3 and 4 are the nodes 30 and 40; the one hermit, row 5, trains.
    Path("split.json").write_text(json.dumps({"train": [0, 1, 5, 10, 11], "valid": [2, 12], "test": [3, 6, 7, 13, 14]}))
    place = TRAIN_NODES.index("--split")
    result = cli(*TRAIN_NODES[:place], "--split", "split.json", *TRAIN_NODES[place + 2 :])
    assert result.code == 0, result.err
    assert json.loads(Path("out/metrics.json").read_text())["excluded"] == {"unlabelled": 1}
    result = cli("predict", "out", *NETWORK, "--out", "labels.csv")
    assert result.code == 0, result.err
    rows = {row["id"]: row for row in read_csv(Path("labels.csv"))}
    assert len(rows) == 20
    assert rows["40"]["prediction"] in ("left", "right", "hermit")


def test_out_that_exists_is_refused(molecules: Callable) -> None:
    before = Path("run/model.safetensors").read_bytes()
    result = molecules("train", "molecules", "logp.csv", "--target-column", "logp", "--config", "small.toml", "--out", "run")
    assert result.code == 2
    assert result.error == "run exists; choose another --out, or replace it with --overwrite"
    assert Path("run/model.safetensors").read_bytes() == before
    Path("p.csv").write_text("mine")
    result = molecules("predict", "run", "logp.csv", "--out", "p.csv")
    assert result.code == 2
    assert "--overwrite" in result.error
    assert Path("p.csv").read_text() == "mine"
    assert molecules("predict", "run", "logp.csv", "--out", "p.csv", "--overwrite").code == 0
    assert len(read_csv(Path("p.csv"))) == len(SMILES)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("logp.csv",), "--target-column is missing"),
        ((), "give TABLE or --dataset NAME"),
        (("logp.csv", "--dataset", "nci_crippen"), "not both"),
        (("--dataset", "nci_crippen", "--target-column", "logp"), "--target-column does not go here"),
        (("--dataset", "karate"), "is for nodes"),
        (("--dataset", "nci_cripen"), "did you mean nci_crippen"),
        (("no.csv", "--target-column", "logp"), "no.csv does not exist"),
        (("logp.csv", "--target-column", "logp", "--split", "half"), "must be scaffold, random"),
        (("logp.csv", "--target-column", "logp", "--split", "0.5/0.5"), "train, valid and test make three"),
        (("logp.csv", "--target-column", "logp", "--split", "no.json"), "no.json cannot be read"),
        (("logp.csv", "--target-column", "logp", "--task", "ranking"), "'regression' or 'classification'"),
        (("logp.csv", "--target-column", "logp", "--device", "tpu"), "device must be"),
    ],
)
def test_wrong_options_for_molecules(args: tuple[str, ...], message: str, cli: Callable) -> None:
    write_molecules(Path())
    result = cli("train", "molecules", *args, "--out", "out")
    assert result.code == 2
    assert message in result.error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "give --edges or --dataset NAME"),
        (("--dataset", "karate", "--nodes", "people.csv"), "--nodes does not go here"),
        (("--dataset", "karate", "--split", "scaffold"), "'scaffold' is for molecules"),
        (("--edges", "edges.csv"), "--label-column"),
        (NETWORK, "--label-column"),
        ((*LABELLED, "--feature-columns", "side"), "expected one of them"),
        ((*LABELLED, "--source-column", "from"), "go together"),
    ],
)
def test_wrong_options_for_nodes(args: tuple[str, ...], message: str, cli: Callable) -> None:
    write_network(Path())
    result = cli("train", "nodes", *args, "--out", "out")
    assert result.code == 2
    assert message in result.error
    assert not Path("out").exists()


def test_options_of_the_other_job_are_refused(molecules: Callable, trained_nodes: Path) -> None:
    result = molecules("predict", "run", "logp.csv", "--edges", "edges.csv", "--out", "p.csv")
    assert result.code == 2
    assert result.error == "--edges does not go here: run was trained on molecules, and this is for a network"
    other = trained_nodes / "run"
    for command in (["predict", other, "logp.csv", "--out", "p.csv"], ["evaluate", other, "logp.csv"]):
        result = molecules(*command)
        assert result.code == 2
        assert "TABLE does not go here" in result.error
    result = molecules("predict", other, "--dataset", "karate", "--strict", "--out", "p.csv")
    assert "--strict does not go here" in result.error


def test_debug_shows_the_traceback(cli: Callable) -> None:
    result = cli("train", "nodes", "--dataset", "nowhere", "--out", "x", "--debug")
    assert result.code == 2
    assert "Traceback" in result.err
    assert "InputError" in result.err


def test_a_folder_that_cannot_be_written(cli: Callable) -> None:
    Path("file").write_text("")
    result = cli("train", "nodes", "--dataset", "karate", "--epochs", "1", "--out", "file/run")
    assert result.code == 2
    assert "file" in result.error
