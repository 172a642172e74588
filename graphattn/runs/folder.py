"""The folder of a run: `OUT.partial` while it trains, renamed to `OUT` when it is complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from graphattn.errors import InputError
from graphattn.estimators.manifest import read_json, write_json, write_manifest
from graphattn.estimators.persist import CONFIG_FILE
from graphattn.train import EpochReport

_CHECKPOINT = "checkpoint.pt"
_CHECKPOINTS = "checkpoint*.pt"  # with those of the other members of an ensemble
_REQUEST = "request.json"
_LOCK = "lock"
_ONLY_UNDER_WAY = (_CHECKPOINTS, _REQUEST, _LOCK)


@dataclass(frozen=True)
class RunOptions:
    """What every training run takes.

    Args:
        out: the folder to make.
        seed: of the split, the weights and everything random.
        split: "scaffold", "random", "A/B/C" or a JSON file; None for the data set's standard split, or else random 80/10/10.
        resume: continue an interrupted run from its checkpoint; without one, start.
        overwrite: replace what is in `out`.
        params: parameters of the estimator that differ from its defaults.
        report: called after every epoch.
        prediction_column: what the column of predictions is called; default: prediction.
        notify: called with a sentence that says what is being done.
        left_out: called with a sentence that says what is not used.
    """

    out: Path
    seed: int = 0
    split: str | None = None
    resume: bool = False
    overwrite: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    report: Callable[[EpochReport], None] | None = None
    prediction_column: str | None = None
    notify: Callable[[str], None] = lambda sentence: None
    left_out: Callable[[str], None] = lambda sentence: None


class RunFolder:
    """Opens the folder of a run for writing, and closes it by renaming: `with RunFolder(options, request) as folder`.

    The folder is locked until the block ends, or the process does, however it ends.

    Args:
        options: where, and whether to resume or to overwrite.
        request: what was asked for, as JSON; a resumed run must be asked for the same.

    Raises:
        InputError: where something is there that was not to be replaced, another process trains into the folder, or a
            checkpoint is of another request.
        OSError: where the folder cannot be written.
    """

    def __init__(self, options: RunOptions, request: dict[str, Any]) -> None:
        self.out = Path(options.out)
        if not self.out.name:
            raise InputError(f"--out must name a folder to make, got '{options.out}'")
        self.path = self.out.with_name(self.out.name + ".partial")
        self.checkpoint = self.path / _CHECKPOINT
        _refuse_links(self.out, self.path)
        if self.out.exists():
            if options.resume and not self.path.exists() and (self.out / CONFIG_FILE).is_file():
                raise InputError(f"{self.out} is complete already: there is nothing to resume")
            if not options.overwrite:
                raise InputError(f"{self.out} exists; choose another --out, or replace it with --overwrite")
            if not self.out.is_dir() or (any(self.out.iterdir()) and not (self.out / CONFIG_FILE).is_file()):
                raise InputError(f"{self.out} is not a run of graphattn, so --overwrite leaves it alone; choose another --out")
        request = json.loads(json.dumps(request))
        if self.path.exists():
            _refuse_foreign(self.path)
            if not (options.resume or options.overwrite or _is_bare(self.path)):
                raise InputError(f"{self.path} is an unfinished run; go on with --resume, or start again with --overwrite")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = self._acquire()
        try:
            self._prepare(options, request)
        except BaseException:
            self._give_up()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, InputError) and not any(self.path.glob(_CHECKPOINTS)):
            self._clear()  # refused before there is anything to resume
        self._give_up()

    def _acquire(self) -> FileLock:
        lock = FileLock(self.path / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"another process trains into {self.path} at this moment; wait until it ends, or choose another --out"
            ) from None
        if not (self.path / _LOCK).exists():
            lock.release()
            raise InputError(f"another process has finished {self.out} at this moment; choose another --out")
        return lock

    def _prepare(self, options: RunOptions, request: dict[str, Any]) -> None:
        """Makes the folder one of this request."""
        if options.resume and (self.path / _REQUEST).exists():
            before = _read(self.path / _REQUEST)
            if before is None:
                raise InputError(f"{self.path / _REQUEST} is damaged, so the run cannot go on; start again with --overwrite")
            if before == request:
                return
            raise InputError(
                f"{self.path} is an unfinished run with other options or data; give the same to resume it, or --overwrite"
            )
        self._clear()
        write_json(self.path / _REQUEST, request)

    def _clear(self) -> None:
        """Empties the folder, but for the lock, which another process may look at."""
        # The request last: a folder without one, but with other files, would be taken for someone else's.
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == _REQUEST):
            if entry.name != _LOCK:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    @staticmethod
    def _under_way(folder: Path) -> list[Path]:
        return [path for name in _ONLY_UNDER_WAY for path in folder.glob(name)]

    def _give_up(self) -> None:
        """Unlocks the folder, and removes it where it holds nothing."""
        if self.path.is_dir() and _is_bare(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def finish(self) -> None:
        """Gives the folder its final name and its manifest, and drops what only a resumed run needs.

        Broken off at any moment, it leaves a folder that --resume goes on from, or the finished run.
        """
        for left in self.path.glob("*.part"):  # of a write that was broken off
            left.unlink()
        write_manifest(self.path, without=[path.name for path in self._under_way(self.path)])
        old = self.out.with_name(f"{self.out.name}.{uuid.uuid4().hex}.old")
        if os.name == "nt":  # no folder with an open file can be renamed there
            self._lock.release()
        if self.out.exists():
            self.out.rename(old)
        self.path.rename(self.out)
        for left in self._under_way(self.out):
            left.unlink(missing_ok=True)
        self._lock.release()
        for replaced in self.out.parent.glob(f"{escape(self.out.name)}.*.old"):  # also of a process that was killed here
            if re.fullmatch(r"[0-9a-f]{32}", replaced.name[len(self.out.name) + 1 : -len(".old")]):
                shutil.rmtree(replaced)


def _refuse_links(*paths: Path) -> None:
    for path in paths:
        if path.is_symlink():
            raise InputError(f"{path} is a link, and a run is renamed when it is complete; give the folder that it points to")


def _refuse_foreign(path: Path) -> None:
    """Refuses what no training has made."""
    if not path.is_dir() or not ((path / _REQUEST).is_file() or _is_bare(path)):
        raise InputError(f"{path} is in the way and is no unfinished run of graphattn; choose another --out")


def _is_bare(path: Path) -> bool:
    """Whether a folder holds no more than a process leaves that is killed before it has written its request."""
    return all(entry.name == _LOCK or entry.name.endswith(".part") for entry in path.iterdir())


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except InputError:
        return None
