"""Checkpoints: the state of a training run in one file, written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from graphattn.cache import part_of
from graphattn.errors import InputError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors and plain values; a reader sees the old file or the new one, never a part."""
    part = part_of(path)
    try:
        torch.save(state, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running any code from it (`weights_only=True`).

    Raises:
        InputError: where the file is not such a checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is damaged or no checkpoint of graphattn") from error
