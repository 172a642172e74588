"""The folder of a run: `OUT.partial` while it trains, renamed to `OUT` when it is complete."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphattn.errors import InputError
from graphattn.estimators.persist import CONFIG_FILE, write_json
from graphattn.train import EpochReport

_CHECKPOINT = "checkpoint.pt"
_REQUEST = "request.json"


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
    """Opens the folder of a run for writing, and closes it by renaming.

    Args:
        options: where, and whether to resume or to overwrite.
        request: what was asked for, as JSON; a resumed run must be asked for the same.

    Raises:
        InputError: where something is there that was not to be replaced, or a checkpoint is of another request.
    """

    def __init__(self, options: RunOptions, request: dict[str, Any]) -> None:
        self.out = Path(options.out)
        if not self.out.name:
            raise InputError(f"--out must name a folder to make, got '{options.out}'")
        self.path = self.out.with_name(self.out.name + ".partial")
        self.checkpoint = self.path / _CHECKPOINT
        if self.out.exists():
            if options.resume and not self.path.exists() and (self.out / CONFIG_FILE).is_file():
                raise InputError(f"{self.out} is complete already: there is nothing to resume")
            if not options.overwrite:
                raise InputError(f"{self.out} exists; choose another --out, or replace it with --overwrite")
            if not self.out.is_dir() or (any(self.out.iterdir()) and not (self.out / CONFIG_FILE).is_file()):
                raise InputError(f"{self.out} is not a run of graphattn, so --overwrite leaves it alone; choose another --out")
        request = json.loads(json.dumps(request))
        if self.path.exists() and options.resume:
            if _read(self.path / _REQUEST) != request:
                raise InputError(
                    f"{self.path} is an unfinished run with other options or data; give the same to resume it, or --overwrite"
                )
        elif self.path.exists() and not options.overwrite:
            raise InputError(f"{self.path} is an unfinished run; go on with --resume, or start again with --overwrite")
        else:
            if self.path.exists():
                if not (self.path / _REQUEST).is_file():
                    raise InputError(f"{self.path} is in the way and is no unfinished run of graphattn; choose another --out")
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True)
            write_json(self.path / _REQUEST, request)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around the training: removes the folder again where that is refused before there is anything to resume."""
        try:
            yield
        except InputError:
            if not self.checkpoint.exists():
                shutil.rmtree(self.path)
            raise

    def finish(self) -> None:
        """Gives the folder its final name, and drops what only a resumed run needs."""
        old = self.out.with_name(f"{self.out.name}.{uuid.uuid4().hex}.old")
        if self.out.exists():
            self.out.rename(old)
        self.path.rename(self.out)
        for name in (_CHECKPOINT, _REQUEST):
            (self.out / name).unlink(missing_ok=True)
        for left in self.out.glob("*.part"):  # of a write that was broken off
            left.unlink()
        if old.exists():
            shutil.rmtree(old)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
