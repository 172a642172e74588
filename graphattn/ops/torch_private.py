"""All that attention asks of torch beneath its public interface, in one place, with a test of each."""

from __future__ import annotations

import torch


def is_functorch_active() -> bool:
    """Whether a transform of `torch.func` (vmap, grad, jvp …) wraps the tensors of this call."""
    return bool(torch._C._are_functorch_transforms_active())


def is_forward_mode_active() -> bool:
    """Whether forward-mode derivatives are computed."""
    return torch.autograd.forward_ad._current_level >= 0


def is_dispatch_mode_active() -> bool:
    """Whether a `TorchDispatchMode`, such as one of fake tensors, watches operators."""
    return bool(torch._C._len_torch_dispatch_stack())
