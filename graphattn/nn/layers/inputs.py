"""What attention layers are called with, checked in one way."""

from __future__ import annotations

from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import BlockDiagonalMask


def check_vectors(x: Tensor, channels: int) -> None:
    """Refuses node vectors that are not floats of shape [nodes, channels]."""
    if x.dim() != 2 or x.shape[1] != channels or not x.is_floating_point():
        raise InputError(f"x must be floats of shape [nodes, {channels}], got {x.dtype} {list(x.shape)}")


def blocks_of(x: Tensor, batch: Tensor | BlockDiagonalMask | None) -> BlockDiagonalMask:
    """The graphs of the nodes of x: of their numbers, prepared ahead, or of one graph."""
    if batch is None:
        return BlockDiagonalMask.single(x.shape[0], x.device)
    mask = batch if isinstance(batch, BlockDiagonalMask) else BlockDiagonalMask.from_batch(batch)
    if mask.num_nodes != x.shape[0]:
        raise InputError(f"batch must be of the {x.shape[0]} nodes of x, got a mask of {mask.num_nodes}")
    return mask
