"""The manifest of a folder: the size and the SHA-256 of each of its files, so that what is read is what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphattn.cache import write_atomically
from graphattn.errors import InputError

MANIFEST_FILE = "manifest.json"
# Far more than any file of JSON that is written here, and little enough to read.
MOST_JSON_BYTES = 2**29


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a file of JSON.

    Raises:
        InputError: where it is missing, too large or no JSON.
    """
    return parse_json(read_file(path, MOST_JSON_BYTES), path)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: where there is none, it has more bytes than the limit, or it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}: the run is damaged or not complete")
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise InputError(f"{path} is damaged: it has {size:,} bytes, and at most {limit:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def parse_json(content: bytes, path: Path) -> Any:
    """The value of JSON.

    Raises:
        InputError: naming the file, where it is no JSON.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise InputError(f"{path} is not valid JSON (it is nested too deeply); the run is damaged") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); the run is damaged") from None


def write_manifest(folder: Path, *, only: Sequence[str] | None = None, without: Sequence[str] = ()) -> None:
    """Writes the manifest of some files of a folder, or of all that it has now but for some."""
    names = [path.name for path in folder.iterdir() if path.is_file()] if only is None else only
    files = {}
    for name in sorted(set(names) - {MANIFEST_FILE, *without}):
        with open(folder / name, "rb") as file:
            files[name] = {"bytes": (folder / name).stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    write_json(folder / MANIFEST_FILE, {"files": files, "sha256": _sum_of(files)})


class Manifest:
    """The manifest of a folder, which has been checked itself.

    Raises:
        InputError: where there is none, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / MANIFEST_FILE
        content = read_json(path)
        files = content.get("files") if isinstance(content, dict) else None
        if not isinstance(files, dict) or content.get("sha256") != _sum_of(files):
            raise InputError(f"{path} is damaged or was changed: its own checksum is not that of its content")
        self._folder, self._files = folder, files

    def read(self, name: str) -> bytes:
        """The bytes of a file, which are those of the manifest.

        Raises:
            InputError: where they are not.
        """
        path, entry = self._folder / name, self._files.get(name)
        if not isinstance(entry, dict):
            raise InputError(f"{path} is not listed in {MANIFEST_FILE}: the run is damaged")
        if path.is_file() and path.stat().st_size != entry.get("bytes"):
            size = f"{path.stat().st_size:,} bytes, and {MANIFEST_FILE} says {entry.get('bytes')}"
            raise InputError(f"{path} is damaged or was changed: it has {size}")
        content = read_file(path)
        if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
            raise InputError(f"{path} is damaged or was changed: its SHA-256 is not the one in {MANIFEST_FILE}")
        return content


def _sum_of(files: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
