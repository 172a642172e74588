"""The Triton kernels as a backend. Triton itself is imported when a kernel first runs: not every machine has it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache

import torch

from graphattn.ops.backends.fused import FusedBackend
from graphattn.ops.layout import register_grouping
from graphattn.ops.operator import register_kernels
from graphattn.ops.settings import requested_backend
from graphattn.ops.triton.grouping import TritonGrouping

_CAPABILITY = (7, 0)


class TritonBackend(FusedBackend):
    """Kernels for NVIDIA GPUs, see docs/gpu_kernels.md; for tests also in Triton's interpreter on a CPU."""

    name, title = "triton", "Triton"
    normalisers = ("softmax", "softmax1", "sigmoid", "relu")  # those of `kernels/normalisers.py`, which only Triton can import
    types = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

    def is_for(self, device: torch.device) -> bool:
        return device.type == "cuda"

    def why_not_on(self, device: torch.device) -> str | None:
        return _why_not_on(str(device))


@torch.compiler.assume_constant_result
def _why_not_on(device: str) -> str | None:
    if device.startswith("cuda"):
        return _why_not_on_gpu(device)
    if device != "cpu" or requested_backend() != "triton":
        return f"the tensors are on {device}"
    if not _has_triton():
        return "Triton is not installed"
    # Read here as Triton reads it, when the kernels are first imported.
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "the tensors are on a CPU, where only Triton's interpreter serves: set TRITON_INTERPRET=1, for tests"
    return None


@cache
def _why_not_on_gpu(gpu: str) -> str | None:
    if not _has_triton():
        return "Triton is not installed"
    major, minor = torch.cuda.get_device_capability(gpu)
    if (major, minor) < _CAPABILITY and not torch.version.hip:
        return f"Triton needs a GPU of compute capability {_CAPABILITY[0]}.{_CAPABILITY[1]}, got {major}.{minor}"
    return None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


register_grouping(TritonGrouping())
register_kernels("triton", lambda: importlib.import_module("graphattn.ops.triton.launch"))
