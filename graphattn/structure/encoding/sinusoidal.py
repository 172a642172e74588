from __future__ import annotations

import math

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.structure.encoding.position import OfPositions
from graphattn.structure.precision import in_autocast


class SinusoidalEncoding(OfPositions):
    r"""Sines and cosines of a node's position, as for the words of a sequence; nothing is learned.

    .. math::
        e_{2c} = \sin(p / 10000^{2c/d}), \quad e_{2c+1} = \cos(p / 10000^{2c/d})

    with d = `out_channels` and wavelengths from 2π to 10000 · 2π. Source: Vaswani et al., "Attention is all you need" (2017).
    A sequence is a path graph, whose positions `AddPosition` finds; for other graphs give them.

    Args:
        in_channels: 1.
        out_channels: width of the node vectors; where it is odd, the last sine has no cosine.

    Shapes:
        positions [nodes, 1], whole or not → [nodes, out_channels].

    Raises:
        InputError: on `in_channels` other than 1.
    """

    name = "sinusoidal"

    @classmethod
    def check(cls, number: int) -> None:
        super().check(number)
        if number != 1:
            raise InputError(f"{cls.option} {cls.name!r} must be 1, the column of the position, got {number}")

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.check(in_channels)
        self.out_channels = out_channels

    def forward(self, encoding: Tensor) -> Tensor:
        # Half precision cannot tell 2,048 from 2,049.
        position = encoding.to(torch.promote_types(encoding.dtype, torch.float32))
        exponent = torch.arange(0, self.out_channels, 2, dtype=position.dtype, device=position.device) / self.out_channels
        angle = position * torch.exp(-math.log(10_000) * exponent)
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, : self.out_channels]
        return in_autocast(waves.to(encoding.dtype) if encoding.is_floating_point() else waves)
