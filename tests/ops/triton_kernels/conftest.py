"""Needs Triton.

The folder is not called triton, as that of the package is: pytest puts the folder above on the path, where it would hide
Triton itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
import torch

collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["test_*.py"]


@pytest.fixture
def on_triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CPU tensors go through the Triton kernels, and every torch.empty is filled with NaN."""
    if torch.cuda.is_available():
        pytest.skip("on this machine the kernels are compiled")
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)
