"""Runs on networks: train into a folder, label a network, evaluate."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from graphattn.errors import InputError
from graphattn.estimators.device import find_device
from graphattn.estimators.kinds import estimator_name
from graphattn.estimators.predictor import Predictor, Said
from graphattn.networks import spread_along_edges
from graphattn.networks.network import LabelKind
from graphattn.runs.describe import about_features, about_values
from graphattn.runs.files import fingerprint
from graphattn.runs.folder import RunOptions
from graphattn.runs.network import LoadedNetwork, NetworkFiles, NetworkOfCatalogue
from graphattn.runs.predictions import Predictions, refuse_taken_columns
from graphattn.runs.rows import Rows
from graphattn.runs.template import RunKind, evaluate_run, predict_run, train_run
from graphattn.splits import JUDGED, Split
from graphattn.train import EpochReport, Task

AnyNetwork = NetworkFiles | NetworkOfCatalogue

_LABEL_KINDS: dict[str, LabelKind] = {"classification": "classes", "regression": "values"}
_KIND = RunKind(
    "nodes",
    "label networks",
    frozenset({"encoding", "label_column", "class_names"}),
    "does not say how the features were made; it was not written by graphattn train",
)


def train_nodes(network: AnyNetwork, options: RunOptions, *, task: str = "classification") -> dict[str, Any]:
    """Trains on a network and writes the run to `options.out`.

    Args:
        network: where it is.
        options: where and how.
        task: "classification", or "regression" for labels that are numbers.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: where the network, the split or the folder cannot be used.
    """
    from graphattn import estimators

    kind = getattr(estimators, estimator_name("nodes", task))
    estimator = kind(seed=options.seed, **options.params)

    def load(task: Task) -> NodeRows:
        options.notify(f"reading {network.name}")
        loaded = network.load(label_kind=_LABEL_KINDS[task.name])
        if loaded.data.get("y") is None:
            raise InputError(
                "there are no labels to train on; name the column of the node table that holds them (--label-column)"
            )
        rows = NodeRows(network, loaded, task)
        if len(rows.usable) == 0:
            raise InputError(f"{network.name} has no labelled node: {rows.why_unlabelled}")
        unreadable = loaded.report.get("unknown_labels", 0)
        if unreadable > len(rows.usable):
            why = next((note for note in loaded.notes if "are no numbers" in note), f"{unreadable:,} are no numbers")
            raise InputError(f"most labels of {network.name} cannot be used: {why}; leave units, signs and ranges out")
        options.notify(_describe(loaded))
        if dropped := loaded.report.get("unknown_edges"):
            options.left_out(f"{dropped:,} edges left out: an end is not in the node table")
        for note in loaded.notes:
            options.notify(f"note: {note}")
        options.notify(about_values(rows.target_name, rows.values[rows.usable]))
        x = loaded.data.get("x")
        options.notify(about_features(loaded.encoding, 0 if x is None else x.shape[1]))
        return rows

    return train_run(estimator, load, options, kinds_of_split=("random", "stratified"))


def predict_nodes(
    run: Path,
    network: AnyNetwork,
    out: Path,
    *,
    prediction_column: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Labels every node of a network: the one the run was trained on, as it is now, or another with the same features.

    Args:
        run: folder of the trained run.
        network: where the network is.
        out: the CSV file to write: id, prediction and, of a classifier, the probability of each class; `-` is standard output.
        prediction_column: as in `graphattn.runs.predict_molecules`.
        overwrite: whether `out` may be replaced.
        device: where to compute.

    Returns:
        "found": the counts of what was found in the network, see `graphattn.networks.Network`; "notes": sentences on how its
        labels were read, and on positions that were left out.

    Raises:
        InputError: where the run or the network cannot be used, or `out` exists.
    """
    predictor, data = _KIND.open(run, device)
    result: dict[str, Any] = {}
    named = prediction_column or data.get("prediction_column")
    refuse_taken_columns(_ids_frame([]), predictor.task.column_names(), "the output", errors=False, prediction_column=named)

    def predictions() -> Any:
        loaded = network.load(data, _LABEL_KINDS[predictor.task.name])
        rows = NodeRows(network, loaded, predictor.task)
        every = np.arange(len(loaded.ids))
        yield rows.predictions(every, rows.say(predictor, every))
        result.update(found=loaded.report, notes=rows.notes)

    predict_run(predictor, predictions(), out, overwrite=overwrite, line_end=NodeRows.line_end, prediction_column=named)
    return result


def evaluate_nodes(run: Path, network: AnyNetwork, *, device: str = "auto") -> dict[str, Any]:
    """Scores a run on the labelled nodes of a network.

    Returns:
        What `evaluate_run` returns.
    """
    predictor, data = _KIND.open(run, device)
    loaded = network.load(data, _LABEL_KINDS[predictor.task.name])
    rows = NodeRows(network, loaded, predictor.task)
    if len(rows.usable) == 0 and loaded.report.get("unknown_labels") and data["class_names"] is not None:
        known = ", ".join(map(str, data["class_names"]))
        raise InputError(f"no label of {network.name} is a class of this run, which are: {known}")
    if len(rows.usable) == 0:
        raise InputError(f"{network.name} has no labels to evaluate with; name their column with --label-column")
    rows.excluded = {reason: loaded.report[reason] for reason in ("unlabelled", "unknown_labels") if loaded.report.get(reason)}
    return evaluate_run(run, predictor, rows)


