"""What a run works on: rows that are loaded and cleaned, from whatever source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from graphattn.errors import InputError
from graphattn.estimators.predictor import Predictor, Said
from graphattn.runs.folder import RunOptions
from graphattn.runs.predictions import Predictions
from graphattn.splits import (
    DEFAULT_FRACTIONS,
    PARTS,
    Split,
    SplitColumn,
    parse_split,
    quantiles,
    random_split,
    read_split_file,
)
from graphattn.train import EpochReport, Task


class Rows(ABC):
    """Loaded rows: molecules of a table, or nodes of a network.

    Attributes:
        name: what messages call them: the file or the data set.
        values: the value of each row, [rows]; anything where a row is not usable.
        usable: the numbers of the rows that have a value and can be read, int64.
        excluded: reason → rows that are not usable.
        standard_split: the split that the data set comes with, where there is one.
        target_name: what pictures call the values.
        notes: sentences on what was read in one of two ways, and on what a model could not use.
    """

    name: str
    values: np.ndarray
    usable: np.ndarray
    excluded: dict[str, int]
    standard_split: Split | None
    target_name: str
    notes: list[str]

    line_end: ClassVar[str]
    """How lines of its table of predictions end."""
    without_training_rows: ClassVar[str]
    """What is said of a split that leaves nothing to train on."""

    @abstractmethod
    def scaffolds(self, seed: int) -> Split:
        """The scaffold split of the usable rows.

        Raises:
            InputError: where the rows are no molecules.
        """

    @abstractmethod
    def column(self, name: str) -> list[str]:
        """The cells of a column, for a split by it.

        Raises:
            InputError: where there is no such column.
        """

    @abstractmethod
    def content(self) -> tuple[object, ...]:
        """All of the data that training depends on, to be hashed."""

    @abstractmethod
    def marks(self, rows: np.ndarray) -> list[str]:
        """The fingerprint that identifies each of some rows, also in another table."""

    @abstractmethod
    def duplicates(self, split: Split) -> int:
        """How many rows of valid and test repeat one of an earlier part."""

    @abstractmethod
    def fit(
        self, estimator: Any, split: Split, checkpoint: Path, report: Callable[[EpochReport], None] | None
    ) -> Predictor[Any]:
        """Trains the estimator on the rows of a split. What the model reads is computed once, and kept for `outputs`."""

    @abstractmethod
    def say(self, predictor: Predictor[Any], rows: np.ndarray, *, columns: bool = True) -> Said:
        """What a predictor says of some usable rows; `columns`: with what else it knows of each."""

    @abstractmethod
    def baselines(self, task: Task, split: Split) -> dict[str, dict[str, np.ndarray]]:
        """What simple rules, beyond a constant, say of the valid and test parts: name → part → outputs."""

    @abstractmethod
    def predictions(self, rows: np.ndarray, said: Said) -> Predictions:
        """A table of what a predictor says of some rows."""

    def more_columns(self, task: Task) -> list[str]:
        """The columns that predictions may have beyond those of the task."""
        return []

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What the run's config holds of the data."""

    def split(self, options: RunOptions, task: Task) -> Split:
        """The parts that the options ask for, with usable rows only.

        A random split of classes is stratified, and with "stratified" one of numbers by their tenths.

        Raises:
            InputError: where the split cannot be made, or leaves nothing to train on.
        """
        classes = task.classes_of(self.values[self.usable])
        if options.split is None and self.standard_split is not None:
            split = self.standard_split
        else:
            wanted = parse_split(options.split or "random")
            if isinstance(wanted, Path):
                split = read_split_file(wanted, len(self.values))
            elif isinstance(wanted, SplitColumn):
                split = wanted.parts(self.column(wanted.name))
            elif wanted == "scaffold":
                split = self.scaffolds(options.seed)
                self._say_empty(split, options)
            else:
                fractions = DEFAULT_FRACTIONS if isinstance(wanted, str) else wanted
                strata: Any = classes
                if wanted == "stratified" and classes is None:
                    strata = quantiles(np.array(self.values[self.usable].tolist(), dtype=float))
                parts = random_split(len(self.usable), fractions, options.seed, strata)
                split = {part: self.usable[rows] for part, rows in parts.items()}
        split = {part: rows[np.isin(rows, self.usable)] for part, rows in split.items()}
        if len(split["train"]) == 0:
            raise InputError(self.without_training_rows.format(name=self.name))
        if classes is not None:
            for note in self._missing_classes(split, dict(zip(self.usable.tolist(), classes, strict=True))):
                options.notify(f"note: {note}")
        return split

    def _say_empty(self, split: Split, options: RunOptions) -> None:
        """Says which parts of a scaffold split have no row."""
        empty = " and ".join(part for part in PARTS if len(split[part]) == 0)
        if empty:
            sizes = "/".join(str(len(split[part])) for part in PARTS)
            options.notify(
                f"warning: the scaffold split of {self.name} is {sizes}, with no row in {empty}: too many of its molecules "
                "share a scaffold, such as all those without a ring; --split random gives every part its rows"
            )

    @staticmethod
    def _missing_classes(split: Split, class_of: dict[int, str]) -> Iterator[str]:
        """Sentences on the classes that a part lacks, as scores of it then say nothing of them."""
        counts = Counter(class_of.values())
        for part in PARTS:
            lacking = sorted(set(counts) - {class_of[row] for row in split[part].tolist()})
            if lacking and len(split[part]):
                first = f"{lacking[0]!r} ({counts[lacking[0]]:,} rows in all)"
                hint = "" if part == "train" else "; its scores say nothing of them"
                yield f"{len(lacking):,} of {len(counts):,} classes have no row in {part}, such as {first}{hint}"
