"""Runs a compiled kernel on torch's own threads.

A kernel takes items of work from a shared counter until none is left. So it needs nothing but a team of threads that all
call it once. torch brings such a team: the OpenMP runtime that its operations run on (libgomp on Linux, libomp on macOS,
which answers to the same names). Entering that runtime directly, rather than through a thread pool of numba's, has three
merits: the threads are those that torch has just used, warm and as many as `torch.set_num_threads` says; several Python
threads may call at once; and there is no second runtime to fight the first for the cores.

Where the runtime is not found, and in a forked process (where its threads no longer exist, and torch's own operations would
hang, too), the calling thread does all the work. Results are the same bits either way.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

_forked = False


def _mark_forked() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


@functools.cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """`GOMP_parallel` of the OpenMP runtime that torch runs on, if it has one that can be entered.

    Several may be loaded, one for each package that brought its own. The dynamic linker found torch's among the symbols that
    all libraries share or, failing that, in what torch's library asks for; the same two look-ups find the same one again.
    """
    if not torch.backends.openmp.is_available():
        return None
    suffix = "dylib" if sys.platform == "darwin" else "so"
    for place in (None, str(Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{suffix}")):
        try:
            enter = ctypes.CDLL(place).GOMP_parallel
        except (OSError, AttributeError, TypeError):  # TypeError: Windows has no symbols that all libraries share
            continue
        enter.argtypes, enter.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        return enter
    return None


def why_serial() -> str | None:
    """Why kernels run on the calling thread alone, or None where they run on all of torch's threads."""
    if _forked:
        return "this process was forked, and threads do not survive that"
    if _openmp() is None:
        return "torch's OpenMP runtime was not found"
    if torch.get_num_threads() == 1:
        return "torch uses one thread"
    return None


def run(kernel: int, arguments: Sequence[int], num_items: int) -> None:
    """Calls a kernel on as many threads as torch uses, but no more than there are items of work.

    Args:
        kernel: the address of a function that takes the address of its arguments. Their first word is the counter of the
            items that were taken, and must be zero.
        arguments: 64-bit integers: addresses, sizes, and floats packed by `float_bits`.
        num_items: number of items of work.
    """
    packed = array("q", arguments)
    where = packed.buffer_info()[0]
    threads = min(torch.get_num_threads(), num_items)
    enter = _openmp() if threads > 1 and not _forked else None
    if enter is None:
        _serial(kernel)(where)
    else:
        enter(kernel, where, threads, 0)


@functools.cache
def _serial(kernel: int) -> ctypes._FuncPointer:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel)


def float_bits(value: float) -> int:
    """A float64 as the integer that a kernel reads it back from."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])
