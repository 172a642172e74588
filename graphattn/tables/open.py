"""Opens text files as people have them: compressed, and in several encodings; and says what a file holds that is no text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from graphattn.errors import InputError
from graphattn.tables.transcode import BAD_STREAM, Utf8

# The most that is held of a file which is read as a whole, and of one line of a table.
MOST_BYTES = 1 << 31
MOST_IN_LINE = 1 << 24

_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zip": "zip"}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
_LAYERS = 3
_OTHERS = {
    b"%PDF-": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; save it as .csv or .xlsx",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"(\xb5/\xfd": "compressed by zstd; decompress it first",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
    **{b"\x80" + bytes([protocol]): "a Python pickle, which is never read: it could run code" for protocol in range(2, 6)},
}


@contextmanager
def open_text(path: str | Path, notes: list[str] | None = None) -> Iterator[TextIO]:
    """Opens a text file that is read as a whole: `with open_text(path) as file`.

    The text may be UTF-8 or UTF-16, with or without a byte order mark, or Latin-1; and compressed by gzip, bzip2, xz, or zip
    with one file in it, which its first bytes say, whatever it is called. Line ends are left unchanged.

    Args:
        path: The file; `-` is standard input.
        notes: Gets sentences on what was found.

    Raises:
        InputError: if the file is missing, a folder, unreadable, empty, or no text; and, while it is read inside the `with`
            block, if it is damaged, or too large.
    """
    with open_binary(path) as binary:
        yield text_of(binary, path, notes, most_bytes=MOST_BYTES)


@contextmanager
def open_binary(path: str | Path) -> Iterator[io.BufferedReader]:
    """Opens a file, or standard input for `-`.

    Raises:
        InputError: as `open_text`.
    """
    if str(path) == "-":
        # Not closed, as others may go on reading it.
        stream: Any = sys.stdin.buffer
        yield stream if hasattr(stream, "peek") else io.BufferedReader(stream)
        return
    with _open(Path(path)) as raw:
        yield raw


def name_of(path: str | Path) -> str:
    """What messages call a file."""
    return "standard input" if str(path) == "-" else str(path)


def _open(path: Path) -> io.BufferedReader:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def text_of(
    binary: io.BufferedReader,
    path: str | Path,
    notes: list[str] | None = None,
    *,
    most_bytes: int | None = None,
    most_in_line: int | None = None,
) -> TextIO:
    """The text of an open file, see `open_text`.

    Args:
        binary: The file.
        path: What messages call it.
        notes: Gets sentences on what was found.
        most_bytes: The most bytes of text that there may be, without compression.
        most_in_line: The most bytes that may stand in one line.
    """
    notes = [] if notes is None else notes
    stream = decompressed(binary, path, notes)
    start = stream.peek(512)[:512]
    if start in (b"", codecs.BOM_UTF8):
        raise InputError(f"{name_of(path)} is empty")
    refuse_others(start, path)
    return io.TextIOWrapper(
        io.BufferedReader(Utf8(stream, name_of(path), notes, start, most_bytes, most_in_line), 1 << 17),
        encoding="utf-8-sig",
        newline="",
    )


def decompressed(binary: io.BufferedReader, path: str | Path, notes: list[str]) -> Any:
    """A file without its compression, of several layers where there are some; its `peek` shows the first bytes.

    Raises:
        InputError: where a zip archive has not one file in it.
    """
    stream: Any = binary
    for layer in range(_LAYERS):
        kind = next((kind for magic, kind in _COMPRESSED.items() if stream.peek(8).startswith(magic)), None)
        if kind is None:
            said = _ENDINGS.get(Path(path).suffix.lower())
            if layer == 0 and said is not None and stream.peek(1):
                notes.append(f"{path} is not compressed by {said}, whatever its name says; it is read as it is")
            break
        try:
            stream = _one_file(stream, path) if kind == "zip" else _STREAMS[kind](stream)
            stream.peek(1)
        except BAD_STREAM as error:
            raise InputError(f"{name_of(path)} is a damaged {kind} file: {error}") from None
    return stream


def _one_file(stream: BinaryIO, path: str | Path) -> Any:
    """The one file of a zip archive; what macOS adds to it does not count."""
    if not stream.seekable():
        stream = io.BytesIO(stream.read(MOST_BYTES))
    archive = zipfile.ZipFile(stream)
    files = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if "[Content_Types].xml" in files:
        raise InputError(f"{name_of(path)} is an Office document; only tables can be read from one (.xlsx)")
    if len(files) != 1:
        some = ", ".join(repr(name) for name in files[:5]) + (", …" if len(files) > 5 else "")
        raise InputError(f"{name_of(path)} is a zip archive of {len(files)} files, expected one: {some or 'it is empty'}")
    if archive.getinfo(files[0]).flag_bits & 1:
        raise InputError(f"{name_of(path)} is a zip archive with a password; unpack it first")
    return archive.open(files[0])


_STREAMS: dict[str, Any] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def refuse_others(start: bytes, path: str | Path) -> None:
    """Checks that the first bytes of a file are not those of another known format.

    Raises:
        InputError: naming it.
    """
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise InputError(f"{name_of(path)} is {what}; expected text")
    if start[257:262] == b"ustar":
        raise InputError(f"{name_of(path)} is a tar archive; unpack it first")
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise InputError(f"{name_of(path)} is a web page (HTML), not data; was a page saved instead of the file?")
