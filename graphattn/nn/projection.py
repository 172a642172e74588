"""One matrix product for several linear maps of the same vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def is_plain(linear: nn.Module) -> bool:
    """Whether a linear map is just its weight and bias.

    One that was replaced (quantised, adapted), parametrised or hooked is called as it is, never packed around.
    """
    hooks = linear._forward_hooks or linear._forward_pre_hooks or linear._backward_hooks or linear._backward_pre_hooks
    return type(linear) is nn.Linear and not hooks and "forward" not in linear.__dict__


def project_together(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> Tensor:
    """x times all weights [channels, in_channels] of one after the other: [nodes, Σ channels]; all have biases, or none."""
    given = [bias for bias in biases if bias is not None]
    return F.linear(x, torch.cat(list(weights)), torch.cat(given) if given else None)
