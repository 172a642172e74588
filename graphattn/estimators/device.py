"""The device and the random numbers of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from graphattn.errors import InputError
from graphattn.estimators.params import PRECISIONS

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def find_device(device: str) -> torch.device:
    """The device that "auto", "cpu", "cuda", "cuda:N" or "mps" names.

    Raises:
        InputError: where it is none of these, or torch does not find it.
    """
    kind, number = _parse(device)
    if kind == "auto":
        kind = "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(kind, number) if kind == "cuda" else torch.device(kind)


def make_fabric(device: str, precision: str) -> Fabric:
    """The fabric that trains on a device.

    Raises:
        InputError: as `find_device`, and on an unknown precision.
    """
    kind, number = _parse(device)
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    from lightning_fabric import Fabric  # takes more than a second to import, and prediction needs none of it

    return Fabric(accelerator=kind, devices=[number] if number else 1, precision=precision)


def _parse(device: str) -> tuple[str, int]:
    kind, _, number = str(device).partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise InputError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}")
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(kind, 1)
    if int(number or 0) >= there:
        raise InputError(f"device {device!r} was asked for, but torch does not find it here; use 'cpu' or 'auto'")
    return kind, int(number or 0)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's random numbers from a seed and its repeatable algorithms inside, and both as they were before outside."""
    # With several threads the gradient of indexing otherwise adds in whatever order the threads arrive.
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
