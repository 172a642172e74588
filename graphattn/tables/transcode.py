from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from typing import Any

from graphattn.errors import InputError

_BLOCK = 1 << 18
# Control characters that text has: tab, line ends, form feed, and the end-of-file mark of old systems.
_CONTROL = bytes(set(range(32)) - {9, 10, 11, 12, 13, 26, 27})
# What reading a damaged compressed file raises.
BAD_STREAM = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
_KINDS: dict[type, str] = {gzip.GzipFile: "gzip", bz2.BZ2File: "bzip2", lzma.LZMAFile: "xz", zipfile.ZipExtFile: "zip"}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Utf8(io.RawIOBase):
    """A stream of bytes as UTF-8, whatever encoding it has; block by block, so that nothing is held but a block.

    Lines that are not UTF-8 are read as Windows-1252, of which Latin-1 is a part, unless they have control characters: then the
    file is no text.

    Args:
        stream: the bytes.
        name: what messages call them.
        notes: gets a sentence where they are not UTF-8.
        start: the first of them.
        most_bytes, most_in_line: the most bytes that there may be in all, and in a line.

    Raises:
        InputError: while it is read, where the bytes are no text, or too many.
    """

    def __init__(
        self, stream: Any, name: str, notes: list[str], start: bytes, most_bytes: int | None, most_in_line: int | None
    ) -> None:
        self._stream, self._name, self._notes = stream, name, notes
        self._most_bytes, self._most_in_line = most_bytes, most_in_line
        self._rest = self._ready = b""
        self._place = self._bytes = self._in_line = self._lines = 0
        self._ended = self._fell_back = False
        encoding = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None) or _without_mark(start)
        self._decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)()
        if encoding is not None:
            notes.append(f"{name} is read as {encoding.upper().removesuffix('-LE').removesuffix('-BE')}")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._place == len(self._ready):
            if self._ended:
                return 0
            self._ready, self._place = self._next(), 0
        part = self._ready[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def _next(self) -> bytes:
        try:
            block = self._stream.read(_BLOCK)
        except BAD_STREAM as error:
            kind = _KINDS.get(type(self._stream))
            what = "cannot be read" if kind is None else f"is a damaged {kind} file"
            raise InputError(f"{self._name} {what}: {error}") from None
        self._ended = not block
        self._bytes += len(block)
        if self._most_bytes is not None and self._bytes > self._most_bytes:
            raise InputError(f"{self._name} holds more than {self._most_bytes:,} bytes of text, the most that is read at once")
        if self._decoder is not None:
            block = self._decoded(block)
        self._measure(block)
        if self._decoder is not None:
            return block
        block = self._rest + block
        # Up to a character that is whole in any encoding: a line end, or what is ASCII.
        end = len(block) if self._ended else max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if end == 0:
            end = len(block) - next((place for place, byte in enumerate(block[::-1]) if byte < 128), len(block))
        self._rest = block[end:]
        return self._as_utf8(block[:end])

    def _measure(self, block: bytes) -> None:
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._in_line = self._in_line + len(block) if last < 0 else len(block) - 1 - last
        if self._most_in_line is not None and self._in_line > self._most_in_line:
            most = f"{self._most_in_line:,}"
            raise InputError(f"{self._name} has a line of more than {most} bytes, the most that a row of a table may have")

    def _decoded(self, block: bytes) -> bytes:
        assert self._decoder is not None
        try:
            return self._decoder.decode(block, self._ended).encode()
        except UnicodeError as error:
            raise InputError(f"{self._name} begins like UTF-16 or UTF-32 text, but is not: {error}") from None

    def _as_utf8(self, block: bytes) -> bytes:
        try:
            block.decode()
        except UnicodeDecodeError:
            if block.translate(None, _CONTROL) != block:
                raise InputError(f"{self._name} is no text: it has bytes that are in no text; expected a text file") from None
            lines = [self._line(number, line) for number, line in enumerate(block.splitlines(keepends=True), self._lines + 1)]
            self._lines += len(lines)
            return b"".join(lines)
        if not self._fell_back:  # only the first such line is shown
            self._lines += block.count(b"\n")
        return block

    def _line(self, number: int, line: bytes) -> bytes:
        try:
            line.decode()
        except UnicodeDecodeError:
            text = _latin(line)
            if not self._fell_back:
                self._fell_back = True
                shown = text.strip()
                first = next((place for place, character in enumerate(shown) if character > "\x7f"), 0)
                example = shown[max(0, first - 20) : first + 20]
                self._notes.append(
                    f"{self._name} is not UTF-8: lines that are not are read as Latin-1 (Windows-1252), such as line {number}, "
                    f"with {example!r}"
                )
            return text.encode()
        return line


def _latin(line: bytes) -> str:
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:  # it leaves five bytes out
        return line.decode("latin-1")


def _without_mark(start: bytes) -> str | None:
    """UTF-16 without a mark: of western text every other byte is 0."""
    pairs = len(start) // 2
    low, high = start[: 2 * pairs : 2].count(0), start[1 : 2 * pairs : 2].count(0)
    if pairs < 4 or min(low, high) > pairs / 20 or max(low, high) < 0.7 * pairs:
        return None
    return "utf-16-le" if high > low else "utf-16-be"
