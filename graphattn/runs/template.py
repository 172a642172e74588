"""The one way in which runs train, predict and evaluate, whatever comes in and goes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphattn.errors import InputError
from graphattn.estimators.kinds import KINDS
from graphattn.estimators.persist import CONFIG_FILE, digest, load_config, save_model
from graphattn.estimators.predictor import Predictor, Said, load_predictor
from graphattn.runs.files import PREDICTIONS_FILE, evaluation, new_file, write_run_files, written
from graphattn.runs.folder import RunFolder, RunOptions
from graphattn.runs.predictions import Predictions, refuse_taken_columns, write_table
from graphattn.runs.rows import Rows
from graphattn.runs.trust import trust_scores
from graphattn.splits import JUDGED, PARTS, Split, parse_split
from graphattn.train import Task
from graphattn.train.metrics import Scores


def train_run(
    estimator: Any, load: Callable[[Task], Rows], options: RunOptions, *, kinds_of_split: Sequence[str]
) -> dict[str, Any]:
    """Load, clean, split, fit, score, write.

    Args:
        estimator: not fitted yet.
        load: reads the rows and cleans them for a task.
        options: where and how.
        kinds_of_split: the words that `options.split` may be.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the data, the split or the folder cannot be used.
    """
    started = time.monotonic()
    estimator.check_params()
    wanted = parse_split(options.split or "random")
    if isinstance(wanted, str) and wanted not in kinds_of_split:
        raise InputError(f"split '{wanted}' is for molecules; use {', '.join(kinds_of_split)}, A/B/C or a JSON file")
    task = estimator.new_task()
    rows = load(task)
    none = np.empty((0, 1))
    first = rows.predictions(rows.usable[:0], Said(none, none[None], {}, {}))
    names = [*task.column_names(rows.values[rows.usable].tolist()), *rows.more_columns(task)]
    refuse_taken_columns(
        first.frame, names, first.name, errors=first.errors is not None, prediction_column=options.prediction_column
    )
    split = rows.split(options, task)
    request = {"task": task.name, "split": options.split, "seed": options.seed, "params": options.params}
    if options.prediction_column is not None:
        request["prediction_column"] = options.prediction_column
    request = {**request, "data": digest(*rows.content(), *(split[part] for part in PARTS))}
    with RunFolder(options, request) as folder:
        return _train_into(folder, estimator, rows, split, options, started)


def _train_into(
    folder: RunFolder, estimator: Any, rows: Rows, split: Split, options: RunOptions, started: float
) -> dict[str, Any]:
    predictor = rows.fit(estimator, split, folder.checkpoint, options.report)
    task = predictor.task

    values = {part: np.array(rows.values[split[part]].tolist()) for part in PARTS}
    said = {part: rows.say(predictor, split[part], columns=part == "test") for part in PARTS}
    outputs = {part: of_part.outputs for part, of_part in said.items()}
    scores = {part: task.scores(values[part], outputs[part]) for part in PARTS}
    baselines = _baselines(task, rows, split, values)
    if "lower" in rows.more_columns(task) and "lower" not in said["test"].columns:
        count, percent = len(split["valid"]), f"{100 * predictor.params['interval']:g} %"
        options.notify(f"note: {count:,} validation rows are too few for intervals that hold {percent}; predictions have none")

    named = options.prediction_column
    data = rows.config() | ({} if named is None else {"prediction_column": named})
    save_model(folder.path, {**predictor.config(), "data": data}, predictor.models, predictor.source.tensors())
    table = rows.predictions(split["test"], said["test"])
    with written(folder.path / PREDICTIONS_FILE) as file:
        write_table([table.table(task, named)], file, line_end=rows.line_end)
    metrics = write_run_files(
        folder,
        options,
        history=estimator.history_,
        split=split,
        trained_on=[mark for part in ("train", "valid") for mark in rows.marks(split[part])],
        scores=scores,
        trust=trust_scores(predictor, values["test"], said["test"]),
        models={part: _over_models(task, values[part], of_part.of_models) for part, of_part in said.items()},
        baselines={name: of_part["test"] for name, of_part in baselines.items()},
        better_on_validation=_better(task, baselines, scores["valid"]),
        parity=task.parity(values["test"], outputs["test"]) if len(split["test"]) else None,
        target=rows.target_name,
        excluded=rows.excluded,
        duplicates=rows.duplicates(split),
        seconds=estimator.earlier_seconds_ + time.monotonic() - started,
    )
    folder.finish()
    return metrics


def _over_models(task: Task, values: np.ndarray, outputs: np.ndarray) -> dict[str, Scores]:
    """Mean and standard deviation of each score over the models of an ensemble; none of one model or without rows."""
    if len(outputs) == 1 or not len(values):
        return {}
    scores = [task.scores(values, of_model) for of_model in outputs]
    table = {name: [of_model[name] for of_model in scores] for name in scores[0]}
    return {name: {"mean": float(np.mean(column)), "std": float(np.std(column))} for name, column in table.items()}


def _baselines(task: Task, rows: Rows, split: Split, values: dict[str, np.ndarray]) -> dict[str, dict[str, Scores]]:
    """The scores of a constant and of the rows' own baselines: name → part → scores."""
    said: dict[str, dict[str, np.ndarray]] = {}
    for part in JUDGED:
        name, outputs = task.constant(len(split[part]))
        said.setdefault(name, {})[part] = outputs
    said |= rows.baselines(task, split)
    return {name: {part: task.scores(values[part], of_part[part]) for part in JUDGED} for name, of_part in said.items()}


