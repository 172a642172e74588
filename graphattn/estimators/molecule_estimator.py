"""What the two estimators of molecules share."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from graphattn.chem import ATOM_WIDTH, BOND_WIDTH, FEATURE_VERSION, featurise
from graphattn.errors import InputError
from graphattn.estimators.base import STRUCTURE_OPTIONS, GraphEstimator, digest, seeded
from graphattn.nn import GraphTransformer
from graphattn.nn.structure import reads_edge_attr
from graphattn.splits import random_split
from graphattn.train import Progress, fit
from graphattn.transforms import flip_signs, precompute, structure_transform

_PREDICT_BATCH = 256


class MoleculeEstimator(GraphEstimator):
    """A graph transformer over the atoms and bonds of a molecule, pooled to one vector; what it predicts is the subclass's."""

    excluded_: dict[int, str]

    def __init__(
        self,
        *,
        channels: int = 128,
        num_layers: int = 4,
        heads: int = 8,
        attention: str | Sequence[str] = "masked",
        attention_score: str = "dot",
        normaliser: str = "softmax",
        readout: str = "mean",
        encodings: Mapping[str, int] | None = None,
        biases: Mapping[str, int] | None = None,
        extra_edges: Mapping[str, int] | None = None,
        dropout: float = 0.1,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        patience: int = 30,
        valid_fraction: float = 0.1,
        seed: int = 0,
        device: str = "auto",
        precision: str = "32-true",
        n_jobs: int | None = None,
    ) -> None:
        self.channels = channels
        self.num_layers = num_layers
        self.heads = heads
        self.attention = attention
        self.attention_score = attention_score
        self.normaliser = normaliser
        self.readout = readout
        self.encodings = encodings
        self.biases = biases
        self.extra_edges = extra_edges
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.valid_fraction = valid_fraction
        self.seed = seed
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs

    def fit(
        self,
        smiles: Iterable[str],
        y: Iterable[Any],
        *,
        valid: tuple[Iterable[str], Iterable[Any]] | None = None,
        checkpoint: Path | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> Self:
        """Trains on molecules and their targets. Rows whose SMILES is bad are left out: `excluded_`, row number → reason.

        Args:
            smiles: SMILES, one a row.
            y: the target of each row.
            valid: SMILES and targets that decide when to stop and which weights to keep. Default: a random
                `valid_fraction` of the rows, which is then not trained on; with `valid_fraction=0` there is none.
            checkpoint: file to resume from and to write the training state to.
            report: called after every epoch, see `graphattn.train.Progress`.

        Raises:
            InputError: where lengths differ, a target is missing, or no row is usable.
        """
        self.check_params()
        rows, values = check_rows(smiles, y)
        valid_rows, valid_values = check_rows(*valid) if valid is not None else ([], values[:0])
        self.model_options_ = self._make_model_options()
        graphs, self.excluded_ = self._graphs(rows)
        good = [row for row, graph in enumerate(graphs) if graph is not None]
        if not good:
            reason = next(iter(self.excluded_.values()), "there are no rows")
            raise InputError(f"none of the {len(rows)} rows of smiles can be used: {reason}")
        if self.excluded_:
            left_out = f"{len(self.excluded_)} of {len(rows)} SMILES cannot be read and are left out; excluded_ says why"
            warnings.warn(left_out, stacklevel=2)
        self._learn_target(values[good], valid_values)
        pairs = [(graphs[row], target) for row, target in zip(good, self._encode_target(values[good]), strict=True)]
        if valid is not None:
            valid_graphs, _ = self._graphs(valid_rows)
            kept = [row for row, graph in enumerate(valid_graphs) if graph is not None]
            targets = self._encode_target(valid_values[kept])
            held_out = [(valid_graphs[row], target) for row, target in zip(kept, targets, strict=True)]
        else:
            parts = random_split(len(pairs), (1 - self.valid_fraction, self.valid_fraction, 0.0), self.seed)
            held_out = [pairs[row] for row in parts["valid"]]
            pairs = [pairs[row] for row in parts["train"]]
        fabric = self._fabric()
        with seeded(self.seed):
            self.model_options_["out_channels"] = self._out_channels()
            model = GraphTransformer(**self.model_options_)
            job = _MoleculeJob(self, pairs, held_out, fabric.device)
            identity = digest(self._params(), self.precision, rows, values.tolist(), valid_rows, valid_values.tolist())
            progress = fit(model, job, self._train_options(), fabric, checkpoint=checkpoint, identity=identity, report=report)
        self.model_, self.history_, self.earlier_seconds_ = model, progress.history, progress.earlier_seconds
        return self

    def _graphs(self, smiles: list[str]) -> tuple[list[Data | None], dict[int, str]]:
        """The graph of each row with its encodings, None where the SMILES is bad; and why."""
        molecules = featurise(smiles, n_jobs=self.n_jobs)
        transform = structure_transform(*(self.model_options_[name] for name in STRUCTURE_OPTIONS))
        good = iter(precompute([graph for graph in molecules.graphs if graph is not None], transform, n_jobs=self.n_jobs))
        return [None if graph is None else next(good) for graph in molecules.graphs], molecules.errors

    def _make_model_options(self) -> dict[str, Any]:
        attention = [self.attention] if isinstance(self.attention, str) else list(self.attention)
        for name in ("sinusoidal", "learned"):
            if name in (self.encodings or {}):
                raise InputError(f"encodings {name!r} need a position for each atom, which a molecule does not have")
        return {
            "in_channels": ATOM_WIDTH,
            "channels": self.channels,
            "num_layers": self.num_layers,
            "heads": self.heads,
            "readout": self.readout,
            "attention": attention[0] if isinstance(self.attention, str) else attention,
            "score": self.attention_score,
            "normaliser": self.normaliser,
            "edge_dim": BOND_WIDTH if reads_edge_attr(attention, self.biases or {}) else None,
            "encodings": {"random_walk": 16} if self.encodings is None else dict(self.encodings),
            "biases": dict(self.biases or {}),
            "extra_edges": dict(self.extra_edges or {}),
            "dropout": self.dropout,
        }

    def outputs(self, smiles: Iterable[str]) -> tuple[np.ndarray, dict[int, str]]:
        """What the model says of each row, and why it says nothing of some.

        Returns:
            [rows, 1] values in the target's units (regressor) or [rows, classes] probabilities (classifier), NaN where the
            SMILES is bad; and row number → reason for those.

        Raises:
            NotFittedError: before `fit`.
        """
        self._check_fitted()
        rows = _as_list(smiles)
        graphs, errors = self._graphs(rows)
        out = np.full((len(rows), self._out_channels()), np.nan)
        good = [row for row, graph in enumerate(graphs) if graph is not None]
        device = next(self.model_.parameters()).device
        for start in range(0, len(good), _PREDICT_BATCH):
            part = good[start : start + _PREDICT_BATCH]
            with torch.no_grad():
                raw = run_model(self.model_, Batch.from_data_list([graphs[row] for row in part]).to(device))
            out[part] = self._decode(raw).double().cpu().numpy()
        for row in good:
            if not np.isfinite(out[row]).all():
                out[row], errors[row] = np.nan, "the model gives no finite value"
        return out, errors

    def _extra_config(self) -> dict[str, Any]:
        return {"features": FEATURE_VERSION, "target": self._target_config()}

    def _restore(self, config: dict[str, Any]) -> None:
        for name in STRUCTURE_OPTIONS:
            if not isinstance(self.model_options_[name], dict):
                raise InputError(f"its {name} are not name → number")
        if config["features"] != FEATURE_VERSION:
            raise InputError(f"it was trained on version {config['features']} of the atom features, here is {FEATURE_VERSION}")
        self._restore_target(config["target"])

    @abstractmethod
    def _out_channels(self) -> int: ...

    @abstractmethod
    def _learn_target(self, values: np.ndarray, valid_values: np.ndarray) -> None:
        """Learns what `_encode_target` needs to know of the targets."""

    @abstractmethod
    def _encode_target(self, values: np.ndarray) -> np.ndarray:
        """The targets as the loss takes them."""

    @abstractmethod
    def _decode(self, raw: Tensor) -> Tensor:
        """The model's raw outputs → what `outputs` returns."""

    @abstractmethod
    def _loss(self, raw: Tensor, target: Tensor) -> Tensor: ...

    @abstractmethod
    def _validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]: ...

    @abstractmethod
    def _target_config(self) -> dict[str, Any]: ...

    @abstractmethod
    def _restore_target(self, config: dict[str, Any]) -> None: ...

    _score_name: str


