"""What we ask of torch beneath its public interface is still there, and still answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from graphattn.ops.torch_private import is_dispatch_mode_active, is_forward_mode_active, is_functorch_active


def test_transforms_of_torch_func() -> None:
    seen: list[bool] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(is_functorch_active())
        return x.sum()

    watched(torch.ones(2))
    torch.func.grad(watched)(torch.ones(2))
    torch.vmap(watched)(torch.ones(2, 2))
    assert seen == [False, True, True]


def test_forward_mode() -> None:
    assert not is_forward_mode_active()
    with forward_ad.dual_level():
        assert is_forward_mode_active()
    assert not is_forward_mode_active()


def test_dispatch_modes() -> None:
    assert not is_dispatch_mode_active()
    with TorchDispatchMode():
        assert is_dispatch_mode_active()
    assert not is_dispatch_mode_active()
