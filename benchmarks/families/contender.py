from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.graphs import Graph

Inputs = dict[str, Tensor]
Leaves = dict[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Contender:
    """One side of a comparison, built on inputs that all sides share.

    Args:
        forward: computes the output.
        leaves: the tensors whose gradients a training step computes, by the name that all sides use. Several tensors under one
            name are copies of one: their gradients add up to the other side's.
        parts: likewise, but the tensors under a name are parts of one: their gradients, joined, are the other side's.
        epoch: one epoch of training with an optimiser, where that is what is timed.
    """

    forward: Callable[[], Tensor]
    leaves: Leaves
    parts: Leaves = field(default_factory=dict)
    epoch: Callable[[], None] | None = None

    def training_step(self, out_grad: Tensor) -> tuple[Tensor, ...]:
        """Forward and backward: the gradients of all leaves and parts, one after the other."""
        return torch.autograd.grad(self.forward(), self.tensors(), out_grad)

    def tensors(self) -> list[Tensor]:
        return [tensor for group in (*self.leaves.values(), *self.parts.values()) for tensor in group]

    def gradients(self, out_grad: Tensor) -> dict[str, Tensor]:
        """The gradients by name."""
        gradients = iter(self.training_step(out_grad))
        added = {name: torch.stack([next(gradients) for _ in group]).sum(0) for name, group in self.leaves.items()}
        return added | {name: torch.cat([next(gradients) for _ in group]) for name, group in self.parts.items()}


Build = Callable[[Graph, int, Inputs], Contender]


@dataclass(frozen=True)
class Family:
    """A computation and all ways to do it.

    Args:
        note: what is compared with what, in a sentence.
        make_inputs: (graph, heads, channels per head) → named inputs, float32, drawn from torch's generator.
        contenders: by rival's name, (graph, heads, inputs) → contender. The inputs' own dtype decides the precision.
    """

    note: str
    make_inputs: Callable[[Graph, int, int], Inputs]
    contenders: Mapping[str, Build]


def one_each(inputs: Inputs) -> Leaves:
    """Leaves of a contender that uses every input as it is."""
    return {name: (tensor,) for name, tensor in inputs.items() if tensor.requires_grad}


def trainer(forward: Callable[[], Tensor], parameters: list[Tensor], target: Tensor, train: Tensor) -> Callable[[], None]:
    """An epoch on one graph: forward, cross entropy of the training nodes, backward, a step of Adam."""
    optimizer = torch.optim.Adam(parameters, lr=1e-3)

    def epoch() -> None:
        optimizer.zero_grad()
        F.cross_entropy(forward()[train], target[train]).backward()
        optimizer.step()

    return epoch
