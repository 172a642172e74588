"""Runs on molecules: train into a folder, predict a table, evaluate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from graphattn.chem import canonical_smiles, crippen_logp
from graphattn.errors import InputError
from graphattn.estimators import MoleculeClassifier, MoleculeRegressor
from graphattn.estimators.base import digest
from graphattn.estimators.persist import CONFIG_FILE, load_config, save_model
from graphattn.estimators.runs.common import (
    PREDICTIONS_FILE,
    evaluation,
    fingerprint,
    new_file,
    write_run_files,
)
from graphattn.estimators.runs.folder import RunFolder, RunOptions
from graphattn.estimators.runs.molecule_table import MoleculeTable, split_rows, usable_target
from graphattn.estimators.runs.plots import draw_parity
from graphattn.splits import PARTS, Split, parse_split
from graphattn.tables import iter_table, require_columns
from graphattn.train import classification_scores, regression_scores

# Rows that streaming prediction holds at a time: enough for worker processes to pay.
_CHUNK = 10_000

Molecules = MoleculeRegressor | MoleculeClassifier


def train_molecules(table: MoleculeTable, options: RunOptions, *, task: str = "regression") -> dict[str, Any]:
    """Trains on a table and writes the run to `options.out`.

    Args:
        table: the molecules and their targets.
        options: where and how.
        task: "regression" or "classification".

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the table, the split or the folder cannot be used.
    """
    started = time.monotonic()
    if task not in ("regression", "classification"):
        raise InputError(f"task must be 'regression' or 'classification', got {task!r}")
    kind = MoleculeRegressor if task == "regression" else MoleculeClassifier
    estimator = kind(seed=options.seed, valid_fraction=0.0, **options.params)
    estimator.check_params()
    parse_split(options.split or "random")
    request = {"task": task, "split": options.split, "seed": options.seed, "params": options.params}
    options.notify(f"reading {len(table.frame):,} molecules")
    canonical = [canonical_smiles(text) for text in table.smiles]
    target, excluded = usable_target(table, canonical, task)
    usable = np.array([row for row, value in enumerate(target) if value is not None], dtype=np.int64)
    if len(usable) == 0:
        raise InputError(f"no SMILES in column '{table.smiles_column}' of {table.name} can be read")
    _refuse_taken_columns(table.frame, set(target) if task == "classification" else (), table.name)
    split = split_rows(table, usable, options)
    content = digest(table.smiles, table.frame[table.target_column].tolist(), *(split[part] for part in PARTS))
    folder = RunFolder(options, {**request, "data": content})

    valid = None if len(split["valid"]) == 0 else _rows(table, target, split["valid"])
    with folder.training():
        estimator.fit(*_rows(table, target, split["train"]), valid=valid, checkpoint=folder.checkpoint, report=options.report)

    smiles = np.array(table.smiles, dtype=object)
    outputs = {part: estimator.outputs(smiles[split[part]])[0] for part in PARTS}
    truth = {part: np.array([target[row] for row in split[part]]) for part in PARTS}
    scores = {part: _scores(estimator, truth[part], outputs[part]) for part in PARTS}
    baselines = _baselines(estimator, smiles, truth, split)
    config = {**estimator.config(), "data": {"smiles_column": table.smiles_column, "target_column": table.target_column}}
    save_model(folder.path, config, estimator.model_)
    test = table.frame.iloc[split["test"]]
    _with_predictions(test, estimator, outputs["test"], {}, table.name).to_csv(folder.path / PREDICTIONS_FILE, index=False)
    if task == "regression" and len(split["test"]):
        draw_parity(folder.path / "parity.png", truth["test"], outputs["test"][:, 0], table.target_column, scores["test"])
    molecules = {part: {canonical[row] for row in split[part]} for part in PARTS}
    elsewhere = {"valid": molecules["train"], "test": molecules["train"] | molecules["valid"]}
    metrics = write_run_files(
        folder,
        options,
        history=estimator.history_,
        split=split,
        trained_on=[fingerprint(canonical[row]) for part in ("train", "valid") for row in split[part]],
        scores=scores,
        baselines=baselines,
        excluded=excluded,
        duplicates=sum(canonical[row] in elsewhere[part] for part in elsewhere for row in split[part]),
        seconds=estimator.earlier_seconds_ + time.monotonic() - started,
    )
    folder.finish()
    return metrics


def predict_molecules(
    run: Path,
    table: Path | MoleculeTable,
    out: Path,
    *,
    smiles_column: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    report: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Predicts every row of a table, piece by piece, in memory that does not grow with the table.

    Args:
        run: folder of the trained run.
        table: a delimited file with a column of SMILES, or a loaded table.
        out: the CSV file to write: the input's columns, then prediction, the probability of each class of a classifier, and
            error, which says why a row has no prediction.
        smiles_column: default: the column that the run was trained with.
        overwrite: whether `out` may be replaced.
        device: where to compute.
        report: called with the number of rows done since the last call.

    Returns:
        "rows", "predicted", and "errors": reason → rows.

    Raises:
        InputError: where the run or the table cannot be used, or `out` exists.
    """
    estimator, config = load_molecule_run(run, device)
    if isinstance(table, MoleculeTable):
        name, pieces, column = table.name, iter([table.frame]), smiles_column or table.smiles_column
    else:
        name, pieces, column = str(table), iter_table(table, _CHUNK), smiles_column or config["data"]["smiles_column"]
    rows, errors = 0, Counter[str]()
    with new_file(out, overwrite) as part:
        for number, piece in enumerate(pieces):
            require_columns(piece, [column], name)
            output, reasons = estimator.outputs(piece[column].tolist())
            table_out = _with_predictions(piece, estimator, output, reasons, name)
            table_out.to_csv(part, mode="w" if number == 0 else "a", header=number == 0, index=False)
            rows += len(piece)
            errors.update(reason.partition(":")[0] for reason in reasons.values())
            if report is not None:
                report(len(piece))
    return {"rows": rows, "predicted": rows - errors.total(), "errors": dict(errors)}