def _better(task: Task, baselines: dict[str, dict[str, Scores]], model: Scores) -> dict[str, Scores]:
    """The baselines that are better than the model on the validation part, by the score that training watches: name → it."""
    if not model:
        return {}
    name, sign = task.score_name, -1 if task.smaller_is_better else 1
    valid = {baseline: of_part["valid"] for baseline, of_part in baselines.items()}
    return {baseline: {name: its[name]} for baseline, its in valid.items() if sign * its[name] > sign * model[name]}


class RunKind(NamedTuple):
    """The runs that a command can go on from.

    Args:
        source: what they were trained on.
        purpose: what they do.
        data: the keys that the "data" entry of their config must have.
        no_data: what is said of a config without them.
        default: that entry, for a model that was saved from Python.
    """

    source: str
    purpose: str
    data: frozenset[str]
    no_data: str
    default: dict[str, Any] | None = None

    def open(self, run: Path, device: str = "auto") -> tuple[Predictor[Any], dict[str, Any]]:
        """The predictor of a run and the "data" entry of its config.

        Raises:
            InputError: where the folder is no such run.
        """
        config = load_config(run)
        kind = KINDS.get(str(config["estimator"]))
        if kind is None or kind.source != self.source:
            raise InputError(f"{run} holds a {config['estimator']}, which does not {self.purpose}")
        data = config.get("data", self.default)
        if not isinstance(data, dict) or not self.data <= data.keys():
            raise InputError(f"{run / CONFIG_FILE} {self.no_data}")
        names = data.get("class_names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise InputError(f"{run / CONFIG_FILE} is damaged: its class names must be a list of text, got {str(names)[:60]!r}")
        if names is not None and len(set(names)) < len(names):
            raise InputError(f"{run / CONFIG_FILE} is damaged: its class names must differ, got {str(names)[:60]!r}")
        return load_predictor(run, device), data


def predict_run(
    predictor: Predictor[Any],
    chunks: Iterable[Predictions],
    out: Path,
    *,
    overwrite: bool,
    line_end: str,
    prediction_column: str | None = None,
    report: Callable[[int], None] | None = None,
) -> None:
    """Writes predictions to a new file.

    Args:
        predictor: what made them.
        chunks: the predictions, made while they are written.
        out: the file.
        overwrite: whether `out` may be replaced.
        line_end: how lines end.
        prediction_column: as in `Predictions.table`.
        report: called with the number of rows done since the last call.

    Raises:
        InputError: where the rows cannot be used, or `out` exists.
    """
    with new_file(out, overwrite) as file:
        tables = (chunk.table(predictor.task, prediction_column) for chunk in chunks)
        write_table(tables, file, line_end=line_end, report=report)


def evaluate_run(run: Path, predictor: Predictor[Any], rows: Rows) -> dict[str, Any]:
    """Scores a run on rows with values; those that it was not trained on also by themselves.

    Returns:
        What `graphattn.runs.files.evaluation` returns, and "notes": sentences on what was read in one of two ways, and on what
        the model could not use.
    """
    task = predictor.task
    values = np.array(rows.values[rows.usable].tolist())
    outputs = rows.say(predictor, rows.usable, columns=False).outputs
    result = evaluation(
        run, rows.marks(rows.usable), lambda chosen: task.scores(values[chosen], outputs[chosen]), rows.excluded
    )
    return {**result, "notes": rows.notes}
