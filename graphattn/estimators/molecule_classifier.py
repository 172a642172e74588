from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from torch import Tensor

from graphattn.errors import InputError
from graphattn.estimators.base import pack_classes, unpack_classes
from graphattn.estimators.molecule_estimator import MoleculeEstimator, check_rows


class MoleculeClassifier(ClassifierMixin, MoleculeEstimator):
    """Predicts a class from a SMILES.

    A `graphattn.nn.GraphTransformer` over one-hot atoms and bonds, trained on the cross-entropy. It follows scikit-learn:
    `classes_`, `predict_proba`, `clone`, `get_params`, `cross_val_score` and grid search work.

    Args:
        channels, num_layers, heads, attention, attention_score, normaliser, readout, encodings, dropout, epochs, batch_size,
            learning_rate, weight_decay, patience, valid_fraction, seed, device, precision, n_jobs: as in `MoleculeRegressor`.
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
        right = self.classes_[probability[good].argmax(axis=1)] == values[good]
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)[good]))

    def _out_channels(self) -> int:
        return len(self.classes_)

    def _learn_target(self, values: np.ndarray) -> np.ndarray:
        self.classes_ = _class_labels(values)
        return self._encode_target(values)

    def _encode_target(self, values: np.ndarray) -> np.ndarray:
        number = {label: place for place, label in enumerate(self.classes_.tolist())}
        unknown = sorted({str(value) for value in values.tolist() if value not in number})
        if unknown:
            raise InputError(f"the validation rows have classes that no training row has: {', '.join(unknown[:5])}")
        return np.array([number[value] for value in values.tolist()], dtype=np.int64)

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


def _class_labels(values: np.ndarray) -> np.ndarray:
    """The distinct labels in order.

    Raises:
        InputError: where a label is missing, or there are fewer than two.
    """
    missing = int(pd.isna(values).sum())
    if missing:
        raise InputError(f"y has {missing} missing labels")
    classes = np.unique(values.astype(str) if values.dtype.kind == "O" else values)
    if len(classes) < 2:
        raise InputError(f"a classifier needs at least two classes, got {', '.join(map(str, classes)) or 'none'}")
    return classes
