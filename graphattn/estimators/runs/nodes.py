"""Runs on networks: train into a folder, label a network, evaluate."""

from __future__ import annotations

import csv
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.estimators.base import digest
from graphattn.estimators.node_classifier import NodeClassifier
from graphattn.estimators.persist import CONFIG_FILE, load_config, save_model
from graphattn.estimators.runs.common import (
    PREDICTIONS_FILE,
    evaluation,
    fingerprint,
    new_file,
    write_run_files,
)
from graphattn.estimators.runs.folder import RunFolder, RunOptions
from graphattn.estimators.runs.network_source import LoadedNetwork, NetworkFiles, NetworkSource
from graphattn.networks import label_propagation
from graphattn.splits import DEFAULT_FRACTIONS, PARTS, Split, parse_split, random_split, read_split_file
from graphattn.train import classification_scores


def train_nodes(source: NetworkSource, options: RunOptions) -> dict[str, Any]:
    """Trains on a network and writes the run to `options.out`.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the network, the split or the folder cannot be used.
    """
    started = time.monotonic()
    estimator = NodeClassifier(seed=options.seed, **options.params)
    estimator.check_params()
    _wanted_split(options)
    options.notify(f"reading {source.name}")
    network = source.load()
    data, class_names = network.data, network.data.get("class_names")
    if class_names is None:
        raise InputError("there are no labels to train on; name the column of the node table that holds them (--label-column)")
    labelled = (data.y >= 0).nonzero().squeeze(-1).numpy()
    if len(labelled) == 0:
        raise InputError(f"{source.name} has no labelled node: every cell of the label column is empty")
    split = _split(network, labelled, options)
    _describe(network, options)
    encoding = None if network.encoding is None else network.encoding.to_dict()
    request = {"split": options.split, "seed": options.seed, "params": options.params}
    parts = [split[part] for part in PARTS]
    content = digest(network.ids, data.edge_index.numpy(), data.y.numpy(), class_names, _features(network), *parts)
    folder = RunFolder(options, {**request, "data": content})

    with folder.training():
        estimator.fit(data, split["train"], split["valid"], checkpoint=folder.checkpoint, report=options.report)
    probability = estimator.predict_proba(data)
    y = data.y.numpy()
    scores = {part: classification_scores(y[split[part]], probability[split[part]]) for part in PARTS}
    files = source if isinstance(source, NetworkFiles) else None
    config = {
        **estimator.config(),
        "data": {
            "encoding": encoding,
            "class_names": class_names,
            "id_column": files and files.id_column,
            "label_column": files and files.label_column,
            "directed": bool(files and files.directed),
        },
    }
    save_model(folder.path, config, estimator.model_)
    _write_labels(folder.path / PREDICTIONS_FILE, network.ids, estimator, probability, split["test"])
    marks = _fingerprints(network)
    metrics = write_run_files(
        folder,
        options,
        history=estimator.history_,
        split=split,
        trained_on=[marks[row] for part in ("train", "valid") for row in split[part]],
        scores=scores,
        baselines=_baselines(data, len(class_names), split),
        excluded={"unlabelled": len(y) - len(labelled)} if len(labelled) < len(y) else {},
        duplicates=0,
        seconds=estimator.earlier_seconds_ + time.monotonic() - started,
    )
    folder.finish()
    return metrics


def predict_nodes(
    run: Path, source: NetworkSource, out: Path, *, overwrite: bool = False, device: str = "auto"
) -> dict[str, Any]:
    """Labels every node of a network: the one the run was trained on, as it is now, or another with the same features.

    Args:
        run: folder of the trained run.
        source: the network.
        out: the CSV file to write: id, prediction and the probability of each class.
        overwrite: whether `out` may be replaced.
        device: where to compute.

    Returns:
        The counts of what was found in the network, see `graphattn.networks.Network`.

    Raises:
        InputError: where the run or the network cannot be used, or `out` exists.
    """
    estimator, config = load_node_run(run, device)
    with new_file(out, overwrite) as part:
        network = source.load(config["data"])
        probability = estimator.predict_proba(network.data)
        _write_labels(part, network.ids, estimator, probability, np.arange(len(network.ids)))
    return network.report


