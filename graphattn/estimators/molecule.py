"""The estimators of molecules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from graphattn.errors import InputError
from graphattn.estimators.base import Classes, GraphEstimator, Numbers
from graphattn.estimators.params import MoleculeParams
from graphattn.estimators.sources import MoleculeInputs, MoleculeSource
from graphattn.splits import random_split
from graphattn.train import EpochReport


class MoleculeEstimator(GraphEstimator[MoleculeSource], MoleculeParams):
    """A graph transformer over the atoms and bonds of a molecule, pooled to one vector; the task is the subclass's."""

    _source = MoleculeSource
    excluded_: dict[int, str]

    def fit(
        self,
        smiles: Iterable[str],
        y: Iterable[Any],
        *,
        valid: tuple[Iterable[str], Iterable[Any]] | None = None,
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """Trains on molecules and their targets. Rows whose SMILES is bad are left out: `excluded_`, row number → reason.

        Args:
            smiles: SMILES, one a row.
            y: the target of each row.
            valid: SMILES and targets that decide when to stop and which weights to keep. Default: a random
                `valid_fraction` of the rows, which is then not trained on; with `valid_fraction=0` there is none.
            checkpoint: file to resume from and to write the training state to.
            report: called after every epoch, see `graphattn.train.EpochReport`.

        Raises:
            InputError: where lengths differ, a target is missing, or no row is usable.
        """
        self.check_params()
        rows, values = check_rows(smiles, y)
        valid_rows, valid_values = check_rows(*valid) if valid is not None else ([], values[:0])
        source = self.make_source()
        inputs = source.inputs(rows)
        if not inputs.good:
            reason = next(iter(inputs.errors.values()), "there are no rows")
            raise InputError(f"none of the {len(rows)} rows of smiles can be used: {reason}")
        if inputs.errors:
            left_out = f"{len(inputs.errors)} of {len(rows)} SMILES cannot be read and are left out; excluded_ says why"
            warnings.warn(left_out, stacklevel=2)
        held_out = None if valid is None else (source.inputs(valid_rows), valid_values)
        data = (rows, values.tolist(), valid_rows, valid_values.tolist())
        return self.fit_inputs(source, (inputs, values), held_out, data=data, checkpoint=checkpoint, report=report)

    def make_source(self) -> MoleculeSource:
        """The source that prepares molecules for a model of these parameters."""
        parameters = MoleculeParams(**self.get_params(deep=False))
        return MoleculeSource(MoleculeSource.options(parameters), self.n_jobs)

    def fit_inputs(
        self,
        source: MoleculeSource,
        train: tuple[MoleculeInputs, np.ndarray],
        valid: tuple[MoleculeInputs, np.ndarray] | None = None,
        *,
        data: tuple[object, ...],
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """`fit` on molecules that are prepared already.

        Args:
            source: what prepared them, see `make_source`.
            train, valid: molecules and the value of each row; values of bad rows are not looked at.
            data: what identifies the rows and their values, for the checkpoint.
            checkpoint, report: as in `fit`.
        """
        task = self.new_task()
        inputs, values = _good(*train)
        self.excluded_ = train[0].errors
        task.learn(values, train[1][:0] if valid is None else valid[1])
        targets = task.encode(values)
        if valid is None:
            fractions = (1 - self.valid_fraction, self.valid_fraction, 0.0)
            parts = random_split(len(targets), fractions, self.seed, task.classes_of(values))
            held_out = inputs.take(parts["valid"]), targets[parts["valid"]]
            inputs, targets = inputs.take(parts["train"]), targets[parts["train"]]
        else:
            valid_inputs, valid_values = _good(*valid)
            held_out = valid_inputs, task.encode(valid_values)
        self._fit(
            source,
            task,
            lambda device: source.job(
                task, (inputs, targets), held_out, batch_size=self.batch_size, seed=self.seed, device=device
            ),
            data,
            checkpoint,
            report,
        )
        return self

    def outputs(self, smiles: Iterable[str]) -> tuple[np.ndarray, dict[int, str]]:
        """What the model says of each row, and why it says nothing of some.

        Returns:
            [rows, 1] values in the target's units (regressor) or [rows, classes] probabilities (classifier), NaN where the
            SMILES is bad; and row number → reason for those.

        Raises:
            NotFittedError: before `fit`.
        """
        fitted, rows = self._fitted, as_list(smiles)
        return fitted.source.outputs(fitted.model, fitted.task, fitted.source.inputs(rows))

    def predict(self, smiles: Iterable[str]) -> np.ndarray:
        """The predicted value of each row, [rows]; NaN where a SMILES is bad."""
        return self._fitted.task.predict(self.outputs(smiles)[0])

    def score(self, smiles: Iterable[str], y: Iterable[Any], sample_weight: Any = None) -> float:
        """R² (regressor) or accuracy (classifier) on the rows that can be predicted."""
        rows, values = check_rows(smiles, y)
        return self._fitted.task.score(values, self.outputs(rows)[0], sample_weight)


class MoleculeRegressor(Numbers, RegressorMixin, MoleculeEstimator):
    """Predicts a number, such as a hydrophobicity, from a SMILES.

    A `graphattn.nn.GraphTransformer` over one-hot atoms and bonds, trained on the mean squared error of the standardised
    target. It follows scikit-learn: `clone`, `get_params`, `cross_val_score` and grid search work.

    Args:
        channels: width of the atom vectors.
        num_layers: number of encoder layers.
        heads: attention heads of each layer.
        attention: "masked" (along bonds) or "full" (all atoms of the molecule), for all layers or one for each.
        attention_score: "dot", "additive" or "static".
        normaliser: "softmax", "softmax1", "sigmoid", "relu", "sparsemax" or "entmax15".
        readout: "mean", "sum" or "attention" pooling of the atoms.
        encodings: structural encodings added to the atom vectors, name → columns. Default: {"random_walk": 16}.
        biases: what full and pair attention know of pairs of nodes, name → columns. Default: none.
        extra_edges: edges of masked attention beyond those of the graph, name → number. Default: none. The names of
            all three are in `graphattn.structure.STRUCTURE`.
        dropout: probability of dropping a channel in training.
        epochs: the largest number of passes over the molecules.
        batch_size: molecules in a training step.
        learning_rate: peak of the learning rate of AdamW, after a warm-up and before a cosine decay.
        weight_decay: of AdamW.
        patience: epochs without a better validation score after which training stops.
        valid_fraction: part of the rows held out for that where `fit` is given no validation rows.
        seed: of the weights, the order of the molecules, dropout and the held-out rows. The same seed gives the same model,
            bit for bit, on the same machine's CPU with the same number of torch threads.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of training, as lightning-fabric names it: "32-true" or "bf16-mixed".
        n_jobs: processes that read SMILES; default: as many as pay.

    Example:
        >>> MoleculeRegressor(epochs=50, seed=0).fit(smiles, logd).predict(more_smiles)  # doctest: +SKIP
    """

    score = MoleculeEstimator.score  # not the mixin's, which refuses rows without a prediction


class MoleculeClassifier(Classes, ClassifierMixin, MoleculeEstimator):
    """Predicts a class from a SMILES.

    A `graphattn.nn.GraphTransformer` over one-hot atoms and bonds, trained on the cross-entropy. It follows scikit-learn:
    `classes_`, `predict_proba`, `clone`, `get_params`, `cross_val_score` and grid search work.
    The parameters are those of `MoleculeRegressor`.
    """

    score = MoleculeEstimator.score

    def predict_proba(self, smiles: Iterable[str]) -> np.ndarray:
        """Probability of each of `classes_`, float64, [rows, classes]; NaN where a SMILES is bad."""
        return self.outputs(smiles)[0]


def _good(inputs: MoleculeInputs, values: np.ndarray) -> tuple[MoleculeInputs, np.ndarray]:
    good = inputs.good
    return inputs.take(good), values[good]


def check_rows(smiles: Iterable[str], y: Iterable[Any]) -> tuple[list[str], np.ndarray]:
    """SMILES as a list and values as an array, one for each."""
    rows, values = as_list(smiles), y if isinstance(y, np.ndarray) else np.array(list(y), dtype=object)
    if values.shape != (len(rows),):
        raise InputError(f"y must have one entry for each of the {len(rows)} SMILES, got shape {list(values.shape)}")
    return rows, values


def as_list(smiles: Iterable[str]) -> list[str]:
    """SMILES as a list.

    Raises:
        InputError: where they are one string or no column.
    """
    if isinstance(smiles, str):
        raise InputError(f"smiles must be a list of SMILES, got the one string {smiles!r}")
    if isinstance(smiles, Mapping) or getattr(smiles, "ndim", 1) != 1:
        raise InputError(f"smiles must be a list of SMILES or one column of a table, got a {type(smiles).__name__}")
    return list(smiles)
