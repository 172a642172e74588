from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch.nn.functional as F
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from torch import Tensor

from graphattn.errors import InputError
from graphattn.estimators.molecule_estimator import MoleculeEstimator, check_rows


class MoleculeRegressor(RegressorMixin, MoleculeEstimator):
    """Predicts a number, such as a hydrophobicity, from a SMILES.

    A `graphattn.nn.GraphTransformer` over one-hot atoms and bonds, trained on the mean squared error of the standardised
    target. It follows scikit-learn: `clone`, `get_params`, `cross_val_score` and grid search work.

    Args:
        channels: width of the atom vectors.
        num_layers: number of encoder layers.
        heads: attention heads of each layer.
        attention: "masked" (along bonds) or "full" (all atoms of the molecule), for all layers or one for each.
        attention_score: "dot", "additive" or "static".
        normaliser: "softmax", "sigmoid", "relu", "sparsemax" or "entmax15".
        readout: "mean", "sum" or "attention" pooling of the atoms.
        encodings: structural encodings added to the atom vectors, name → columns. Default: {"random_walk": 16}.
        biases: what full and pair attention know of pairs of nodes, name → columns, see `graphattn.nn.BIASES`. Default: none.
        extra_edges: edges of masked attention beside those of the graph, name → number, see `graphattn.nn.ExtraEdges`. Default:
            none.
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

    mean_: float
    std_: float
    _score_name = "rmse"

    def predict(self, smiles: Iterable[str]) -> np.ndarray:
        """The predicted values, float64, [rows]; NaN where a SMILES is bad."""
        return self.outputs(smiles)[0][:, 0]

    def score(self, smiles: Iterable[str], y: Iterable[float], sample_weight: Any = None) -> float:
        """R² of the rows that can be predicted."""
        rows, values = check_rows(smiles, y)
        prediction = self.predict(rows)
        good = ~np.isnan(prediction)
        weight = None if sample_weight is None else np.asarray(sample_weight)[good]
        return float(r2_score(values[good].astype(float), prediction[good], sample_weight=weight))

    def _out_channels(self) -> int:
        return 1

    def _learn_target(self, values: np.ndarray, valid_values: np.ndarray) -> None:
        numbers = _as_numbers(values)
        self.mean_, self.std_ = float(numbers.mean()), float(numbers.std()) or 1.0

    def _encode_target(self, values: np.ndarray) -> np.ndarray:
        return ((_as_numbers(values) - self.mean_) / self.std_).astype(np.float32)

    def _decode(self, raw: Tensor) -> Tensor:
        return raw.double() * self.std_ + self.mean_

    def _loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(raw[:, 0], target)

    def _validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]:
        return (-self.std_ * float(F.mse_loss(raw[:, 0], target).sqrt()),)

    def _target_config(self) -> dict[str, Any]:
        return {"mean": self.mean_, "std": self.std_}

    def _restore_target(self, config: dict[str, Any]) -> None:
        self.mean_, self.std_ = float(config["mean"]), float(config["std"])


def _as_numbers(values: np.ndarray) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"y must be numbers, got values such as {values[0]!r}; a classifier takes labels") from None
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise InputError(f"y must be finite numbers, got {bad} that are NaN or infinite")
    return numbers
