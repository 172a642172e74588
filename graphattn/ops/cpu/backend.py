"""The fused CPU kernels as a backend."""

from __future__ import annotations

import torch

from graphattn.ops.backends.fused import FusedBackend
from graphattn.ops.cpu import launch
from graphattn.ops.cpu.form import NORMALISERS, STORAGE, padded_channels
from graphattn.ops.cpu.grouping import CPUGrouping
from graphattn.ops.layout import register_grouping
from graphattn.ops.operator import register_kernels


class CPUBackend(FusedBackend):
    """Kernels compiled for this machine's processor; see docs/cpu_kernels.md."""

    name, title = "cpu", "CPU"
    normalisers = NORMALISERS
    types = tuple(STORAGE)

    def is_for(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def why_not_on(self, device: torch.device) -> str | None:
        return None if device.type == "cpu" else f"the tensors are on {device}"

    def padded_channels(self, channels: int, dtype: torch.dtype) -> int:
        return padded_channels(channels, dtype)


register_grouping(CPUGrouping())
register_kernels("cpu", lambda: launch)
