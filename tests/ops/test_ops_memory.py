from __future__ import annotations

import pytest
import torch

from graphattn.ops import memory


def test_large_results_ask_for_huge_pages_inside_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(memory, "_madvise", lambda: lambda *arguments: asked.append(arguments))
    tensor = memory.empty((3 << 20,), torch.float32, torch.device("cpu"))  # 12 MB
    ((first, length, advice),) = asked
    assert first % (2 << 20) == length % (2 << 20) == 0
    assert tensor.data_ptr() <= first
    assert first + length <= tensor.data_ptr() + (12 << 20)
    assert length >= 8 << 20
    assert advice == 14
    memory.empty((1000,), torch.float32, torch.device("cpu"))
    assert len(asked) == 1


@pytest.mark.parametrize("advise", [True, False])
def test_it_is_an_ordinary_tensor(advise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not advise:
        monkeypatch.setattr(memory, "_madvise", lambda: None)
    tensor = memory.empty((3, 1 << 20), torch.float64, torch.device("cpu"))
    assert tensor.fill_(2.0).sum() == 6 << 20
    assert tensor.shape == (3, 1 << 20)
    assert tensor.dtype == torch.float64
