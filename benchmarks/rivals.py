"""What rivals need beside their own code: a memory allocator with raised thresholds, a C++ compiler."""

from __future__ import annotations

import ctypes
import os
import shutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def raise_malloc_thresholds() -> None:
    """Makes glibc keep freed memory: without it, large temporaries are mapped anew in every call, and page faults cost more
    than the arithmetic. It holds for the whole process, so tuned rivals get a process of their own.

    Raises:
        OSError: where the C library is not glibc.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        raise OSError("malloc's thresholds can be raised with glibc only")
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        library.mallopt(option, 2**31 - 1)


def trim_malloc() -> None:
    """Gives freed memory back to the system, as far as the C library can."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def why_not(rival: str) -> str | None:
    """Why a rival cannot run here, or None where it can."""
    if rival != "compile":
        return None
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "c++"]
    return None if any(shutil.which(name) for name in compilers) else f"no C++ compiler ({', '.join(compilers)}) was found"