def evaluate_molecules(run: Path, table: MoleculeTable, *, device: str = "auto") -> dict[str, Any]:
    """Scores a run on labelled molecules.

    Returns:
        What `graphattn.estimators.runs.common.evaluation` returns.
    """
    estimator, _ = load_molecule_run(run, device)
    task = "regression" if isinstance(estimator, MoleculeRegressor) else "classification"
    canonical = [canonical_smiles(text) for text in table.smiles]
    target, excluded = usable_target(table, canonical, task)
    rows = np.array([row for row, value in enumerate(target) if value is not None], dtype=np.int64)
    if isinstance(estimator, MoleculeClassifier):
        known = {str(label) for label in estimator.classes_}
        strange = [row for row in rows if str(target[row]) not in known]
        if strange:
            excluded["class not in training"] = len(strange)
        rows = np.setdiff1d(rows, strange)
    if len(rows) == 0:
        raise InputError(f"{table.name} has no usable row to evaluate: {excluded or 'it is empty'}")
    truth = np.array([target[row] for row in rows])
    outputs, _ = estimator.outputs([table.smiles[row] for row in rows])
    marks = [fingerprint(canonical[row]) for row in rows]
    return evaluation(run, marks, lambda chosen: _scores(estimator, truth[chosen], outputs[chosen]), excluded)


def load_molecule_run(run: Path, device: str = "auto") -> tuple[Molecules, dict[str, Any]]:
    """The estimator of a run and its config.

    Raises:
        InputError: where the folder is no run on molecules.
    """
    config = load_config(run)
    for kind in (MoleculeRegressor, MoleculeClassifier):
        if config["estimator"] == kind.__name__:
            data = config.setdefault("data", {"smiles_column": "smiles", "target_column": None})
            if not isinstance(data, dict) or not {"smiles_column", "target_column"} <= data.keys():
                raise InputError(f"{run / CONFIG_FILE} is damaged: its 'data' does not name the columns of the table")
            return kind.from_pretrained(run, device=device), config
    raise InputError(f"{run} holds a {config['estimator']}, which does not predict molecules")


def _rows(table: MoleculeTable, target: list[Any], rows: np.ndarray) -> tuple[list[str], list[Any]]:
    smiles = table.smiles
    return [smiles[row] for row in rows], [target[row] for row in rows]


def _scores(estimator: Molecules, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    if isinstance(estimator, MoleculeRegressor):
        return regression_scores(truth, outputs[:, 0])
    number = {str(label): place for place, label in enumerate(estimator.classes_)}
    # A class that the model has not met is -1, which no prediction is.
    return classification_scores(np.array([number.get(str(label), -1) for label in truth], dtype=np.int64), outputs)


def _baselines(
    estimator: Molecules, smiles: np.ndarray, truth: dict[str, np.ndarray], split: Split
) -> dict[str, dict[str, float]]:
    """What the test part scores without a model: the training mean and a refitted Crippen logP, or the commonest class."""
    rows = len(split["test"])
    if isinstance(estimator, MoleculeClassifier):
        share = np.array([(truth["train"] == label).mean() for label in estimator.classes_])
        return {"majority": _scores(estimator, truth["test"], np.tile(share, (rows, 1)))}
    mean = np.full((rows, 1), truth["train"].mean())
    if rows == 0:
        return {"mean": {}, "crippen": {}}
    crippen = {part: crippen_logp(smiles[split[part]])[:, None] for part in ("train", "test")}
    fitted = LinearRegression().fit(crippen["train"], truth["train"]).predict(crippen["test"])
    return {"mean": _scores(estimator, truth["test"], mean), "crippen": _scores(estimator, truth["test"], fitted[:, None])}


def _with_predictions(
    frame: pd.DataFrame, estimator: Molecules, outputs: np.ndarray, errors: dict[int, str], name: str
) -> pd.DataFrame:
    """The frame's columns, then the predictions and the reasons why there is none."""
    bad = np.isnan(outputs[:, 0]) if len(outputs) else np.zeros(0, dtype=bool)
    added: dict[str, Any] = {}
    if isinstance(estimator, MoleculeRegressor):
        added["prediction"] = outputs[:, 0]
    else:
        labels = estimator.classes_[np.nan_to_num(outputs).argmax(axis=1)].astype(object)
        added["prediction"] = np.where(bad, None, labels)
        for place, label in enumerate(estimator.classes_):
            added[f"probability_{label}"] = outputs[:, place]
    added["error"] = [errors.get(row, "") for row in range(len(frame))]
    _refuse_taken_columns(frame, getattr(estimator, "classes_", ()), name)
    return frame.assign(**added)


def _refuse_taken_columns(frame: pd.DataFrame, classes: Iterable[Any], name: str) -> None:
    for column in ("prediction", *(f"probability_{label}" for label in classes), "error"):
        if column in frame.columns:
            raise InputError(f"{name} has a column '{column}' already, which predictions would repeat; rename it first")
