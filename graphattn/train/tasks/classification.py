from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.errors import InputError
from graphattn.train.metrics import Scores, classification_scores
from graphattn.train.tasks.task import Spread, Task, shown

if TYPE_CHECKING:
    import pandas as pd


class Classification(Task):
    """One class a row: the cross-entropy. Outputs are the probability of each class.

    Attributes:
        classes: the classes in order, [classes].
        shares: the share of each class among the labels trained on, [classes].
    """

    name = "classification"
    losses = ("cross_entropy",)
    metrics = ("accuracy", "macro_f1", "balanced_accuracy", "mcc", "roc_auc", "pr_auc")

    classes: np.ndarray
    shares: np.ndarray
    _weights: Tensor | None = None

    def read_cells(self, cells: pd.Series) -> tuple[list[Any], dict[str, int], list[str]]:
        from graphattn.tables import labels

        # A model that is scored has its classes; then it does not matter how few rows of each there are.
        values, notes = labels(cells, f"column '{cells.name}'", names_rows="classes" in vars(self))
        empty = int((cells.str.strip() == "").sum())
        return list(values), {"empty": empty, "missing": values.count(None) - empty}, notes

    def read_tensor(self, y: Tensor, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        if y.is_floating_point():
            raise InputError(f"data.y must be integers of shape {list(y.shape)}, got {y.dtype} {list(y.shape)}")
        numbers = y.cpu().numpy()
        labelled = numbers >= 0
        if class_names is None:
            return numbers, labelled
        numbers = numbers.astype(np.int64)
        if numbers.max(initial=-1) >= len(class_names):
            raise InputError(f"data.y holds class {numbers.max()}, but data.class_names has {len(class_names)} names")
        if len(set(class_names)) < len(class_names):
            raise InputError(f"data.class_names must differ, got {list(class_names)}")
        values = np.empty(len(numbers), dtype=object)
        values[labelled] = np.asarray(class_names)[numbers[labelled]]
        return values, labelled

    def read_objects(self, y: np.ndarray, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        import pandas as pd

        if class_names is not None:
            raise InputError("data.y must hold class numbers where data.class_names names the classes, got text or objects")
        values = y.astype(object)
        labelled = np.array([not pd.isna(value) and value != "" for value in values.tolist()], dtype=bool)
        kinds = {type(value).__name__ for value in values[labelled].tolist()}
        if not kinds <= {"str", "int", "bool"}:
            raise InputError(f"data.y must hold text or whole numbers, got values of {', '.join(sorted(kinds))}")
        return values, labelled

    def learn(self, values: np.ndarray, others: np.ndarray, classes: Sequence[str] | None = None) -> None:
        import pandas as pd

        missing = int(pd.isna(values).sum() + pd.isna(others).sum())
        if missing:
            raise InputError(f"y has {missing} missing labels")
        found = np.unique(_natural(values))
        if len(found) < 2:
            only = f"only {shown(values[0])}" if len(found) else "none"
            raise InputError(f"a classifier needs at least two classes to train on, got {only}")
        # A class that is not trained on keeps its place, and is never predicted.
        self.classes = np.unique(_natural(np.concatenate([values, others]))) if classes is None else np.asarray(classes)
        counts = np.bincount(self.encode(values), minlength=len(self.classes))
        self.shares = counts / len(values)
        self._learn_weights(counts)

    @property
    def out_channels(self) -> int:
        return len(self.classes)

    def encode(self, values: np.ndarray) -> np.ndarray:
        place = {label: number for number, label in enumerate(self.classes.tolist())}
        return np.array([place[label] for label in self._labels(values).tolist()], dtype=np.int64)

    def _labels(self, values: np.ndarray) -> np.ndarray:
        """Labels of the kind of `classes`: text where some label is text, though these may all be numbers."""
        return _natural(values).astype(str) if self.classes.dtype.kind == "U" else _natural(values)

    def loss(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        if self._weights is not None:
            of_class = self._weights.to(target.device)[target]
            weight = of_class if weight is None else weight * of_class
        if weight is None:
            return F.cross_entropy(raw, target)
        return (weight * F.cross_entropy(raw, target, reduction="none")).mean()

    def check_class_weight(self, class_weight: str | Mapping[Any, float] | None) -> str | Mapping[Any, float] | None:
        if isinstance(class_weight, str) and class_weight != "balanced":
            raise InputError(f"class_weight must be 'balanced' or class → weight, got {class_weight[:60]!r}")
        if isinstance(class_weight, Mapping):
            for label, weight in class_weight.items():
                if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
                    raise InputError(
                        f"class_weight must hold finite numbers that are not negative, got {weight!r} for {label!r}"
                    )
        return class_weight

    def _learn_weights(self, counts: np.ndarray) -> None:
        """The weight of each class, from the rows of each."""
        self._weights = None
        if self.class_weight == "balanced":
            weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        elif isinstance(self.class_weight, Mapping):
            weights = np.ones(len(self.classes))
            places = self._places(np.array(list(self.class_weight), dtype=object))
            unknown = [label for label, place in zip(self.class_weight, places, strict=True) if place < 0]
            if unknown:
                known = ", ".join(map(str, self.classes[:10].tolist()))
                raise InputError(f"class_weight has the class {unknown[0]!r}, which is not there; there are {known}")
            weights[places] = list(self.class_weight.values())
        else:
            return
        self._weights = torch.from_numpy(weights.astype(np.float32))

    def validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]:
        likelihood = -float(F.cross_entropy(raw, target))
        if self.score_name == "accuracy":
            return float((raw.argmax(-1) == target).double().mean()), likelihood
        scores = classification_scores(target.cpu().numpy(), self.decode(raw).cpu().numpy())
        if self.score_name not in scores:
            raise InputError(
                f"metric {self.score_name} needs two classes, and validation rows of both, got {len(self.classes)}"
            )
        return scores[self.score_name], likelihood

    def decode(self, raw: Tensor) -> Tensor:
        return raw.double().softmax(-1)

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        bad = np.isnan(outputs).any(axis=1)
        labels = self.classes[outputs.argmax(axis=1)]
        if bad.any():
            labels = labels.astype(object)
            labels[bad] = np.nan
        return labels

    def columns(self, outputs: np.ndarray) -> dict[str, Any]:
        labels = self.predict(outputs).astype(object)
        labels[np.isnan(outputs).any(axis=1)] = None
        names = self.column_names()[1:]
        return {"prediction": labels, **{name: outputs[:, place] for place, name in enumerate(names)}}

    def column_names(self, values: Sequence[Any] = ()) -> list[str]:
        return ["prediction", *(f"probability_{label}" for label in (dict.fromkeys(values) if len(values) else self.classes))]

    def scores(self, values: np.ndarray, outputs: np.ndarray) -> Scores:
        # A class that the model does not know is -1, which no prediction is.
        return classification_scores(self._places(values), outputs)

    def _places(self, values: np.ndarray) -> np.ndarray:
        """The number of each label's class, also where it is written otherwise, as 1.0 for 1; -1 where there is none."""
        from graphattn.tables import meaning

        place: dict[object, int] = {}
        for number, label in enumerate(self.classes.tolist()):
            place.setdefault(meaning(label), number)
            place[str(label)] = number
        return np.array([place.get(str(label), place.get(meaning(label), -1)) for label in values.tolist()], dtype=np.int64)

    def score(self, values: np.ndarray, outputs: np.ndarray, weight: Any = None) -> float:
        """Accuracy."""
        good = ~np.isnan(outputs).any(axis=1)
        right = self.classes[outputs[good].argmax(axis=1)] == self._labels(values[good])
        return float(np.average(right, weights=None if weight is None else np.asarray(weight)[good]))

    def known(self, values: np.ndarray) -> np.ndarray:
        return self._places(values) >= 0

    def classes_of(self, values: np.ndarray) -> list[str] | None:
        return list(map(str, values.tolist()))

    def constant(self, rows: int) -> tuple[str, np.ndarray]:
        return "majority", np.tile(self.shares, (rows, 1))

    def from_number(self, number: np.ndarray, values: np.ndarray, other: np.ndarray) -> np.ndarray | None:
        return None

    def from_spread(self, spread: Spread, values: np.ndarray) -> np.ndarray:
        """The share of each class among what reaches a row; where nothing does, the commonest class."""
        known = np.eye(self.out_channels)[self.encode(values)]
        shares = spread(known)
        reached = shares.sum(axis=1, keepdims=True) > 0
        return np.where(reached, shares, np.eye(self.out_channels)[known.sum(axis=0).argmax()])

    def parity(self, values: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        return None

    def config(self) -> dict[str, Any]:
        return {"classes": {"kind": self.classes.dtype.kind, "values": self.classes.tolist(), "shares": self.shares.tolist()}}

    def restore(self, config: dict[str, Any], out_channels: int) -> None:
        dtypes = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64, "U": str, "O": object}
        packed = config["classes"]
        kind, labels = packed["kind"], packed["values"]
        if kind not in dtypes or not isinstance(labels, list):
            raise InputError(f"its classes must be a list of a known kind, got {str(packed)[:60]!r}")
        if len(labels) != out_channels:
            raise InputError(f"it has {len(labels)} classes for {out_channels} outputs")
        # A label of another type would be made to fit: 2.5 would become the class 2.
        types: dict[str, Any] = {"b": bool, "i": int, "u": int, "f": (int, float), "U": str, "O": (str, int, float)}
        for label in labels:
            if not isinstance(label, types[kind]) or (kind in "iuf" and isinstance(label, bool)) or label != label:
                raise InputError(f"its classes hold {str(label)[:60]!r}, which is no class of kind {kind!r}")
        repeated = [label for label, count in Counter(map(str, labels)).items() if count > 1]
        if repeated:
            raise InputError(f"its classes must differ, but {repeated[0][:60]!r} is there more than once")
        self.classes = np.array(labels, dtype=dtypes[kind])
        self.shares = np.array(packed["shares"], dtype=np.float64)
        if self.shares.shape != self.classes.shape or not (self.shares >= 0).all() or abs(self.shares.sum() - 1) > 1e-6:
            raise InputError(f"its shares of {len(self.classes)} classes are {str(packed['shares'])[:60]}, which are no shares")


def _natural(values: np.ndarray) -> np.ndarray:
    """Labels as numpy holds them by themselves: numbers as numbers, and as text where they are mixed with text."""
    return np.asarray(values.tolist())
