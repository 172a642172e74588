"""Downloading the files of a data set, so that nothing half-written or wrong ever has a file's final name."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from graphattn.cache import part_of, user_cache
from graphattn.data.card import Card, CardFile, load_card
from graphattn.errors import InputError

Progress = Callable[[str, int, int | None], None]

ATTEMPTS = 4
TIMEOUT = (10.0, 30.0)  # seconds to connect; seconds without a byte
MOST_SECONDS = 1800.0  # of one file
MOST_ARCHIVE_BYTES = 2**29  # of an archive, whose size no card names
CHUNK = 1 << 14


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Downloads what is missing of a data set and checks every file's SHA-256.

    A transfer that breaks off is tried again, some times. A file takes its final name only when its sum is right.

    Args:
        name: One of `graphattn.data.card_names()`.
        progress: Called as `progress(file name, bytes so far, bytes in all or None)` while a file arrives.

    Returns:
        The data set's folder: `user_cache("datasets", name)`, or that in `GRAPHATTN_DATA` where its files are there already.

    Raises:
        InputError: There is no such data set, nothing to download, no address to download it from, the server cannot
            be reached or refuses, a file is too large or takes too long, a sum is wrong, or the cache folder cannot be
            written.
    """
    card = load_card(name)
    if card.source == "package":
        raise InputError(f"data set {name!r} ships inside an installed package: there is nothing to download")
    folder = user_cache("datasets", name)
    if (here := local_folder(name)) not in (None, folder):
        return here
    missing = [file for file in card.files if not _is_there(folder, file)]
    _refuse_without_address(card, missing, folder)
    by_url: dict[str, list[CardFile]] = {}
    for file in missing:
        if file.url is not None:
            by_url.setdefault(file.url, []).append(file)
    try:
        for url, files in by_url.items():
            if files[0].member is None:
                _fetch_file(url, files[0], folder, progress)
            else:
                _fetch_archive(url, files, folder, progress)
    except OSError as error:
        raise InputError(
            f"cannot write to the cache folder {folder}: {error.strerror or error}; set GRAPHATTN_CACHE to a folder "
            "that can be written"
        ) from error
    return folder


def dataset_folder(name: str) -> Path:
    """The folder that holds a data set's files, by the names of its card; downloaded as the last resort.

    Raises:
        InputError: As `fetch`.
    """
    return local_folder(name) or fetch(name)


def local_folder(name: str) -> Path | None:
    """The folder on this machine that holds a data set's files, or None where they are to be fetched.

    Looks in `GRAPHATTN_DATA/<the card's folder>`, then in the cache.

    Raises:
        InputError: There is no such data set.
    """
    card = load_card(name)
    places = [user_cache("datasets", name)]
    if own := os.environ.get("GRAPHATTN_DATA"):
        places.insert(0, Path(own) / card.folder)
    for place in places:
        if card.required_files and all((place / file.name).is_file() for file in card.required_files):
            return place
    return None


def has_sum(path: Path, file: CardFile) -> bool:
    """Whether the file at `path` has the size and the SHA-256 of its card."""
    return path.is_file() and path.stat().st_size == file.bytes and _sha256(path) == file.sha256


def _is_there(folder: Path, file: CardFile) -> bool:
    # A file without an address was put there by hand, perhaps from another edition: its sum is the user's business.
    return (folder / file.name).is_file() if file.url is None else has_sum(folder / file.name, file)


def _refuse_without_address(card: Card, missing: list[CardFile], folder: Path) -> None:
    wanted = [file.name for file in missing if file.url is None and file.role != "split"]
    if wanted:
        raise InputError(
            f"data set {card.name!r} has no direct download for {', '.join(wanted)}: get it from {card.home} and put "
            f"it into {folder}, or set GRAPHATTN_DATA to a folder that holds {card.folder}/{wanted[0]}"
        )


def _fetch_file(url: str, file: CardFile, folder: Path, progress: Progress | None) -> None:
    _download(url, file.name, folder, file.sha256, file.bytes, progress)


