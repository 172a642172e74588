"""The laws look at small graphs, where sharing the work among threads costs more than it brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from cases.settings import poisoned_memory
from helpers import threads


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Whatever is read before it is written is NaN or the largest integer."""
    with poisoned_memory(warn_only=torch.cuda.is_available()):
        yield
