"""Memory, as the operating system sees it. Linux only."""

from __future__ import annotations

import contextlib
import gc
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.rivals import trim_malloc


class OutOfMemory(Exception):
    """A step needs more memory than there is."""


@contextlib.contextmanager
def limited_to_available() -> Iterator[None]:
    """Makes allocations beyond the memory available now fail in this process, where otherwise the system would kill one.

    Raises:
        OutOfMemory: where one failed inside.
    """
    usable = int(0.95 * _bytes(Path("/proc/meminfo"), "MemAvailable")) + resident()
    old = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (usable, old[1]))
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory("out of memory") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, old)


def resident() -> int:
    """Bytes of memory this process holds once everything that can be given back has been."""
    gc.collect()
    trim_malloc()
    return _bytes(Path("/proc/self/status"), "VmRSS")


def extra_memory(step: Callable[[], object]) -> int:
    """Bytes that a step holds at its peak beyond the state before it; its outputs and gradients count.

    The peak is VmHWM, the high-water mark of resident memory, which Linux lowers to the present state when 5 is written to
    clear_refs. `ru_maxrss` is the same number since the process began, which an earlier step may have set.
    """
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")
    step()
    return max(_bytes(Path("/proc/self/status"), "VmHWM") - before, 0)


def _bytes(path: Path, field: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
