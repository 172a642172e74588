"""Checkpoints: the state of a training run in one file, written completely or not at all."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from graphattn.cache import write_atomically
from graphattn.errors import InputError

_SUM_BYTES = 32  # of SHA-256, at the beginning of the file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors and plain values; a reader sees the old file or the new one, never a part.

    Raises:
        OSError: naming the file, where it cannot be written.
    """
    # Into memory first: where the disk is full, torch's own writer raises what does not say so.
    content = io.BytesIO()
    torch.save(state, content)
    payload = content.getvalue()
    write_atomically(path, _sum_of(payload) + payload)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code from it (`weights_only=True`).

    Raises:
        InputError: where the file is not such a checkpoint.
    """
    content = path.read_bytes()
    # torch does not look at the sums that its format has, so that a changed weight would be trained on.
    if content[:_SUM_BYTES] != _sum_of(content[_SUM_BYTES:]):
        raise InputError(f"{path} is damaged or no checkpoint of graphattn: its checksum is not that of its content")
    try:
        state = torch.load(io.BytesIO(content[_SUM_BYTES:]), map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is damaged or no checkpoint of graphattn") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, no checkpoint of graphattn; --overwrite starts again")
    return state


def _sum_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
