"""What every source must answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from graphattn.errors import InputError
from graphattn.train import Task


class Source(ABC):
    """How what people have becomes batches of a model.

    Args:
        model_options: the options of the `graphattn.nn.GraphTransformer`, which say what the source must compute for it.
        n_jobs: processes that prepare inputs; default: as many as pay.
    """

    name: ClassVar[str]

    def __init__(self, model_options: dict[str, Any], n_jobs: int | None = None) -> None:
        self.model_options, self.n_jobs = model_options, n_jobs

    @abstractmethod
    def check(self, config: dict[str, Any]) -> None:
        """Checks that a saved model was trained on inputs that this version of the library makes as well.

        Raises:
            InputError: where it was not.
        """

    @abstractmethod
    def pack(self, task: Task) -> dict[str, Any]:
        """What a config holds of the inputs and, where `unpack` finds it again, of the task."""

    @abstractmethod
    def unpack(self, config: dict[str, Any]) -> dict[str, Any]:
        """The task's part of a config."""

    def tensors(self) -> dict[str, Tensor]:
        """What a saved model holds of the data it was trained on, by name; by default nothing."""
        return {}

    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`.

        Raises:
            InputError: where they are not such tensors.
        """
        if tensors:
            raise InputError(f"it holds {', '.join(tensors)}, which belong to no {self.name}")