def evaluate_nodes(run: Path, source: NetworkSource, *, device: str = "auto") -> dict[str, Any]:
    """Scores a run on the labelled nodes of a network.

    Returns:
        What `graphattn.estimators.runs.common.evaluation` returns.
    """
    estimator, config = load_node_run(run, device)
    network = source.load(config["data"])
    y = network.data.get("y")
    if network.report.get("unknown_labels") and int((y >= 0).sum()) == 0:
        known = ", ".join(map(str, config["data"]["class_names"]))
        raise InputError(f"no label of {source.name} is a class of this run, which are: {known}")
    if y is None or int((y >= 0).sum()) == 0:
        raise InputError(f"{source.name} has no labels to evaluate with; name their column with --label-column")
    rows = (y >= 0).nonzero().squeeze(-1).numpy()
    truth, probability = y.numpy()[rows], estimator.predict_proba(network.data)[rows]
    every = _fingerprints(network)
    excluded = {reason: network.report[reason] for reason in ("unlabelled", "unknown_labels") if network.report.get(reason)}
    marks = [every[row] for row in rows]
    return evaluation(run, marks, lambda chosen: classification_scores(truth[chosen], probability[chosen]), excluded)


def load_node_run(run: Path, device: str = "auto") -> tuple[NodeClassifier, dict[str, Any]]:
    """The estimator of a run and its config.

    Raises:
        InputError: where the folder is no run on a network.
    """
    config = load_config(run)
    if config["estimator"] != NodeClassifier.__name__:
        raise InputError(f"{run} holds a {config['estimator']}, which does not label networks")
    data = config.get("data")
    if (
        not isinstance(data, dict)
        or not {"encoding", "label_column"} <= data.keys()
        or not isinstance(data.get("class_names"), list)
    ):
        raise InputError(f"{run / CONFIG_FILE} does not say how the features were made; it was not written by graphattn train")
    return NodeClassifier.from_pretrained(run, device=device), config


def _wanted_split(options: RunOptions) -> str | tuple[float, float, float] | Path:
    wanted = parse_split(options.split or "random")
    if wanted == "scaffold":
        raise InputError("split 'scaffold' is for molecules; use random, A/B/C or a JSON file")
    return wanted


def _split(network: LoadedNetwork, labelled: np.ndarray, options: RunOptions) -> Split:
    if options.split is None and network.split is not None:
        split = network.split
    else:
        wanted = _wanted_split(options)
        if isinstance(wanted, Path):
            split = read_split_file(wanted, len(network.ids))
        else:
            fractions = wanted if isinstance(wanted, tuple) else DEFAULT_FRACTIONS
            parts = random_split(len(labelled), fractions, options.seed)
            split = {part: labelled[rows] for part, rows in parts.items()}
    split = {part: rows[np.isin(rows, labelled)] for part, rows in split.items()}
    if len(split["train"]) == 0:
        raise InputError("the split leaves no labelled node to train on")
    return split


def _describe(network: LoadedNetwork, options: RunOptions) -> None:
    counts = dict(network.report)
    parts = [f"{counts.pop('nodes'):,} nodes", f"{counts.pop('edges'):,} edges"]
    options.notify(", ".join(parts + [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()]))


def _baselines(data: Data, classes: int, split: Split) -> dict[str, dict[str, float]]:
    """What the test part scores without a model: the commonest class, and labels spread along the edges."""
    y = data.y.numpy()
    share = np.bincount(y[split["train"]], minlength=classes) / len(split["train"])
    spread = label_propagation(data, torch.from_numpy(split["train"]), classes).double().numpy()
    test = split["test"]
    return {
        "majority": classification_scores(y[test], np.tile(share, (len(test), 1))),
        "label_propagation": classification_scores(y[test], spread[test]),
    }


def _features(network: LoadedNetwork) -> list[list[float]]:
    """What is known of each node beside its links: its features, and nothing where there are none."""
    x = network.data.get("x")
    if x is None:
        return [[]] * len(network.ids)
    if x.layout != torch.sparse_csr:
        return x.tolist()
    bounds, columns, values = x.crow_indices().tolist(), x.col_indices().tolist(), x.values().tolist()
    return [columns[first:last] + values[first:last] for first, last in pairwise(bounds)]


def _fingerprints(network: LoadedNetwork) -> list[str]:
    """What each node is known again by: its name and its features."""
    return [fingerprint(name, *known) for name, known in zip(network.ids, _features(network), strict=True)]


def _write_labels(path: Path, ids: list[str], estimator: NodeClassifier, probability: np.ndarray, rows: np.ndarray) -> None:
    labels = estimator.classes_[probability.argmax(axis=1)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prediction", *(f"probability_{label}" for label in estimator.classes_)])
        writer.writerows([ids[row], labels[row], *probability[row].tolist()] for row in rows)
