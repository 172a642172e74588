"""Needs Triton.

The folder is not called triton, as that of the package is: pytest puts the folder above on the path, where it would hide
Triton itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch
from cases.settings import backend, poisoned_memory

collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["test_*.py"]


@pytest.fixture
def on_triton() -> Iterator[None]:
    """CPU tensors go through the Triton kernels, and every torch.empty is filled with NaN."""
    if torch.cuda.is_available():
        pytest.skip("on this machine the kernels are compiled")
    with backend("triton"), poisoned_memory():
        yield
