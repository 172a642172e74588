"""What a run must not do: lose what it was not to touch, or go on with other data than it began with."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from graphattn import InputError
from graphattn.estimators.base import GraphEstimator
from graphattn.estimators.manifest import write_manifest
from graphattn.runs import (
    MoleculeTable,
    NetworkFiles,
    RunOptions,
    evaluate_molecules,
    evaluate_nodes,
    plots,
    predict_molecules,
    predict_nodes,
    train_molecules,
    train_nodes,
)
from graphattn.runs.folder import RunFolder
from graphattn.train.checkpoint import load_checkpoint, save_checkpoint

SMILES = ["CCO", "CCCC", "c1ccccc1", "CC(=O)O", "CCN", "CCCl", "c1ccncc1", "OCC(O)CO", "CCCCCCCC", "CC(C)=O"]
SMALL = {"channels": 8, "num_layers": 1, "heads": 1, "epochs": 2}


def table(values, **columns):
    frame = pd.DataFrame({"smiles": SMILES, "y": [str(value) for value in values], **columns}, dtype=str)
    return MoleculeTable(frame, "a table", "smiles", "y")


def options(tmp_path, **changes):
    return RunOptions(**{"out": tmp_path / "run", "split": "0.6/0.2/0.2", "params": SMALL, **changes})


def stop_after(epoch):
    def report(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return report


def test_overwrite_touches_nothing_else(tmp_path):
    for name in ("run.old", "run.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"run\.partial is in the way"):
        train_molecules(table(range(10)), options(tmp_path, overwrite=True))
    (tmp_path / "run.partial" / "precious.txt").rename(tmp_path / "precious.txt")
    (tmp_path / "run.partial").rmdir()
    for _ in range(2):
        train_molecules(table(range(10)), options(tmp_path, overwrite=True))
    assert (tmp_path / "run.old" / "precious.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious.txt", "run", "run.old"]


def test_overwrite_refuses_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="is not a run of graphattn"):
        train_molecules(table(range(10)), options(tmp_path, overwrite=True))
    assert (tmp_path / "run" / "thesis.doc").read_text() == "mine"


def test_resume_refuses_another_split(tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2, 3, 4, 5], "valid": [6, 7], "test": [8, 9]}))
    chosen = options(tmp_path, split=str(split), report=stop_after(1))
    with pytest.raises(KeyboardInterrupt):
        train_molecules(table(range(10)), chosen)
    split.write_text(json.dumps({"train": [9, 8, 2, 3, 4, 5], "valid": [6, 7], "test": [1, 0]}))
    with pytest.raises(InputError, match="other options or data"):
        train_molecules(table(range(10)), options(tmp_path, split=str(split), resume=True))


def test_nothing_of_the_making_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_molecules(table(range(10)), options(tmp_path, report=stop_after(1)))
    (tmp_path / "run.partial" / "checkpoint.pt.part").write_text("broken off")
    (tmp_path / "run.partial" / "model.safetensors.0.part").write_text("broken off")
    train_molecules(table(range(10)), options(tmp_path, resume=True))
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "config.json", "curves.png", "history.csv", "manifest.json", "metrics.json", "model.safetensors", "parity.png",
        "predictions.csv", "splits.json",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_class_that_only_the_test_part_has(tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2, 3, 4, 5], "valid": [6, 7], "test": [8, 9]}))
    labels = ["a", "b"] * 4 + ["a", "rare"]
    metrics = train_molecules(table(labels), options(tmp_path, split=str(split)), task="classification")
    assert metrics["test"]["accuracy"] <= 0.5  # the rare one cannot be right
    header = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[0]
    assert header == "smiles,y,prediction,probability_a,probability_b,nearest_training,never_seen,error"


def test_nan_is_no_class(tmp_path):
    labels = ["a", "b", "NaN", "nan", "", "a", "b", "a", "b", "a"]
    metrics = train_molecules(table(labels), options(tmp_path), task="classification")
    assert metrics["excluded"] == {"y: empty": 1, "y: missing": 2}
    assert sum(metrics["split"].values()) == 7


def test_columns_that_predictions_would_repeat(tmp_path):
    with pytest.raises(InputError, match="has a column 'prediction' already"):
        train_molecules(table(range(10), prediction=["1"] * 10), options(tmp_path))
    assert list(tmp_path.iterdir()) == []
    train_molecules(table(range(10)), options(tmp_path))
    with pytest.raises(InputError, match="has a column 'error' already"):
        predict_molecules(tmp_path / "run", table(range(10), error=[""] * 10), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_no_readable_smiles(tmp_path):
    frame = pd.DataFrame({"smiles": ["Q", "nope"], "y": ["1", "2"]}, dtype=str)
    with pytest.raises(InputError, match="no SMILES in column 'smiles' of a table can be read"):
        train_molecules(MoleculeTable(frame, "a table", "smiles", "y"), options(tmp_path))


def test_molecules_in_two_parts_are_counted(tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2, 3], "valid": [4, 5, 6], "test": [7, 8, 9]}))
    smiles = ["CCO", "CCC", "CCN", "C", "OCC", "CF", "CCl", "C(O)C", "FC", "CBr"]  # ethanol thrice, CF twice
    frame = pd.DataFrame({"smiles": smiles, "y": [str(i) for i in range(10)]}, dtype=str)
    metrics = train_molecules(MoleculeTable(frame, "a table", "smiles", "y"), options(tmp_path, split=str(split)))
    assert metrics["duplicates_across_splits"] == 3


def test_values_that_contradict_each_other_are_said(tmp_path):
    smiles = ["CCO", "CCC", "CCN", "C[13CH2]O", "OCC", "CF", "[CH3:1]N", "CN", "FC", "CBr"]
    values = ["1", "2", "3", "5", "1.0", "6", "7", "7", "8", "9"]  # ethanol 1 and 5, CF 6 and 8, CN 7 twice
    frame = pd.DataFrame({"smiles": smiles, "y": values}, dtype=str)
    said: list[str] = []
    train_molecules(MoleculeTable(frame, "a table", "smiles", "y"), options(tmp_path, notify=said.append))
    (note,) = [text for text in said if "different values" in text]
    assert note.startswith(
        "note: 2 molecules have several rows with different values, such as CCO and C[13CH2]O with 1.0 and 5.0"
    )


def test_baselines_by_hand(tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2, 3], "valid": [], "test": [8, 9]}))
    metrics = train_molecules(table([1, 2, 3, 6, 0, 0, 0, 0, 5, 4]), options(tmp_path, split=str(split)))
    # The training mean is 3: errors -2 and -1.
    assert metrics["baselines"]["mean"]["rmse"] == pytest.approx(np.sqrt(2.5))
    assert metrics["baselines"]["mean"]["mae"] == pytest.approx(1.5)
    assert metrics["valid"] == {}


def test_a_network_that_grew_is_still_known(tmp_path):
    """Structure alone: the rows it was trained on are known by name when newcomers stand first in the table."""
    people = [f"p{i}" for i in range(12)]
    edges = [(i, j) for i in range(12) for j in range(i) if (i < 6) == (j < 6)]
    lines = [f"p{i},p{j}" for i, j in edges]
    (tmp_path / "edges.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
    nodes = "".join(f"{name},{'left' if i < 6 else 'right'}\n" for i, name in enumerate(people))
    (tmp_path / "nodes.csv").write_text("name,side\n" + nodes)
    files = NetworkFiles(tmp_path / "edges.csv", tmp_path / "nodes.csv", id_column="name", label_column="side")
    params = {"channels": 8, "heads": 1, "epochs": 2}
    train_nodes(files, RunOptions(tmp_path / "run", split="0.5/0.25/0.25", params=params))
    (tmp_path / "nodes.csv").write_text("name,side\nnewcomer,left\n" + nodes)
    (tmp_path / "edges.csv").write_text("a,b\nnewcomer,p3\n" + "\n".join(lines) + "\n")
    result = evaluate_nodes(tmp_path / "run", files)
    assert (result["rows"], result["trained_on"], result["notes"]) == (13, 9, [])
    # Other people with other friends: positions are left out, and that is said, where they are labelled and where scored.
    (tmp_path / "nodes.csv").write_text("name,side\n" + nodes.replace("p", "q"))
    (tmp_path / "edges.csv").write_text("a,b\n" + "\n".join(lines).replace("p", "q") + "\n")
    (note,) = evaluate_nodes(tmp_path / "run", files)["notes"]
    assert note.startswith("this is not the network of training: 0 of 12 nodes have an id")
    assert predict_nodes(tmp_path / "run", files, tmp_path / "out.csv")["notes"] == [note]


def test_a_baseline_that_is_better_on_validation_is_named(tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 2, 3], "valid": [4, 5], "test": [6, 7, 8, 9]}))
    # No model of two epochs hits the mean of training better than the mean itself.
    metrics = train_molecules(table([1, 2, 3, 6, 3, 3, 0, 0, 5, 4]), options(tmp_path, split=str(split)))
    assert metrics["better_on_validation"]["mean"] == {"rmse": 0.0}
    assert metrics["valid"]["rmse"] > 0


def test_two_processes_do_not_train_into_one_folder(tmp_path):
    folder = RunFolder(options(tmp_path), {"a": 1})
    with pytest.raises(InputError, match=r"another process trains into .*run\.partial at this moment"):
        train_molecules(table(range(10)), options(tmp_path, overwrite=True))
    with folder:
        pass
    train_molecules(table(range(10)), options(tmp_path, overwrite=True))


def test_a_folder_that_was_left_before_its_request_starts_again(tmp_path):
    """What a process leaves that is killed at once: the lock, and the beginning of a file."""
    partial = tmp_path / "run.partial"
    partial.mkdir()
    (partial / "lock").touch()
    (partial / "request.json.0123.part").write_text("{")
    train_molecules(table(range(10)), options(tmp_path))
    assert not partial.exists()
    assert not [path for path in (tmp_path / "run").iterdir() if path.name == "lock" or path.suffix == ".part"]


def test_a_link_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"run\.partial is a link"):
        train_molecules(table(range(10)), options(tmp_path, overwrite=True))


def test_a_disk_that_is_full_leaves_what_can_be_resumed(tmp_path, monkeypatch):
    """The weights do not fit; with room again, the run goes on to the same bits."""
    train_molecules(table(range(10)), options(tmp_path, out=tmp_path / "whole"))
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith("model.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        train_molecules(table(range(10)), options(tmp_path))
    monkeypatch.undo()
    train_molecules(table(range(10)), options(tmp_path, resume=True))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]


def test_a_column_called_like_a_formula_is_drawn_as_it_is(tmp_path):
    frame = pd.DataFrame({"smiles": SMILES, "a$b$ $x_{$": [str(i) for i in range(10)]}, dtype=str)
    train_molecules(MoleculeTable(frame, "a table", "smiles", "a$b$ $x_{$"), options(tmp_path))
    assert (tmp_path / "run" / "parity.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_fails_ends_no_run(tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("no such font")

    monkeypatch.setattr(plots, "draw_parity", fail)
    said: list[str] = []
    train_molecules(table(range(10)), options(tmp_path, notify=said.append))
    assert [text for text in said if "parity.png" in text and "no such font" in text]
    assert not (tmp_path / "run" / "parity.png").exists()


def test_a_scaffold_split_without_scaffolds_is_said(tmp_path):
    frame = pd.DataFrame({"smiles": ["C" * k for k in range(1, 11)], "y": [str(k) for k in range(10)]}, dtype=str)
    said: list[str] = []
    train_molecules(MoleculeTable(frame, "a table", "smiles", "y"), options(tmp_path, split="scaffold", notify=said.append))
    (text,) = [text for text in said if "scaffold split" in text]
    assert "is 10/0/0, with no row in valid and test" in text
    assert "--split random gives every part its rows" in text


def test_random_numbers_of_the_caller_are_left_alone(tmp_path):
    train_molecules(table(range(10)), options(tmp_path))
    state = torch.get_rng_state()
    predict_molecules(tmp_path / "run", table(range(10)), tmp_path / "out.csv")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_complete_run_is_not_resumed(tmp_path):
    train_molecules(table(range(10)), options(tmp_path))
    with pytest.raises(InputError, match="is complete already: there is nothing to resume"):
        train_molecules(table(range(10)), options(tmp_path, resume=True))


def test_evaluating_a_run_that_does_not_say_what_it_was_trained_on(tmp_path):
    train_molecules(table(range(10)), options(tmp_path))
    assert evaluate_molecules(tmp_path / "run", table(range(10)))["trained_on"] == 8
    (tmp_path / "run" / "splits.json").unlink()
    result = evaluate_molecules(tmp_path / "run", table(range(10)))
    assert (result["rows"], result["trained_on"], result["scores_unseen"]) == (10, None, None)
    (tmp_path / "run" / "splits.json").write_text("{}")
    with pytest.raises(InputError, match=r"splits\.json is damaged"):
        evaluate_molecules(tmp_path / "run", table(range(10)))


def test_options_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="channels must be a multiple of heads, got 15 and 2"):
        train_molecules(table(["x"] * 10), options(tmp_path, params={"channels": 15, "heads": 2}))
    with pytest.raises(InputError, match="split is 'scafold'"):
        train_molecules(table(["x"] * 10), options(tmp_path, split="scafold"))


@pytest.fixture
def pair(tmp_path):
    """Two people, one link, a side each."""
    (tmp_path / "edges.csv").write_text("a,b\np,q\n")
    (tmp_path / "nodes.csv").write_text("name,side,number\np,left,1\nq,right,2\n")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1], "valid": [], "test": []}))
    files = NetworkFiles(tmp_path / "edges.csv", tmp_path / "nodes.csv", id_column="name", label_column="side")
    train_nodes(files, RunOptions(tmp_path / "run", split=str(split), params={"channels": 8, "heads": 1, "epochs": 2}))
    return files


def test_labels_that_the_run_does_not_know(tmp_path, pair):
    with pytest.raises(InputError, match=r"no label of .* is a class of this run, which are: left, right"):
        evaluate_nodes(tmp_path / "run", replace(pair, label_column="number"))


def test_features_for_a_run_without(tmp_path, pair):
    (tmp_path / "features.json").write_text('{"p": [1], "q": [2]}')
    with pytest.raises(InputError, match="this run was trained on structure alone; leave out --features"):
        predict_nodes(tmp_path / "run", replace(pair, features=tmp_path / "features.json"), tmp_path / "labels.csv")


def test_the_wrong_id_column(tmp_path, pair):
    with pytest.raises(InputError, match=r"no edge has both ends in the id column 'number': is it the right one"):
        train_nodes(replace(pair, id_column="number"), RunOptions(tmp_path / "other"))


def test_two_columns_of_one_name_are_written_as_they_are(tmp_path):
    train_molecules(table(range(10)), options(tmp_path))
    (tmp_path / "in.csv").write_text("smiles,note,note\nCCO,a,b\nCCN,c,d\nxx,e,f\n")
    predict_molecules(tmp_path / "run", tmp_path / "in.csv", tmp_path / "out.csv")
    lines = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert [line[:3] for line in lines] == [["smiles", "note", "note"], ["CCO", "a", "b"], ["CCN", "c", "d"], ["xx", "e", "f"]]
    assert lines[0][3:] == [
        "prediction",
        "uncertainty",
        "nearest_training",
        "never_seen",
        "error",
    ]  # too few rows for intervals


def fill_weights(run, value):
    """Fills the weights of a run, and writes its manifest anew."""
    path = run / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    safetensors.torch.save_file(tensors, path)
    write_manifest(run)


def test_weights_that_are_no_numbers(tmp_path, pair):
    run = tmp_path / "run"
    fill_weights(run, float("nan"))
    with pytest.raises(InputError, match=r"model\.safetensors is damaged: .* holds what is no finite number"):
        predict_nodes(run, pair, tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()


def test_a_model_of_nodes_that_overflows(tmp_path, pair):
    fill_weights(tmp_path / "run", 3e38)
    for use in (
        lambda: predict_nodes(tmp_path / "run", pair, tmp_path / "o.csv"),
        lambda: evaluate_nodes(tmp_path / "run", pair),
    ):
        with pytest.raises(InputError, match="the model gives no finite value for 2 of 2 nodes, first node 0"):
            use()
    assert not (tmp_path / "o.csv").exists()


def test_a_model_of_molecules_that_overflows(tmp_path):
    train_molecules(table(range(10)), options(tmp_path))
    fill_weights(tmp_path / "run", 3e38)
    with pytest.raises(InputError, match="the model gives no finite value for 10 of 10 molecules of a table, such as 'CCO'"):
        evaluate_molecules(tmp_path / "run", table(range(10)))
    result = predict_molecules(tmp_path / "run", table(range(10)), tmp_path / "out.csv")
    assert result["errors"] == {"the model gives no finite value": 10}


def test_class_names_that_are_no_list(tmp_path, pair):
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["data"]["class_names"] = 2
    path.write_text(json.dumps(config))
    write_manifest(tmp_path / "run")
    with pytest.raises(InputError, match="its class names must be a list of text"):
        predict_nodes(tmp_path / "run", pair, tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.update(epoch=[1]), r"epochs \[1\] and 1"),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(7)), "exp_avg of the optimizer does not fit"),
        (lambda state: state["optimizer"]["state"][0].update(step=torch.zeros(7)), "step of the optimizer does not fit"),
    ],
)
def test_a_checkpoint_with_other_values(tmp_path, monkeypatch, change, reason):
    monkeypatch.setattr(
        GraphEstimator,
        "_train_options",
        lambda self, given=GraphEstimator._train_options: replace(given(self), checkpoint_seconds=0.0),
    )
    with pytest.raises(KeyboardInterrupt):
        train_molecules(table(range(10)), options(tmp_path, params={**SMALL, "epochs": 3}, report=stop_after(2)))
    path = tmp_path / "run.partial" / "checkpoint.pt"
    state = load_checkpoint(path)
    change(state)
    save_checkpoint(path, state)
    with pytest.raises(InputError, match=rf"checkpoint\.pt is damaged \(ValueError: {reason}.*--overwrite starts again"):
        train_molecules(table(range(10)), options(tmp_path, params={**SMALL, "epochs": 3}, resume=True))


def test_an_ensemble(tmp_path):
    chosen = options(tmp_path, params={**SMALL, "ensemble": 2, "n_jobs": 1})
    metrics = train_molecules(table(range(10)), chosen)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["member"].tolist() == [0, 0, 1, 1]
    assert metrics["models"]["test"].keys() == metrics["test"].keys()
    assert metrics["models"]["test"]["rmse"]["std"] > 0
    assert [path.name for path in (tmp_path / "run").glob("checkpoint*")] == []
    predict_molecules(tmp_path / "run", table(range(10)), tmp_path / "out.csv")
    given = json.loads((tmp_path / "run" / "splits.json").read_text())["test"]
    found = pd.read_csv(tmp_path / "out.csv")["prediction"].iloc[given]
    np.testing.assert_allclose(found, pd.read_csv(tmp_path / "run" / "predictions.csv")["prediction"])
    of_models = [metrics["models"]["test"][score]["mean"] for score in ("rmse", "mae")]
    assert all(mean >= metrics["test"][score] for mean, score in zip(of_models, ("rmse", "mae"), strict=True))


def test_the_task_is_that_of_the_table(tmp_path):
    known = replace(table(["a", "b"] * 5), task="classification")
    assert "accuracy" in train_molecules(known, options(tmp_path))["test"]
    assert "rmse" in train_molecules(table(range(10)), options(tmp_path, overwrite=True))["test"]
