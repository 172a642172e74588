"""Where the library keeps what it can make again: one folder per user, safe to delete at any time."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

import platformdirs


def user_cache(*parts: str) -> Path:
    """The cache folder or a place below it: `GRAPHATTN_CACHE`, or the user's cache folder. Nothing is created."""
    root = os.environ.get("GRAPHATTN_CACHE") or platformdirs.user_cache_dir("graphattn", appauthor=False)
    return Path(root).expanduser().joinpath(*parts)


def part_of(path: Path) -> Path:
    """Where to write a file until it is complete: next to it, under a name that nobody else uses."""
    return path.with_name(f"{path.name[:100]}.{uuid.uuid4().hex}.part")


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is whole or not there at all, also for a reader at the same moment; makes its folder.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:  # write() does not say which file
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def drop_oldest(folder: Path, pattern: str, limit: int) -> None:
    """Delete the files of a folder that match `pattern`, least recently modified first, until `limit` bytes are left."""
    files = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process deletes as well
            status = path.stat()
            files.append((status.st_mtime_ns, status.st_size, path))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