def _fetch_archive(url: str, files: list[CardFile], folder: Path, progress: Progress | None) -> None:
    """Downloads a zip archive once, unpacks the members that the card names, checks each, and deletes the archive."""
    archive = _download(url, url.rsplit("/", 1)[-1], folder, None, MOST_ARCHIVE_BYTES, progress)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for file in files:
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                part = part_of(target)
                size = zipped.getinfo(file.member or "").file_size
                if size > file.bytes:
                    raise InputError(f"{file.member} in {url} has {size:,} bytes, more than the {file.bytes:,} expected")
                with zipped.open(file.member or "") as source, part.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                if (got := _sha256(part)) != file.sha256:
                    part.unlink()
                    raise _wrong_sum(f"{file.member} in {url}", file.sha256, got)
                os.replace(part, target)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise InputError(f"the archive at {url} is not the one its card describes: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def _download(url: str, name: str, folder: Path, sha256: str | None, limit: int, progress: Progress | None) -> Path:
    """Downloads one file into the folder, through a temporary file next to it."""
    import pooch
    import requests

    known = None if sha256 is None else f"sha256:{sha256}"
    files = pooch.create(folder, base_url="", registry={name: known}, urls={name: url}, retry_if_failed=ATTEMPTS - 1)
    # Compressed on the way, a file would have another number of bytes than its card says.
    http = pooch.HTTPDownloader(_Meter(name, limit, progress), CHUNK, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})

    def download(url: str, output_file: str, pooch: object) -> None:
        try:
            http(url, output_file, pooch)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status == 429 or status >= 500:
                raise
            raise _Stop(_plain(error)) from error

    try:
        with _quiet(pooch.get_logger()):
            return Path(files.fetch(name, downloader=download))
    except _Stop as error:
        raise InputError(f"cannot download {url}: {error}") from error
    except requests.RequestException as error:
        raise InputError(f"cannot download {url}: {_plain(error)}; check the connection and try again") from error
    except ValueError as error:
        got = re.search(r"but got '?([0-9a-f]+)", str(error))
        raise _wrong_sum(url, sha256, got[1] if got else str(error)) from error


class _Stop(Exception):
    """Ends a download that no further attempt would mend; pooch repeats after a `ValueError`, as `InputError` is one."""


class _Meter:
    """Counts what arrives, reports it, and stops a file that is too large or too slow; pooch's form of a progress bar."""

    def __init__(self, name: str, limit: int, report: Progress | None) -> None:
        self.name, self.limit, self.report = name, limit, report
        self._total = 0
        self.reset()

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, number: int) -> None:
        """A transfer begins, of so many bytes as the server says; zero where it does not."""
        self._total = number
        self.reset()
        self._started = time.monotonic()
        self._check(number)

    def reset(self) -> None:
        self._arrived = 0

    def update(self, number: int) -> None:
        self._check(self._arrived + 1)  # a chunk may be the last and short
        self._arrived += number
        if time.monotonic() - self._started > MOST_SECONDS:
            raise _Stop(f"it takes more than the {MOST_SECONDS:,.0f} seconds allowed")
        if self.report is not None:
            self.report(self.name, min(self._arrived, self._total or self._arrived), self._total or None)

    def close(self) -> None:
        """Part of pooch's form of a progress bar."""

    def _check(self, number: int) -> None:
        if number > self.limit:
            raise _Stop(f"it has more than the {self.limit:,} bytes expected")


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """pooch announces each download on stderr, where our own progress bar is."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _wrong_sum(origin: str, expected: str | None, got: str) -> InputError:
    return InputError(
        f"{origin} arrived with the wrong SHA-256: expected {expected}, got {got}; the download was deleted: "
        "try again, and if it stays wrong the public file has changed"
    )


def _plain(error: Exception) -> str:
    """What went wrong, in a clause."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):  # a stall amid the body is no Timeout
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return f"the server cannot be reached ({type(error).__name__})"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
