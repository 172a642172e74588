"""Molecules: one graph a row, pooled to one output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch as GraphBatch
from torch_geometric.data import Data

from graphattn.chem import ATOM_WIDTH, BOND_WIDTH, FEATURE_VERSION, Molecules, featurise
from graphattn.chem.fingerprints import BITS
from graphattn.errors import InputError
from graphattn.estimators.params import STRUCTURE_OPTIONS, MoleculeParams, shared_model_options
from graphattn.estimators.sources.source import Source
from graphattn.nn import GraphTransformer
from graphattn.nn.options import reads_edge_attr
from graphattn.structure import precompute, structure_transform
from graphattn.structure.registry import augment, kinds_of
from graphattn.train import Batch, Task, TaskJob

_PREDICT_BATCH = 256
Rows = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class MoleculeInputs:
    """Molecules ready for a model, an entry a row.

    Attributes:
        graphs: the graph of each row with what the model reads of structure; None where the SMILES is bad.
        errors: number of a bad row → why.
        fingerprints: the packed fingerprint of each row, uint8.
    """

    graphs: list[Data | None]
    errors: dict[int, str]
    fingerprints: np.ndarray

    @property
    def good(self) -> list[int]:
        """The rows that have a graph."""
        return [row for row, graph in enumerate(self.graphs) if graph is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: the graphs are views of shared tensors, each of which would be sent whole with every graph."""
        good = self.good
        batch = GraphBatch.from_data_list([self.graphs[row] for row in good]) if good else None
        return _unpacked, (batch, good, self.errors, self.fingerprints)

    def take(self, rows: Rows) -> MoleculeInputs:
        """Some of the rows."""
        numbers = [int(row) for row in rows]
        errors = {place: self.errors[row] for place, row in enumerate(numbers) if row in self.errors}
        return MoleculeInputs([self.graphs[row] for row in numbers], errors, self.fingerprints[numbers])


def _unpacked(batch: GraphBatch | None, good: list[int], errors: dict[int, str], fingerprints: np.ndarray) -> MoleculeInputs:
    graphs: list[Data | None] = [None] * len(fingerprints)
    for row, graph in zip(good, [] if batch is None else batch.to_data_list(), strict=True):
        graphs[row] = graph
    return MoleculeInputs(graphs, errors, fingerprints)


class Known(NamedTuple):
    """What is kept of the molecules trained on.

    Args:
        fingerprints: packed, uint8, [molecules, BITS / 8].
        seen: the columns of atom features that any of their atoms has, bool, [ATOM_WIDTH].
    """

    fingerprints: np.ndarray
    seen: np.ndarray