class _MoleculeJob:
    """The training batches of molecules, in an order that the seed and the epoch decide."""

    def __init__(
        self,
        estimator: MoleculeEstimator,
        train: list[tuple[Data, Any]],
        valid: list[tuple[Data, Any]],
        device: torch.device,
    ) -> None:
        self.score_name = estimator._score_name
        self.steps_per_epoch = -(-len(train) // estimator.batch_size)
        self._estimator, self._device = estimator, device
        self._graphs = [graph for graph, _ in train]
        self._targets = torch.as_tensor(np.array([target for _, target in train]), device=device)
        self._valid = [
            Batch.from_data_list([graph for graph, _ in valid[start : start + _PREDICT_BATCH]]).to(device)
            for start in range(0, len(valid), _PREDICT_BATCH)
        ]
        self._valid_targets = torch.as_tensor(np.array([target for _, target in valid]), device=device)

    def batches(self, epoch: int) -> Iterator[tuple[Batch, Tensor]]:
        generator = torch.Generator().manual_seed(self._estimator.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self._graphs), generator=generator)
        for rows in order.split(self._estimator.batch_size):
            batch = Batch.from_data_list([self._graphs[row] for row in rows.tolist()])
            if "laplacian_pe" in batch:
                batch.laplacian_pe = flip_signs(batch.laplacian_pe, batch.batch, generator)
            yield batch.to(self._device), self._targets[rows.to(self._device)]

    def loss(self, model: nn.Module, batch: tuple[Batch, Tensor]) -> Tensor:
        graphs, target = batch
        return self._estimator._loss(run_model(model, graphs), target)

    def validate(self, model: nn.Module) -> tuple[float, ...] | None:
        if not self._valid:
            return None
        raw = torch.cat([run_model(model, batch) for batch in self._valid])
        return self._estimator._validation_scores(raw, self._valid_targets)


