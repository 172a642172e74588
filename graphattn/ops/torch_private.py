"""All that attention asks of torch beneath its public interface, in one place, with a test of each."""

from __future__ import annotations

import torch
from torch._library.fake_impl import allocate_size


def is_functorch_active() -> bool:
    """Whether a transform of `torch.func` (vmap, grad, jvp …) wraps the tensors of this call."""
    return bool(torch._C._are_functorch_transforms_active())


def is_forward_mode_active() -> bool:
    """Whether forward-mode derivatives are computed."""
    return torch.autograd.forward_ad._current_level >= 0


def is_dispatch_mode_active() -> bool:
    """Whether a `TorchDispatchMode`, such as one of fake tensors, watches operators."""
    return bool(torch._C._len_torch_dispatch_stack())


def size_of_data() -> torch.SymInt:
    """For a fake operator: a size that only the data tell.

    As `torch.library.get_ctx().new_dynamic_size()`, which refuses in `torch.compile` without `fullgraph=True`, unless the user
    sets `capture_dynamic_output_shape_ops`: torch would break the graph at each such operator.
    """
    context = torch.library.get_ctx()
    shapes = getattr(context, "_shape_env", None)
    if shapes is None:  # fake tensors without symbols: torch says that they cannot serve
        return context.new_dynamic_size()
    return allocate_size(shapes)
