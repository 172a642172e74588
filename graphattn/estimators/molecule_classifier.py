from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from torch import Tensor

from graphattn.errors import InputError
from graphattn.estimators.base import check_classes, pack_classes, unpack_classes
from graphattn.estimators.molecule_estimator import MoleculeEstimator, check_rows


class MoleculeClassifier(ClassifierMixin, MoleculeEstimator):
    """Predicts a class from a SMILES.

    A `graphattn.nn.GraphTransformer` over one-hot atoms and bonds, trained on the cross-entropy. It follows scikit-learn:
    `classes_`, `predict_proba`, `clone`, `get_params`, `cross_val_score` and grid search work.

    Args:
        channels, num_layers, heads, attention, attention_score, normaliser, readout, encodings, biases, extra_edges, dropout,
            epochs, batch_size, learning_rate, weight_decay, patience, valid_fraction, seed, device, precision, n_jobs: as in
            `MoleculeRegressor`.
    """

    classes_: np.ndarray
    _score_name = "accuracy"

    def predict_proba(self, smiles: Iterable[str]) -> np.ndarray:
        """Probability of each of `classes_`, float64, [rows, classes]; NaN where a SMILES is bad."""
        return self.outputs(smiles)[0]

    def predict(self, smiles: Iterable[str]) -> np.ndarray:
        """The likeliest class, [rows]; where a SMILES is bad NaN, in an array of objects."""
        probability = self.predict_proba(smiles)
        bad = np.isnan(probability).any(axis=1)
        labels = self.classes_[probability.argmax(axis=1)]
        if bad.any():
            labels = labels.astype(object)
            labels[bad] = np.nan
        return labels

    def score(self, smiles: Iterable[str], y: Iterable[Any], sample_weight: Any = None) -> float:
        """Accuracy on the rows that can be predicted."""
        rows, values = check_rows(smiles, y)
        probability = self.predict_proba(rows)
        good = ~np.isnan(probability).any(axis=1)
        right = self.classes_[probability[good].argmax(axis=1)] == self._labels(values[good])
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)[good]))

    def _out_channels(self) -> int:
        return len(self.classes_)

    def _learn_target(self, values: np.ndarray, valid_values: np.ndarray) -> None:
        missing = int(pd.isna(values).sum() + pd.isna(valid_values).sum())
        if missing:
            raise InputError(f"y has {missing} missing labels")
        if len(np.unique(_natural(values))) < 2:
            raise InputError(f"a classifier needs at least two classes to train on, got only {values[0]!r}")
        # A class that only validation rows have keeps its place, and is never predicted.
        self.classes_ = np.unique(_natural(np.concatenate([values, valid_values])))

    def _encode_target(self, values: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, self._labels(values)) if len(values) else np.zeros(0, dtype=np.int64)

    def _labels(self, values: np.ndarray) -> np.ndarray:
        """Labels of the kind of `classes_`: text where some label is text, though these may all be numbers."""
        return _natural(values).astype(str) if self.classes_.dtype.kind == "U" else _natural(values)

    def _decode(self, raw: Tensor) -> Tensor:
        return raw.double().softmax(-1)

    def _loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(raw, target)

    def _validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]:
        accuracy = (raw.argmax(-1) == target).double().mean()
        return float(accuracy), -float(F.cross_entropy(raw, target))

    def _target_config(self) -> dict[str, Any]:
        return {"classes": pack_classes(self.classes_)}

    def _restore_target(self, config: dict[str, Any]) -> None:
        self.classes_ = unpack_classes(config["classes"])
        check_classes(self.classes_, self.model_options_)


def _natural(values: np.ndarray) -> np.ndarray:
    """Labels as numpy holds them by themselves: numbers as numbers, and as text where they are mixed with text."""
    return np.asarray(values.tolist())
