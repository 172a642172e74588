"""The exponential moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    r"""The exponential moving average (EMA) of the weights over training, which often predicts better than the last weights.

    .. math::
        \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad d_t = \min\left(d, \frac{1 + t}{10 + t}\right)

    so that the random weights of the beginning are soon forgotten. Sources: Polyak & Juditsky, "Acceleration of stochastic
    approximation by averaging" (1992); the growing decay is that of TensorFlow's `ExponentialMovingAverage`.

    Args:
        model: whose parameters are averaged, on the device on which it is trained.
        decay: d, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters: list[Tensor] = list(model.parameters())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._parameters, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged weights; after it, its own again, bit for bit."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self.apply()
        try:
            yield
        finally:
            self._set(own)

    def apply(self) -> None:
        """Gives the model the averaged weights."""
        self._set(self._averages)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    def state(self) -> list[Tensor]:
        """The averages, in the order of the model's parameters."""
        return self._averages

    def restore(self, state: list[Tensor]) -> None:
        """The inverse of `state`.

        Raises:
            ValueError: where the tensors are not those of the model.
        """
        if [tensor.shape for tensor in state] != [tensor.shape for tensor in self._averages]:
            raise ValueError("the averaged weights are not those of the model")
        for average, tensor in zip(self._averages, state, strict=True):
            average.copy_(tensor)
