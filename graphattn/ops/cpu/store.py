"""Where compiled kernels are kept: the user's cache folder or, where that will not do, a folder of this process alone.

Numba keeps compiled code in pickles, and loading a pickle can run anything. These pickles are the user's own, written with
the user's own permissions; so a folder is read only if nobody else could have written to it: it belongs to the user, or to
root, and neither its group nor the world may write. A folder that can be read but not written, such as one that was warmed up
when a container's image was built, is copied from, kernel by kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from graphattn.cache import drop_oldest, user_cache, write_atomically

# Numba keeps what it compiles next to the source, in the folder where Python keeps bytecode.
_COMPILED = "__pycache__"
_LIMIT = 256 * 2**20
# Seconds that a process waits for another's kernel; most compile in two.
_PATIENCE = 60.0


class Store(NamedTuple):
    """Where this process keeps its kernels.

    Args:
        folder: where they are written; None where no folder at all can be.
        source: a folder to copy from that cannot be written.
        problem: why `folder` is not the user's cache folder, and goes with the process; None if it is.
    """

    folder: Path | None
    source: Path | None = None
    problem: str | None = None


@cache
def store() -> Store:
    """The store of this process, found once."""
    try:
        folder = user_cache("kernels")
    except RuntimeError as error:  # from pathlib
        return Store(_private_folder(), None, f"the user's cache folder is not known: {error}")
    source = None
    try:
        for place in (folder, folder / _COMPILED):
            # A group that may write, as the usual umask of some systems has it, is not for code.
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            if (stranger := _who_else_writes(place)) is not None:
                return Store(_private_folder(), None, stranger)
        source = folder
        for place in (folder, folder / _COMPILED):
            tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        return Store(_private_folder(), source, f"{folder} cannot be written: {error.strerror}")
    return Store(folder)


def keep_source(name: str, text: str) -> Path | None:
    """Writes the source `name`.py of a kernel to the store, with its compiled code if the source folder holds it."""
    folder, source, _ = store()
    if folder is None:
        return None
    path, content = folder / f"{name}.py", text.encode()
    with contextlib.suppress(OSError):
        if source is not None:
            (folder / _COMPILED).mkdir(mode=0o700, exist_ok=True)
            for place in (source / path.name, *(source / _COMPILED).glob(f"{name}.*")):
                shutil.copy2(place, folder / place.relative_to(source))
    with contextlib.suppress(OSError):  # a full disk, say; then nothing is kept
        if not _holds(path, content):
            _delete(path)
            write_atomically(path, content)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time works on a kernel: a second waits, and then finds it compiled.

    The system frees the lock of a process that ends. Where locking fails, or another process takes longer than any kernel
    does, the work goes on without: both compile, and either result is right.
    """
    folder = store().folder
    path = None if folder is None else folder / f"{name}.lock"
    file = None if path is None else _lock(path)
    try:
        yield
    finally:
        if path is not None and file is not None:
            _delete(path)  # who waits holds the deleted file, and needs it no more: the kernel is there
            os.close(file)


def _lock(path: Path) -> int | None:
    """An open file that this process alone has locked; None where that can't be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file, end = None, time.monotonic() + _PATIENCE
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            if time.monotonic() > end:
                break
            time.sleep(0.01)
    except OSError:  # a full disk, or a file system without locks
        pass
    if file is not None:
        os.close(file)
    return None


def forget(name: str) -> None:
    """Deletes what is compiled of a kernel, damaged as it may be."""
    folder = store().folder
    for path in (folder / _COMPILED).glob(f"{name}.*") if folder is not None else ():
        _delete(path)


def tidy() -> None:
    """Deletes the oldest kernels beyond 256 MB: those of older versions of the library, in time."""
    folder = store().folder
    if folder is not None:
        drop_oldest(folder / _COMPILED, "*.nb[ci]", _LIMIT)
        drop_oldest(folder, "*.py", _LIMIT)


def kept() -> tuple[int, int]:
    """Number of kernels in the store, and their size in bytes."""
    folder = store().folder
    sizes = []
    for path in (folder / _COMPILED).glob("*.nbc") if folder is not None else ():
        with contextlib.suppress(OSError):  # another process deletes as well
            sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _delete(path: Path) -> None:
    """Deletes a file, or a folder that is in its place."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _who_else_writes(folder: Path) -> str | None:
    if not hasattr(os, "getuid"):  # Windows: a user's folders are the user's
        return None
    status = folder.stat()
    if status.st_uid not in (os.getuid(), 0):
        return f"{folder} belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} can be written by other users"
    return None


def _private_folder() -> Path | None:
    try:
        folder = Path(tempfile.mkdtemp(prefix="graphattn-"))
    except OSError:
        return None
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not the end of a forked child
        shutil.rmtree(folder, ignore_errors=True)
