"""Room for large results: how much there is, and in huge pages, where the system gives them on request."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

import torch

_HUGE = 2 << 20  # bytes of a huge page
_ADVICE = 14  # MADV_HUGEPAGE of Linux


def empty(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """As `torch.empty`; a large tensor on a CPU asks for huge pages, before anything is written.

    A fresh large tensor costs a page fault for every 4 kB that is first written, which can take as long as the attention
    that is written there. Linux, as most distributions set it up, gives huge pages to those who ask.
    """
    tensor = torch.empty(shape, dtype=dtype, device=device)
    if device.type == "cpu" and type(tensor) is torch.Tensor and not torch.compiler.is_compiling():
        size = tensor.numel() * tensor.element_size()
        if size >= _HUGE and (advise := _madvise()) is not None:
            first = -(-tensor.data_ptr() // _HUGE) * _HUGE
            advise(first, (tensor.data_ptr() + size - first) // _HUGE * _HUGE, _ADVICE)
    return tensor


def total_memory(device: torch.device) -> int:
    """Bytes of memory of a GPU, or of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def _madvise() -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