def run_model(model: nn.Module, batch: Batch) -> Tensor:
    """The output of a graph transformer for a batch of graphs, whose attributes of structure are named as in `model.reads`."""
    structure = {name: batch[name] for name in cast(GraphTransformer, model).reads}
    edge_attr = batch.edge_attr if model.edge_dim else None
    return model(batch.x, batch.edge_index, edge_attr, batch.batch, structure=structure, batch_size=batch.num_graphs)


def check_rows(smiles: Iterable[str], y: Iterable[Any]) -> tuple[list[str], np.ndarray]:
    """SMILES as a list and targets as an array, one for each."""
    rows, values = _as_list(smiles), y if isinstance(y, np.ndarray) else np.array(list(y), dtype=object)
    if values.shape != (len(rows),):
        raise InputError(f"y must have one entry for each of the {len(rows)} SMILES, got shape {list(values.shape)}")
    return rows, values


def _as_list(smiles: Iterable[str]) -> list[str]:
    if isinstance(smiles, str):
        raise InputError(f"smiles must be a list of SMILES, got the one string {smiles!r}")
    if isinstance(smiles, Mapping) or getattr(smiles, "ndim", 1) != 1:
        raise InputError(f"smiles must be a list of SMILES or one column of a table, got a {type(smiles).__name__}")
    return list(smiles)
