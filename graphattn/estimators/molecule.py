"""The estimators of molecules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

from graphattn.errors import InputError
from graphattn.estimators.base import Classes, GraphEstimator, Numbers
from graphattn.estimators.molecule_rows import as_list, check_rows, check_weights
from graphattn.estimators.params import MoleculeParams
from graphattn.estimators.predictor import Said, load_predictor
from graphattn.estimators.sources import MoleculeInputs, MoleculeSource
from graphattn.estimators.trust import calibrate, say
from graphattn.splits import random_split
from graphattn.train import EpochReport

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

# The options of a model on which the weights of its body, all but the head, do not depend.
OF_THE_HEAD = ("readout", "out_channels", "dropout")


class MoleculeEstimator(GraphEstimator[MoleculeSource], MoleculeParams):
    """A graph transformer over the atoms and bonds of a molecule, pooled to one vector; the task is the subclass's."""

    _source = MoleculeSource
    excluded_: dict[int, str]

    def fit(
        self,
        smiles: Iterable[str],
        y: Iterable[Any],
        *,
        sample_weight: Iterable[float] | None = None,
        valid: tuple[Iterable[str], Iterable[Any]] | None = None,
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """Trains on molecules and their targets. Rows whose SMILES is bad are left out: `excluded_`, row number → reason.

        Args:
            smiles: SMILES, or RDKit molecules, one a row.
            y: the target of each row; also a table of one column.
            sample_weight: how much each row counts in training, not negative; the scores of validation are not weighted.
            valid: SMILES and targets that decide when to stop and which weights to keep. Default: a random
                `valid_fraction` of the rows, which is then not trained on; with `valid_fraction=0` there is none.
            checkpoint: file to resume from and to write the training state to.
            report: called after every epoch, see `graphattn.train.EpochReport`.

        Raises:
            InputError: where lengths differ, a target is missing, no row is usable, or one is not under `on_error="raise"`.
        """
        self.check_params()
        rows, values = check_rows(smiles, y)
        weight = None if sample_weight is None else check_weights(np.asarray(list(sample_weight)), len(rows), "sample_weight")
        valid_rows, valid_values = check_rows(*valid) if valid is not None else ([], values[:0])
        source = self.make_source()
        inputs = self._usable(source, rows, "smiles", "; excluded_ says why")
        held_out = None if valid is None else (self._usable(source, valid_rows, "valid"), valid_values)
        data = (rows, values.tolist(), valid_rows, valid_values.tolist(), *(() if weight is None else (weight,)))
        return self.fit_inputs(
            source, (inputs, values), held_out, weight=weight, data=data, checkpoint=checkpoint, report=report
        )

    def _usable(self, source: MoleculeSource, rows: list[str], name: str, more: str = "") -> MoleculeInputs:
        """Molecules to train on or to be stopped by; says which are left out."""
        inputs = source.inputs(rows)
        if not inputs.good and (rows or name == "smiles"):
            reason = next(iter(inputs.errors.values()), "there are no rows")
            raise InputError(f"none of the {len(rows)} rows of {name} can be used: {reason}")
        if inputs.errors:
            example = _example(rows, inputs.errors)
            said = f"{len(inputs.errors):,} of {len(rows):,} SMILES of {name} cannot be read"
            if self.on_error == "raise":
                raise InputError(f"{said}, such as {example}")
            warnings.warn(f"{said} and are left out, such as {example}{more}", stacklevel=3)
        return inputs

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
        weight: np.ndarray | None = None,
        data: tuple[object, ...],
        checkpoint: Path | None = None,
        report: Callable[[EpochReport], None] | None = None,
    ) -> Self:
        """`fit` on molecules that are prepared already.

        Args:
            source: what prepared them, see `make_source`.
            train, valid: molecules and the value of each row; values of bad rows are not looked at.
            weight: of each row of train, see `check_weights`.
            data: what identifies the rows and their values, for the checkpoint.
            checkpoint, report: as in `fit`.
        """
        task = self.new_task()
        inputs, values = _good(*train)
        weight = None if weight is None else weight[train[0].good]
        self.excluded_ = train[0].errors
        task.learn(values, train[1][:0] if valid is None else valid[1])
        targets = task.encode(values)
        if valid is None:
            fractions = (1 - self.valid_fraction, self.valid_fraction, 0.0)
            parts = random_split(len(targets), fractions, self.seed, task.classes_of(values))
            valid_inputs, valid_values = inputs.take(parts["valid"]), values[parts["valid"]]
            inputs, targets = inputs.take(parts["train"]), targets[parts["train"]]
            weight = None if weight is None else weight[parts["train"]]
        else:
            valid_inputs, valid_values = _good(*valid)
        held_out = valid_inputs, task.encode(valid_values)
        self._fit(
            source,
            task,
            partial(source.job, task, (inputs, targets), held_out, self.batch_size, weight=weight),
            data,
            checkpoint,
            report,
            None if self.init is None else self._body(Path(self.init), source.model_options),
        )
        source.learn(inputs)
        calibrate(self.predictor_, valid_inputs, valid_values)
        return self

    @staticmethod
    def _body(folder: Path, model_options: dict[str, Any]) -> list[dict[str, Tensor]]:
        """The weights of all but the head of each model in a folder, for models of these options."""
        predictor = load_predictor(folder, "cpu")
        if not isinstance(predictor.source, MoleculeSource):
            raise InputError(f"init must be a model of molecules, but {folder} holds a {predictor.estimator}")
        before = predictor.source.model_options
        differ = [name for name in before if name not in OF_THE_HEAD and before[name] != model_options[name]]
        if differ:
            name = differ[0]
            given = f"{name}={before[name]!r}, not {model_options[name]!r}"
            raise InputError(f"init must have the same body, but the model in {folder} has {given}")
        return [
            {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
            for model in predictor.models
        ]

    def outputs(self, smiles: Iterable[str]) -> tuple[np.ndarray, dict[int, str]]:
        """What the model says of each row, and why it says nothing of some.

        Returns:
            [rows, 1] values in the target's units (regressor) or [rows, classes] probabilities (classifier), NaN where the
            SMILES is bad; and row number → reason for those.

        Raises:
            NotFittedError: before `fit`.
        """
        said = self._say(as_list(smiles), columns=False)
        return said.outputs, said.errors

    def _say(self, rows: Sequence[object], *, columns: bool = True) -> Said:
        fitted = self._fitted
        return say(fitted, fitted.source.inputs(rows), columns=columns)

    def predict_table(self, smiles: Iterable[str]) -> pd.DataFrame:
        """All that is known of each row: the columns that `graphattn predict` writes.

        Returns:
            A table with an entry a row: prediction; of a classifier the probability of each class; of a regressor with
            validation rows uncertainty, the standard deviation of the prediction's error, and lower and upper, the ends of an
            interval that holds the true value with the probability `interval` where molecules are like those validated on;
            nearest_training, the Tanimoto similarity of Morgan fingerprints (radius 2) to the nearest molecule trained on;
            never_seen, values of atom features that no molecule trained on had; and error, why a row has no prediction.

        Raises:
            NotFittedError: before `fit`.
        """
        import pandas as pd

        rows = as_list(smiles)
        said = self._say(rows)
        errors = [said.errors.get(row, "") for row in range(len(rows))]
        return pd.DataFrame({**self.task_.columns(said.outputs), **said.columns, "error": errors})

    def embed(self, smiles: Iterable[str]) -> np.ndarray:
        """The pooled vector of each molecule, from which the head makes the prediction: features for another model.

        Returns:
            [rows, width] float32, of an ensemble the vectors of its models side by side; NaN where the SMILES is bad.

        Raises:
            NotFittedError: before `fit`.
        """
        fitted = self._fitted
        return fitted.source.embed(fitted.models, fitted.source.inputs(as_list(smiles)))

    def predict(self, smiles: Iterable[str]) -> np.ndarray:
        """The predicted value of each row, [rows].

        A row whose SMILES is bad gets what `on_error` says, with a warning; `outputs` has the reason of each.

        Raises:
            InputError: on a bad SMILES under `on_error="raise"`.
        """
        return self._fitted.task.predict(self._filled(smiles))

    def _filled(self, smiles: Iterable[str]) -> np.ndarray:
        """The outputs of each row, of bad ones as `on_error` says."""
        rows = as_list(smiles)
        outputs, errors = self.outputs(rows)
        if not errors:
            return outputs
        said = f"{len(errors):,} of {len(rows):,} SMILES cannot be predicted, such as {_example(rows, errors)}"
        if self.on_error == "raise":
            raise InputError(said)
        if self.on_error == "mean":
            bad = sorted(errors)
            name, outputs[bad] = self.task_.constant(len(bad))
            said += f"; they get the {name} of the rows trained on (on_error='mean')"
        warnings.warn(said, stacklevel=3)
        return outputs

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
        readout: "mean", "sum", "max", "std" or "attention" pooling of the atoms, or several joined as in "mean+max".
        encodings: structural encodings added to the atom vectors, name → columns. Default: {"random_walk": 16}.
        biases: what full and pair attention know of pairs of nodes, name → columns. Default: none.
        extra_edges: edges of masked attention beyond those of the graph, name → number. Default: none. The names of
            all three are in `graphattn.structure.STRUCTURE`.
        dropout: probability of dropping a channel in training.
        ensemble: number of models, which differ by their seed: seed, seed + 1 and so on. Predictions are their mean. On a CPU
            they are trained beside each other, in as many processes as there are cores.
        init: the folder of a trained model of molecules, of any target, to start from: all of its weights but the head's. Its
            body must have the same parameters.
        layer_decay: factor of the learning rate from each layer to the one before, in (0, 1]; less than 1 keeps early layers
            closer to `init`.
        epochs: the largest number of passes over the molecules.
        batch_size: molecules in a training step.
        learning_rate: peak of the learning rate of AdamW, after a warm-up and before a cosine decay.
        weight_decay: of AdamW.
        ema_decay: decay of the moving average of the weights that is validated and kept, see `graphattn.train.WeightAverage`;
            0: the weights themselves.
        loss: of regression "mse", "mae" or "huber", see `graphattn.train.Regression`. Default: "mse", or the cross-entropy.
        metric: the validation score that chooses the epoch: "rmse", "mae" or "r2"; "accuracy", "macro_f1", "balanced_accuracy",
            "mcc", "roc_auc" or "pr_auc". Default: "rmse" or "accuracy".
        class_weight: how much a row of each class counts in training: class → weight, or "balanced", see
            `graphattn.train.Task`. Scores are not weighted.
        patience: epochs without a better validation score after which training stops.
        valid_fraction: part of the rows held out for that where `fit` is given no validation rows.
        interval: probability with which the intervals of `predict_table` hold the true value, in (0, 1).
        on_error: what `predict` and `predict_proba` give a row whose SMILES is bad: "mean", the mean of the values trained on
            or the shares of their classes, so that scikit-learn's scores are finite; "nan"; or "raise". `fit` leaves such rows
            out, or raises. A warning says how many rows are left out or filled in, with an example.
        seed: of the weights, the order of the molecules, dropout and the held-out rows. The same seed gives the same model,
            bit for bit, on the same machine's CPU with the same number of torch threads.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: of training, as lightning-fabric names it: "32-true" or "bf16-mixed".
        n_jobs: processes that read SMILES or train an ensemble; default: as many as pay.

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
        """Probability of each of `classes_`, float64, [rows, classes]; of rows with a bad SMILES as in `predict`."""
        return self._filled(smiles)


def _example(rows: Sequence[object], errors: Mapping[int, str]) -> str:
    """The first bad row, and why."""
    first = min(errors)
    return f"row {first}, {rows[first]!r:.60}: {errors[first]}"


def _good(inputs: MoleculeInputs, values: np.ndarray) -> tuple[MoleculeInputs, np.ndarray]:
    good = inputs.good
    return inputs.take(good), values[good]