class NodeRows(Rows):
    """The nodes of a network.

    Args:
        network: where it came from.
        loaded: the network.
        task: what its labels are read for.

    Attributes:
        notes: sentences on how it was read, and on what a model could not use.
    """

    line_end = "\r\n"
    without_training_rows = "the split leaves no labelled node to train on"

    def __init__(self, network: AnyNetwork, loaded: LoadedNetwork, task: Task) -> None:
        self._network, self._loaded = network, loaded
        y, nodes = loaded.data.get("y"), len(loaded.ids)
        self.values, labelled = np.empty(nodes, dtype=object), np.zeros(nodes, dtype=bool)
        if y is not None:
            self.values, labelled = task.read_tensor(y, loaded.data.get("class_names"))
        self.usable = np.flatnonzero(labelled)
        self.excluded = {"unlabelled": nodes - len(self.usable)} if len(self.usable) < nodes else {}
        self.name, self.standard_split = network.name, loaded.split
        self.target_name = str(network.columns()["label_column"])
        self.notes = list(loaded.notes)
        self._inputs: dict[str, Any] | None = None
        self._outputs: tuple[Predictor[Any], np.ndarray] | None = None

    @property
    def why_unlabelled(self) -> str:
        """Why no node is labelled."""
        unknown = self._loaded.report.get("unknown_labels", 0)
        return f"{unknown:,} cells of the label column are no numbers" if unknown else "every cell of the label column is empty"

    def scaffolds(self, seed: int) -> Split:
        raise InputError("split 'scaffold' is for molecules, and these are nodes")

    def column(self, name: str) -> list[str]:
        raise InputError(
            f"split 'column:{name}' is for molecules, and these are nodes; a .json file names the rows of each part"
        )

    def content(self) -> tuple[object, ...]:
        data = self._loaded.data
        return self._loaded.ids, data.edge_index.numpy(), data.y.numpy(), data.get("class_names"), self._features

    def marks(self, rows: np.ndarray) -> list[str]:
        features = self._features
        return [fingerprint(self._loaded.ids[row], *features[row]) for row in rows]

    def duplicates(self, split: Split) -> int:
        return 0  # every node has a name of its own

    def fit(
        self, estimator: Any, split: Split, checkpoint: Path, report: Callable[[EpochReport], None] | None
    ) -> Predictor[Any]:
        data = self._loaded.data
        source = estimator.make_source(data)
        self._inputs = source.inputs(data, find_device(estimator.device))
        every = np.arange(len(self.values))
        masks = (np.isin(every, split[part]) for part in ("train", "valid"))
        estimator.fit_inputs(source, self._inputs, data, *masks, checkpoint=checkpoint, report=report)
        predictor: Predictor[Any] = estimator.predictor_
        return predictor

    def say(self, predictor: Predictor[Any], rows: np.ndarray, *, columns: bool = True) -> Said:
        if self._outputs is None or self._outputs[0] is not predictor:
            device = predictor.device
            inputs = self._inputs
            if inputs is None:
                inputs = predictor.source.inputs(self._loaded.data, device, self.notes.append)
            self._outputs = predictor, predictor.source.outputs(predictor.models[0], predictor.task, inputs)
        outputs = self._outputs[1][rows]
        return Said(outputs, outputs[None], {}, {})

    def baselines(self, task: Task, split: Split) -> dict[str, dict[str, np.ndarray]]:
        train = torch.from_numpy(split["train"])

        def spread(known: np.ndarray) -> np.ndarray:
            found: np.ndarray = spread_along_edges(self._loaded.data, train, torch.from_numpy(known).float()).double().numpy()
            return found

        said = task.from_spread(spread, np.array(self.values[split["train"]].tolist()))
        return {"label_propagation": {part: said[split[part]] for part in JUDGED}}

    def predictions(self, rows: np.ndarray, said: Said) -> Predictions:
        return Predictions(self.name, _ids_frame([self._loaded.ids[row] for row in rows]), said.outputs, None)

    def config(self) -> dict[str, Any]:
        encoding = self._loaded.encoding
        return {
            "encoding": None if encoding is None else encoding.to_dict(),
            "class_names": self._loaded.data.get("class_names"),
            **self._network.columns(),
        }

    @cached_property
    def _features(self) -> list[list[float]]:
        """What is known of each node apart from its links: its features, and nothing where there are none."""
        x = self._loaded.data.get("x")
        if x is None:
            return [[]] * len(self._loaded.ids)
        if x.layout != torch.sparse_csr:
            return x.tolist()
        bounds, columns, values = x.crow_indices().tolist(), x.col_indices().tolist(), x.values().tolist()
        return [columns[first:last] + values[first:last] for first, last in pairwise(bounds)]


def _ids_frame(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids}, dtype=str)


def _describe(network: LoadedNetwork) -> str:
    counts = dict(network.report)
    parts = [f"{counts.pop('nodes'):,} nodes", f"{counts.pop('edges'):,} edges"]
    return ", ".join(parts + [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()])
