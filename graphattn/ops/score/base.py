"""What a score is, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from graphattn.errors import InputError


class Score(ABC):
    """How alike a query and a key are: a number for each head.

    A subclass has a `name`, the formula as `__call__` and, where it has a learned weight, its shape and an attribute of that
    name. The layers make the weight, and call `cls(weight)`; without one, `cls()`.
    """

    name: ClassVar[str]
    # Whether queries and keys must not be rounded to half precision before they are scored.
    full_precision: ClassVar[bool] = False
    weight: Tensor | None = None

    @abstractmethod
    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores of pairs: query and key [pairs, heads, channels] → [pairs, heads]."""

    @classmethod
    def weight_shape(cls, heads: int, channels: int) -> tuple[int, ...] | None:
        """The shape of the learned weight, for so many heads of so many channels; None where there is none."""
        return None

    def to(self, dtype: torch.dtype) -> Self:
        """The same score with its weight in another type."""
        return self

    def check(self, heads: int, channels: int) -> None:
        """Raises InputError where the weight does not fit."""
        shape = self.weight_shape(heads, channels)
        if self.weight is not None and tuple(self.weight.shape) != shape:
            expected = "no weight" if shape is None else list(shape)
            raise InputError(f"the weight of {type(self).__name__} must have shape {expected}, got {list(self.weight.shape)}")


SCORES: dict[str, type[Score]] = {}


def register_score(kind: type[Score]) -> type[Score]:
    """Adds a kind of score to `SCORES`, as a decorator: layers, models and estimators then take its name.

    Raises:
        InputError: where the name is taken.
    """
    if kind.name in SCORES:
        raise InputError(f"there is a score {kind.name!r} already; choose another name")
    SCORES[kind.name] = kind
    return kind


def make_score(name: str, weight: Tensor | None) -> Score:
    """The score of a name with its learned weight; None where it has none."""
    kind: Any = SCORES[name]
    made: Score = kind() if weight is None else kind(weight)
    return made


def as_score(score: str | Score) -> Score:
    """A score as it is, or the one of a name, where that has no weight.

    Raises:
        InputError: on an unknown name, or one whose score has a weight.
    """
    if isinstance(score, Score):
        return score
    kind = SCORES.get(score) if isinstance(score, str) else None
    if kind is None:
        raise InputError(f"score must be one of {', '.join(SCORES)}, or a Score, got {score!r}")
    if kind.weight_shape(1, 1) is not None:
        raise InputError(f"score={score!r} has a weight: pass {kind.__name__}(weight) instead of the name")
    return kind()