class MoleculeSource(Source):
    """SMILES → one-hot atoms and bonds with the encodings of a model."""

    name = "molecules"
    known: Known | None = None
    """What it was trained on; None before that."""

    def learn(self, inputs: MoleculeInputs) -> None:
        """Keeps what `columns` compares molecules with: those trained on, without bad rows."""
        seen = np.zeros(ATOM_WIDTH, dtype=bool)
        for graph in inputs.graphs:
            if graph is not None:
                seen |= graph.x.numpy().any(axis=0)
        self.known = Known(inputs.fingerprints, seen)

    def tensors(self) -> dict[str, Tensor]:
        if self.known is None:
            return {}
        return {"fingerprints": torch.from_numpy(self.known.fingerprints), "seen": torch.from_numpy(self.known.seen)}

    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        fingerprints, seen = tensors["fingerprints"].numpy(), tensors["seen"].numpy()
        if fingerprints.dtype != np.uint8 or fingerprints.shape[1:] != (BITS // 8,) or seen.shape != (ATOM_WIDTH,):
            raise InputError(f"its fingerprints are {fingerprints.dtype} {list(fingerprints.shape)}")
        self.known = Known(fingerprints, seen.astype(bool))

    @staticmethod
    def options(params: MoleculeParams) -> dict[str, Any]:
        """The model's options, but for `out_channels`.

        Raises:
            InputError: on an encoding that molecules do not have.
        """
        attention = [params.attention] if isinstance(params.attention, str) else list(params.attention)
        for kind, _ in kinds_of({name: getattr(params, name) for name in STRUCTURE_OPTIONS}):
            if kind.computed_by is not None and kind.computed_by.keeps:
                needed = ", ".join(kind.computed_by.keeps)
                raise InputError(f"{kind.option} {kind.name!r} need {needed} of each atom, which a molecule does not have")
        return {
            "in_channels": ATOM_WIDTH,
            **shared_model_options(params, {"random_walk": 16}),
            "readout": params.readout,
            "edge_dim": BOND_WIDTH if reads_edge_attr(attention, params.biases or {}) else None,
        }

    def inputs(self, smiles: Sequence[object]) -> MoleculeInputs:
        """Parses SMILES, each once."""
        molecules = featurise(smiles, n_jobs=self.n_jobs, dtype=torch.uint8)
        return self.prepare(molecules.graphs, molecules)

    def prepare(self, graphs: Sequence[Data | None], molecules: Molecules) -> MoleculeInputs:
        """Adds to the graphs of parsed molecules, or to some of them, what the model reads of structure; None stays None."""
        transform = structure_transform(*(self.model_options[name] for name in STRUCTURE_OPTIONS))
        good = iter(precompute([graph for graph in graphs if graph is not None], transform, n_jobs=self.n_jobs))
        prepared = [None if graph is None else next(good) for graph in graphs]
        return MoleculeInputs(prepared, molecules.errors, molecules.fingerprints)

    def job(
        self,
        task: Task,
        train: tuple[MoleculeInputs, np.ndarray],
        valid: tuple[MoleculeInputs, np.ndarray] | None,
        batch_size: int,
        device: torch.device,
        seed: int,
        weight: np.ndarray | None = None,
    ) -> TaskJob:
        """The batches to train on, in an order that the seed and the epoch decide.

        Args:
            task: what is learnt.
            train, valid: inputs without errors, and their targets.
            batch_size: molecules in a step.
            device: where to.
            seed: decides the order.
            weight: how much each row of train counts, which their mean is taken out of.
        """
        graphs, targets = train[0].graphs, torch.as_tensor(train[1], device=device)
        if weight is not None and not weight.any():
            raise InputError("the weights of all rows to train on are 0")
        weights = None if weight is None else torch.as_tensor(weight / weight.mean(), dtype=torch.float32, device=device)

        def batches(epoch: int) -> Iterator[Batch]:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(len(graphs), generator=generator)
            for rows in order.split(batch_size):
                batch = GraphBatch.from_data_list([graphs[row] for row in rows.tolist()])
                augment(batch, {name: self.model_options[name] for name in STRUCTURE_OPTIONS}, generator)
                chosen = rows.to(device)
                of_rows = None if weights is None else weights[chosen]
                yield Batch(self._call(batch.to(device)), targets[chosen], weight=of_rows)

        held_out = []
        if valid is not None and valid[0].graphs:
            valid_targets = torch.as_tensor(valid[1], device=device)
            held_out = [
                Batch(inputs, valid_targets[start : start + _PREDICT_BATCH])
                for start, inputs in self._calls(valid[0].graphs, device)
            ]
        return TaskJob(task, batches, -(-len(graphs) // batch_size), held_out)

    def outputs(self, models: Sequence[nn.Module], task: Task, inputs: MoleculeInputs) -> tuple[np.ndarray, dict[int, str]]:
        """What each model says of every row, [models, rows, out_channels], NaN where there is nothing, and row → why."""
        good, errors = inputs.good, dict(inputs.errors)
        out = np.full((len(models), len(inputs.graphs), task.out_channels), np.nan)
        device = next(models[0].parameters()).device
        for start, call in self._calls([inputs.graphs[row] for row in good], device):
            rows = good[start : start + _PREDICT_BATCH]
            for number, model in enumerate(models):
                with torch.no_grad():
                    out[number, rows] = task.decode(model(**call)).double().cpu().numpy()
        for row in good:
            if not np.isfinite(out[:, row]).all():
                out[:, row], errors[row] = np.nan, "the model gives no finite value"
        return out, errors

    def embed(self, models: Sequence[GraphTransformer], inputs: MoleculeInputs) -> np.ndarray:
        """The vector that each model's head reads of every row, side by side, [rows, width]; NaN where the SMILES is bad."""
        good = inputs.good
        device = next(models[0].parameters()).device
        width = sum(model.head.mlp[1].in_features for model in models)  # type: ignore[union-attr,index]
        out = np.full((len(inputs.graphs), width), np.nan, dtype=np.float32)
        for start, call in self._calls([inputs.graphs[row] for row in good], device):
            with torch.no_grad():
                vectors = torch.cat([model.embed(**call) for model in models], dim=1)
            out[good[start : start + _PREDICT_BATCH]] = vectors.float().cpu().numpy()
        return out

    def _calls(self, graphs: Sequence[Data | None], device: torch.device) -> Iterator[tuple[int, dict[str, Any]]]:
        """What the model is called with to see all graphs, and the number of the first of each call."""
        for start in range(0, len(graphs), _PREDICT_BATCH):
            yield start, self._call(GraphBatch.from_data_list(list(graphs[start : start + _PREDICT_BATCH])).to(device))

    def _call(self, batch: GraphBatch) -> dict[str, Any]:
        """What a graph transformer is called with for a batch of graphs; of `structure` it takes what it reads."""
        return {
            "x": batch.x.float(),
            "edge_index": batch.edge_index,
            "edge_attr": batch.edge_attr.float() if self.model_options["edge_dim"] else None,
            "batch": batch.batch,
            "structure": batch.to_dict(),
            "batch_size": batch.num_graphs,
        }

    def check(self, config: dict[str, Any]) -> None:
        for name in STRUCTURE_OPTIONS:
            if not isinstance(self.model_options[name], dict):
                raise InputError(f"its {name} are not name → number")
        if config["features"] != FEATURE_VERSION:
            raise InputError(f"it was trained on version {config['features']} of the atom features, here is {FEATURE_VERSION}")

    def pack(self, task: Task) -> dict[str, Any]:
        return {"features": FEATURE_VERSION, "target": task.config()}

    def unpack(self, config: dict[str, Any]) -> dict[str, Any]:
        target: dict[str, Any] = config["target"]
        return target
