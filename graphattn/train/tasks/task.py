"""What every task must answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from graphattn.errors import InputError
from graphattn.train.metrics import SMALLER_IS_BETTER, Scores

if TYPE_CHECKING:
    import pandas as pd

# Numbers of the training rows, [training rows, k] → their shares of what reaches each row of the graph, [rows, k].
Spread = Callable[[np.ndarray], np.ndarray]


class Task(ABC):
    """What goes out: how targets become tensors, and a model's raw outputs predictions and scores.

    *Values* are targets as users have them, [rows]; *targets* are what the loss takes, with a row for each value; *raw* is what
    the model returns, [rows, out_channels]; *outputs* are what users may see of it, float64, [rows, out_channels].

    Args:
        loss: what training makes small, one of `losses`; default: the first.
        metric: the score of the validation part that chooses the epoch, one of `metrics`; default: the first.
        class_weight: how much a row of each class counts in the loss: class → weight, where a class that is not named has 1, or
            "balanced", rows / (classes · rows of the class), as in scikit-learn. Scores are not weighted.

    Attributes:
        loss_name, score_name: the two.

    Raises:
        InputError: on an unknown name, or weights of classes where there are none.
    """

    name: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[str, ...]]
    """As `graphattn.train.metrics` names them."""
    hint: ClassVar[str] = ""
    """What to try where no cell of a column can be used."""

    def __init__(
        self, loss: str | None = None, metric: str | None = None, class_weight: str | Mapping[Any, float] | None = None
    ) -> None:
        for option, known, given in (("loss", self.losses, loss), ("metric", self.metrics, metric)):
            if given is not None and given not in known:
                raise InputError(f"{option} must be one of {', '.join(known)} for {self.name}, got {given!r}")
        self.loss_name, self.score_name = loss or self.losses[0], metric or self.metrics[0]
        self.class_weight = self.check_class_weight(class_weight)

    def check_class_weight(self, class_weight: str | Mapping[Any, float] | None) -> str | Mapping[Any, float] | None:
        """The weights of classes as they are, where this task has classes."""
        if class_weight is not None:
            raise InputError(f"class_weight is for classification, got {str(class_weight)[:60]!r} for {self.name}")
        return None

    @property
    def smaller_is_better(self) -> bool:
        """Whether a smaller `score_name` is a better one."""
        return self.score_name in SMALLER_IS_BETTER

    @abstractmethod
    def read_cells(self, cells: pd.Series) -> tuple[list[Any], dict[str, int], list[str]]:
        """The value of each cell of a column of text, None where it has none; how many those are, by reason; and sentences on
        what was read in one of two ways.

        Raises:
            InputError: where the column cannot hold targets of this task.
        """

    @abstractmethod
    def read_tensor(self, y: Tensor, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """The values of a tensor `y`, [rows], and which rows have one, bool, [rows].

        Raises:
            InputError: where `y` cannot hold targets of this task.
        """

    @abstractmethod
    def read_objects(self, y: np.ndarray, class_names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
        """The same for an array of text or of objects, where None, NaN, pandas' NA and empty text are missing.

        Raises:
            InputError: where `y` cannot hold targets of this task.
        """

    @abstractmethod
    def learn(self, values: np.ndarray, others: np.ndarray, classes: Sequence[str] | None = None) -> None:
        """Learns what the other methods need to know of the targets.

        Args:
            values: those that are trained on.
            others: those that are validated on, or known otherwise.
            classes: all classes in order, where that is known.

        Raises:
            InputError: where they are not targets of this task.
        """

    @property
    @abstractmethod
    def out_channels(self) -> int:
        """Width of the model's output."""

    @abstractmethod
    def encode(self, values: np.ndarray) -> np.ndarray:
        """Values → targets."""

    @abstractmethod
    def loss(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean loss of a batch; with weights the mean of weight · loss, [rows]."""

    @abstractmethod
    def validation_scores(self, raw: Tensor, target: Tensor) -> tuple[float, ...]:
        """As `graphattn.train.Job.validate` returns them; the first is `score_name`."""

    @abstractmethod
    def decode(self, raw: Tensor) -> Tensor:
        """Raw → outputs."""

    @abstractmethod
    def predict(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs → values, [rows]; NaN where the outputs are NaN."""

    @abstractmethod
    def columns(self, outputs: np.ndarray) -> dict[str, Any]:
        """The columns of a table of predictions, name → cells."""

    @abstractmethod
    def column_names(self, values: Sequence[Any] = ()) -> list[str]:
        """The names that `columns` uses; before `learn` with the classes among `values`."""

    @abstractmethod
    def scores(self, values: np.ndarray, outputs: np.ndarray) -> Scores:
        """The scores that a run reports; none where there are no rows."""

    @abstractmethod
    def score(self, values: np.ndarray, outputs: np.ndarray, weight: Any = None) -> float:
        """The one score that scikit-learn expects of such an estimator, of the rows whose outputs are not NaN."""

    @abstractmethod
    def known(self, values: np.ndarray) -> np.ndarray:
        """Which values the model could predict, bool, [rows]."""

    def classes_of(self, values: np.ndarray) -> list[str] | None:
        """The class of each value as text, before `learn`; None where the values are no classes."""
        return None

    @abstractmethod
    def constant(self, rows: int) -> tuple[str, np.ndarray]:
        """The baseline that gives every row the same outputs, from the values that were learnt: its name and the outputs."""

    @abstractmethod
    def from_number(self, number: np.ndarray, values: np.ndarray, other: np.ndarray) -> np.ndarray | None:
        """The outputs of rows that a fit of one number a row gives, or None where this task has no such baseline.

        Args:
            number: of the rows trained on.
            values: of the rows trained on.
            other: the number of the rows to predict.
        """

    @abstractmethod
    def from_spread(self, spread: Spread, values: np.ndarray) -> np.ndarray:
        """The outputs of all rows of a graph that spreading the values trained on along its edges gives."""

    @abstractmethod
    def parity(self, values: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """True and predicted numbers, [rows] each, to draw against each other; None where they are no numbers."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What was learnt, as JSON."""

    @abstractmethod
    def restore(self, config: dict[str, Any], out_channels: int) -> None:
        """The inverse of `config`, for a model with `out_channels` outputs.

        Raises:
            InputError: where the two do not fit.
        """


def shown(value: Any) -> str:
    """A value as a message shows it: a numpy scalar like the Python value that it holds."""
    return repr(value.item() if isinstance(value, np.generic) else value)
