"""A task on the batches of a source: what the training loop works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphattn.train.tasks import Task


class Batch(NamedTuple):
    """One call of the model.

    Args:
        inputs: what the model is called with.
        target: what the task's loss takes, one for each row that counts.
        rows: the rows of the model's output that have a target, int64; None: all.
        weight: how much each of them counts in the loss; None: all the same.
    """

    inputs: dict[str, Any]
    target: Tensor
    rows: Tensor | None = None
    weight: Tensor | None = None

    def raw(self, model: nn.Module) -> Tensor:
        """What the model says of the rows that have a target."""
        out: Tensor = model(**self.inputs)
        return out if self.rows is None else out[self.rows]


class TaskJob:
    """A `graphattn.train.Job`.

    Args:
        task: what is learnt.
        batches: epoch → its batches.
        steps_per_epoch: how many those are.
        valid: the batches of the validation part; none: there is no such part.
    """

    def __init__(
        self, task: Task, batches: Callable[[int], Iterable[Batch]], steps_per_epoch: int, valid: Sequence[Batch]
    ) -> None:
        self.batches, self.steps_per_epoch, self.score_name = batches, steps_per_epoch, task.score_name
        self._task, self._valid = task, valid

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._task.loss(batch.raw(model), batch.target, batch.weight)

    def validate(self, model: nn.Module) -> tuple[float, ...] | None:
        if not self._valid:
            return None
        raw = torch.cat([batch.raw(model) for batch in self._valid])
        return self._task.validation_scores(raw, torch.cat([batch.target for batch in self._valid]))
