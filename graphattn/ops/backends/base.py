"""What a backend is: one way to compute attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.ops.mask import Mask
from graphattn.ops.normaliser import Normaliser
from graphattn.ops.reference import EdgeFeatures
from graphattn.ops.score import Score


class Call(NamedTuple):
    """A call of `graphattn.ops.attention` whose arguments fit together; their names are those of `attention`.

    Args:
        query, key, value: three tensors, or key and value shared, or all three packed in `query`.
        mask: None where only shapes and options are asked about.
    """

    query: Tensor
    key: Tensor | None
    value: Tensor | None
    mask: Mask | None
    score: Score
    normaliser: Normaliser
    bias: Tensor | None = None
    edge_attr: EdgeFeatures | None = None
    dropout: float = 0.0
    seed: Tensor | None = None
    return_attention: bool = False

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, of three tensors or of fewer."""
        if self.key is None:
            query, key, value = self.query.unbind(1)
            return query, key, value
        return self.query, self.key, self.key if self.value is None else self.value


class Backend(ABC):
    """One way to compute attention. `graphattn.ops.backends` asks them in order."""

    name: str

    @abstractmethod
    def why_not(self, call: Call) -> str | None:
        """Why it does not serve a call, in a clause, or None where it does."""

    @abstractmethod
    def storage_type(self, dtype: torch.dtype) -> torch.dtype:
        """The type that queries, keys and values are kept in, where they are given in `dtype`."""

    @abstractmethod
    def run(self, call: Call) -> tuple[Tensor, Tensor | None]:
        """The output and, where they were formed, the weights before dropout."""
