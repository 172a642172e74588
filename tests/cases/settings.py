"""How tests run: by which backend, with which items of work, on what memory."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from hypothesis import HealthCheck, settings

from graphattn.ops.cpu import sort

law = settings(deadline=None, derandomize=True, max_examples=10, database=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def backend(name: str | None) -> Iterator[None]:
    """Runs with GRAPHATTN_BACKEND, or with what it is if None.

    "cpu" and "triton" raise where the fused kernels cannot serve; "reference" is the plain version.
    """
    before = os.environ.get("GRAPHATTN_BACKEND")
    if name is not None:
        os.environ["GRAPHATTN_BACKEND"] = name
    try:
        yield
    finally:
        os.environ.pop("GRAPHATTN_BACKEND", None)
        if before is not None:
            os.environ["GRAPHATTN_BACKEND"] = before


@contextmanager
def items_of(size: int) -> Iterator[None]:
    """Items of work of so many edges in masks first used meanwhile: small graphs have hubs, whose rows are cut, too."""
    before = sort.SMALLEST_ITEM
    sort.SMALLEST_ITEM = size
    try:
        yield
    finally:
        sort.SMALLEST_ITEM = before


@contextmanager
def poisoned_memory(warn_only: bool = False) -> Iterator[None]:
    """Fills every tensor made without a value, as by torch.empty, with NaN or the largest integer.

    It comes with torch's deterministic mode, in which some operators for GPUs only warn, if `warn_only`.
    """
    settings_of_torch = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings_of_torch.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    settings_of_torch.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings_of_torch.fill_uninitialized_memory = before[1]


@contextmanager
def fresh_compiler() -> Iterator[None]:
    """torch.compile without what it compiled before.

    It makes millions of objects, which Python's search for garbage would look through again and again: that waits meanwhile.
    """
    torch.compiler.reset()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        torch.compiler.reset()
