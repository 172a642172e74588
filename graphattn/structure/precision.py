from __future__ import annotations

import torch
from torch import Tensor


def in_autocast(out: Tensor) -> Tensor:
    """The tensor in the type that autocast asks for, if it is on: tables and formulas do not follow it by themselves."""
    device = out.device.type
    return out.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else out
