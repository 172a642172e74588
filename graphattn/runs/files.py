"""The files of a run, and the evaluation of one."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from graphattn.cache import part_of
from graphattn.errors import InputError
from graphattn.estimators.manifest import Manifest, parse_json, write_json
from graphattn.runs.folder import RunFolder, RunOptions
from graphattn.runs.trust import LEVELS
from graphattn.splits import PARTS, Split

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
SPLITS_FILE = "splits.json"
HISTORY_FILE = "history.csv"


def write_run_files(
    folder: RunFolder,
    options: RunOptions,
    *,
    history: list[dict[str, float]],
    split: Split,
    trained_on: Sequence[str],
    scores: dict[str, dict[str, float]],
    models: dict[str, dict[str, dict[str, float]]],
    trust: dict[str, Any],
    baselines: dict[str, dict[str, float]],
    better_on_validation: dict[str, dict[str, float]],
    parity: tuple[np.ndarray, np.ndarray] | None,
    target: str,
    excluded: dict[str, int],
    duplicates: int,
    seconds: float,
) -> dict[str, Any]:
    """Writes splits.json, history.csv, metrics.json, curves.png and, where they apply, parity.png and intervals.png.

    Returns:
        The content of metrics.json.
    """
    parts = {part: split[part].tolist() for part in PARTS}
    write_json(folder.path / SPLITS_FILE, {**parts, "trained_on": sorted(set(trained_on))})
    names = list(dict.fromkeys(name for row in history for name in row))
    with written(folder.path / HISTORY_FILE) as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history)
    _draw(folder.path / "curves.png", options, lambda plots, path: plots.draw_curves(path, history))
    if parity is not None:
        _draw(
            folder.path / "parity.png",
            options,
            lambda plots, path: plots.draw_parity(path, *parity, target, scores["test"]),
        )
    if "held" in trust:
        _draw(folder.path / "intervals.png", options, lambda plots, path: plots.draw_intervals(path, LEVELS, trust))
    metrics = {
        **{part: scores[part] for part in PARTS},
        **({"uncertainty": trust} if trust else {}),
        **({"models": models} if any(models.values()) else {}),
        "baselines": baselines,
        "better_on_validation": better_on_validation,
        "split": {part: len(rows) for part, rows in parts.items()},
        "seed": options.seed,
        "seconds": round(seconds, 3),
        "excluded": excluded,
        "duplicates_across_splits": duplicates,
    }
    metrics = finite(metrics)
    write_json(folder.path / METRICS_FILE, metrics)
    return metrics


def _draw(path: Path, options: RunOptions, draw: Callable[[Any, Path], None]) -> None:
    """Draws a picture. Whatever comes of it: a picture is no reason to lose a trained model."""
    try:
        from graphattn.runs import plots  # matplotlib takes half a second to import

        draw(plots, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        what = " ".join(str(error).split())[:200]
        options.notify(f"warning: {path.name} could not be drawn, and is left out ({type(error).__name__}: {what})")


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A text file to write; an error of writing names it.

    Raises:
        OSError: where it cannot be written.
    """
    with naming(path), open(path, "w", newline="", encoding="utf-8") as file:
        yield file


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives errors of writing the name of the file, which the system leaves out."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def finite(value: Any) -> Any:
    """The same with NaN, which JSON has no word for, as None."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(*parts: object) -> str:
    """A short hash that identifies a row."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode(errors="backslashreplace")).hexdigest()[:16]


@contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[TextIO]:
    """A text file to write, which gets its name only when the block ends well: whole or not there, whoever else writes it.

    What is written so far has a name that no other process uses. A link is followed, and into what is no regular file, such as
    a pipe or a device, the text is written as it comes; `-` is standard output.

    Raises:
        InputError: where the file exists and is not to be replaced, also where another process made it meanwhile.
        OSError: where it cannot be written.
    """
    if str(path) == "-":
        yield from _standard_output()
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; --out must name a file")
    if path.exists() and not path.is_file():
        with open(path, "w", newline="", encoding="utf-8") as file:
            yield file
        return
    place = path.resolve()
    if place.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another --out, or replace it with --overwrite")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(place)
    try:
        with naming(path), open(part, "x", newline="", encoding="utf-8") as file:
            yield file
        if overwrite:
            if place.exists():
                shutil.copymode(place, part)
            os.replace(part, place)
        else:
            _give_name(part, place, path)
    finally:
        part.unlink(missing_ok=True)


def _standard_output() -> Iterator[TextIO]:
    """UTF-8, with line ends as they are given, whatever the terminal has; nothing but text where something stands in for it."""
    if not hasattr(sys.stdout, "buffer"):
        yield sys.stdout
        return
    file = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=False)
    try:
        yield file
        file.flush()
    finally:
        file.detach()


def _give_name(part: Path, place: Path, path: Path) -> None:
    """Renames a file, but not onto another one: for certain where there are hard links."""
    try:
        os.link(part, place)
    except FileExistsError:
        raise InputError(f"{path} was written by another process meanwhile; choose another --out, or use --overwrite") from None
    except OSError:  # no hard links here
        os.rename(part, place)


def marks_trained_on(run: Path) -> set[str] | None:
    """The fingerprints of the rows that a run was trained or validated on; None where it does not say.

    Raises:
        InputError: where the run's file of splits is damaged.
    """
    path = run / SPLITS_FILE
    if not path.exists():
        return None
    try:
        return set(parse_json(Manifest(run).read(SPLITS_FILE), path)["trained_on"])
    except (KeyError, TypeError):
        raise InputError(f"{path} is damaged: it does not say which rows the run was trained on") from None


def evaluation(
    run: Path, marks: Sequence[str], score: Callable[[np.ndarray], dict[str, float]], excluded: dict[str, int]
) -> dict[str, Any]:
    """What is said of a run on labelled rows.

    Args:
        run: folder of the run.
        marks: fingerprint of each row.
        score: the scores of the rows that a mask chooses.
        excluded: reason → rows that could not be used.

    Returns:
        "rows"; "scores" of all rows; "trained_on": how many of them the run has trained on or stopped by, and
        "scores_unseen" of the others, both None where the run does not say; "excluded".

    Raises:
        InputError: where the run's file of splits is damaged.
    """
    before = marks_trained_on(run)
    seen = np.array([before is not None and mark in before for mark in marks])
    return finite(
        {
            "rows": len(marks),
            "scores": score(np.ones(len(marks), dtype=bool)),
            "trained_on": None if before is None else int(seen.sum()),
            "scores_unseen": None if before is None else score(~seen),
            "excluded": excluded,
        }
    )
