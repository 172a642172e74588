"""The laws look at small graphs, where sharing the work among threads costs more than it brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers import threads


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield
