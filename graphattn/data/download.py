"""Downloading the files of a data set, so that nothing half-written or wrong ever has a file's final name."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import requests

from graphattn.cache import user_cache
from graphattn.data.card import Card, CardFile, load_card
from graphattn.errors import InputError

Progress = Callable[[str, int, int | None], None]

ATTEMPTS = 4
PAUSE = 0.5  # seconds before the second attempt; doubles with each further one
TIMEOUT = (10.0, 30.0)  # seconds to connect; seconds without a byte
CHUNK = 1 << 14


class _Retry(Exception):
    """The transfer broke off in a way that another attempt may mend."""


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Downloads what is missing of a data set and checks every file's SHA-256.

    A transfer that breaks off leaves a `.part` file, which the next attempt, or the next call, continues. A file takes
    its final name only when its sum is right.

    Args:
        name: One of `graphattn.data.card_names()`.
        progress: Called as `progress(file name, bytes so far, bytes in all or None)` while a file arrives.

    Returns:
        The data set's folder: `user_cache("datasets", name)`, or that in `GRAPHATTN_DATA` where its files are there already.

    Raises:
        InputError: There is no such data set, nothing to download, no address to download it from, the server cannot
            be reached or refuses, a sum is wrong, or the cache folder cannot be written.
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
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _download(url, part, file.name, file.bytes, progress)
    _accept(part, target, file, url)


def _fetch_archive(url: str, files: list[CardFile], folder: Path, progress: Progress | None) -> None:
    """Downloads a zip archive once, unpacks the members that the card names, checks each, and deletes the archive."""
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rsplit("/", 1)[-1]
    archive = folder / f"{name}.part"
    _download(url, archive, name, None, progress)
    try:
        with zipfile.ZipFile(archive) as zipped:
            for file in files:
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                with zipped.open(file.member or "") as source, part.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                _accept(part, target, file, f"{file.member} in {url}")
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise InputError(f"the archive at {url} is not the one its card describes: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def _accept(part: Path, target: Path, file: CardFile, origin: str) -> None:
    got = _sha256(part)
    if got != file.sha256:
        part.unlink()
        raise InputError(
            f"{origin} arrived with the wrong SHA-256: expected {file.sha256}, got {got}; the download was deleted: "
            "try again, and if it stays wrong the public file has changed"
        )
    os.replace(part, target)


def _download(url: str, part: Path, name: str, size: int | None, progress: Progress | None) -> None:
    """Fills `part` with all of `url`, continuing what is there; several attempts."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            return _transfer(url, part, name, size, progress)
        except _Retry as error:
            reason = error
    raise InputError(f"cannot download {url}: {reason}; check the connection and try again: what arrived is kept and continued")


def _transfer(url: str, part: Path, name: str, size: int | None, progress: Progress | None) -> None:
    """One attempt: all that is left of `url` is appended to `part`.

    Raises:
        _Retry: The connection broke, or the server was busy.
        InputError: The server refused.
    """
    have = part.stat().st_size if part.is_file() else 0
    if size is not None and have >= size:
        if have == size:  # everything had arrived, only the check had not been made
            return
        have = 0
    # Byte ranges count the bytes on the wire, so these must be the file's own: no compression on the way.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start = f"bytes {have}-"
            misplaced = response.status_code == 206 and not response.headers.get("Content-Range", start).startswith(start)
            if response.status_code == 416 or misplaced:  # what is there does not fit what the server has: start afresh
                part.unlink(missing_ok=True)
                raise _Retry("the server could not continue the download")
            if response.status_code == 429 or response.status_code >= 500:
                raise _Retry(f"the server answered {response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise InputError(f"cannot download {url}: the server answered {response.status_code} {response.reason}")
            if response.status_code == 200:  # the server ignores ranges and sends everything again
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else size
            with part.open("ab" if have else "wb") as sink:
                for chunk in response.iter_content(CHUNK):
                    sink.write(chunk)
                    have += len(chunk)
                    if progress is not None:
                        progress(name, have, total)
    except requests.RequestException as error:
        raise _Retry(_plain(error)) from error
    if total is not None and have < total:
        raise _Retry(f"the connection broke after {have:,} of {total:,} bytes")


def _plain(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout) or "timed out" in str(error):  # a stall amid the body is no Timeout
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return f"the server cannot be reached ({type(error).__name__})"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
