"""What a command prints on stderr, and how it ends on an error. Only results go to stdout."""

from __future__ import annotations

import errno
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from graphattn.errors import InputError

if TYPE_CHECKING:
    from graphattn.train import EpochReport

# Where there is no terminal, bars become a line now and then.
_SECONDS_BETWEEN_LINES = 10.0


class Screen:
    """`with Screen(quiet, debug) as screen:` around what a command does; errors inside end the command with one line.

    Args:
        quiet: show errors only.
        debug: show tracebacks.
        resumable: whether an interrupted command can go on with --resume.
    """

    def __init__(self, quiet: bool = False, debug: bool = False, *, resumable: bool = False) -> None:
        self.quiet, self._debug, self._resumable = quiet, debug, resumable
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._warnings.__enter__()
        if not self._debug:
            # Warnings of the libraries below speak to programmers.
            warnings.simplefilter("ignore")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._warnings.__exit__(None, None, None)
        if error is None or isinstance(error, (typer.Exit, SystemExit, BrokenPipeError)):
            return
        if self._debug:
            traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            hint = "; the same command with --resume goes on from there" if self._resumable else ""
            complain(f"interrupted{hint}")
            raise typer.Exit(130) from None
        raise typer.Exit(complain(error, resumable=self._resumable)) from None

    def say(self, text: str) -> None:
        """One line for the user."""
        self._console.print(text, markup=False, soft_wrap=True)

    def tell(self, text: str) -> None:
        """One line that is shown under --quiet as well: what was left out."""
        Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """A table for the user."""
        self._console.print(table)

    def result(self, text: str) -> None:
        """One line of results, on stdout, which --quiet shows too."""
        typer.echo(text)

    @contextmanager
    def epochs(self) -> Iterator[Callable[[EpochReport], None]]:
        """A bar that follows training; yields what to call after every epoch."""
        from graphattn.train import score_text

        columns = (
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(8),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        last: dict[int, EpochReport] = {}  # of each model of an ensemble
        bar = self._bar(*columns)
        task = bar.add_task("", total=None)
        line = self._now_and_then()

        def report(progress: EpochReport) -> None:
            bar.start()  # not before there is something to show
            scores = f"loss {progress.loss:.3g}"
            if progress.score is not None:
                scores += f"  valid {progress.score_name} {score_text(progress.score)} (best {score_text(progress.best)})"
            if progress.members > 1:
                scores = f"model {progress.member + 1} of {progress.members}  {scores}"
            last[progress.member] = progress
            done = sum(one.epoch for one in last.values())
            bar.update(task, total=progress.epochs * progress.members, completed=done, description=scores)
            left = bar.tasks[0].time_remaining
            ending = "" if left is None else f"  {left:.0f} s left"
            line(f"epoch {progress.epoch}/{progress.epochs}  {scores}{ending}")

        try:
            yield report
        finally:
            if last:
                bar.stop()
        for number, one in sorted(last.items()):
            if one.epoch < one.epochs:
                which = f"model {number + 1} " if one.members > 1 else ""
                self.say(f"{which}stopped after {one.epoch} of {one.epochs} epochs: the validation score no longer got better")

    @contextmanager
    def rows(self) -> Iterator[Callable[[int], None]]:
        """A count of rows; yields what to call with the number of rows done since the last call."""
        with self._bar(SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn()) as bar:
            task = bar.add_task("", total=None)
            line = self._now_and_then()

            def report(count: int) -> None:
                bar.advance(task, count)
                line(f"{bar.tasks[0].completed:,.0f} rows")

            yield report

    @contextmanager
    def bytes(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """A bar a file; yields what to call with a file's name, the bytes that have arrived, and the bytes in all."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(16),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with self._bar(*columns) as bar:
            tasks: dict[str, Any] = {}
            line = self._now_and_then()

            def report(name: str, done: int, total: int | None) -> None:
                if name not in tasks:
                    tasks[name] = bar.add_task(name, total=total)
                bar.update(tasks[name], completed=done, total=total)
                line(f"{name}: {done:,} bytes" + (f" of {total:,}" if total else ""))

            yield report

    @contextmanager
    def steps(self) -> Iterator[Callable[[int, int, str], None]]:
        """A bar of steps; yields what to call before each: the steps done, all steps, and what comes next."""
        with self._bar(MofNCompleteColumn(), BarColumn(16), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
            task = bar.add_task("", total=None)
            line = self._now_and_then()

            def report(done: int, total: int, text: str) -> None:
                bar.update(task, completed=done, total=total, description=text)
                line(f"{done}/{total}  {text}")

            yield report

    def _bar(self, *columns: ProgressColumn) -> Progress:
        return Progress(*columns, console=self._console, disable=self.quiet or not self._console.is_terminal)

    def _now_and_then(self) -> Callable[[str], None]:
        """Says a line if the last is long enough ago, and there is no bar to see."""
        said = time.monotonic()

        def line(text: str) -> None:
            nonlocal said
            if not self._console.is_terminal and time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                self.say(text)

        return line


def complain(error: BaseException | str, *, resumable: bool = False) -> int:
    """Prints an error as one line on stderr; returns the exit code.

    Args:
        error: what went wrong.
        resumable: whether the command can go on with --resume once there is room on the disk.
    """
    code = 2
    if hasattr(error, "format_message"):  # a mistake in the arguments, in the words of typer
        command = getattr(getattr(error, "ctx", None), "command_path", "graphattn")
        text = f"{error.format_message().rstrip('.')} (see {command} --help)"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text += "; make room on the disk"
            text += ", then the same command with --resume goes on from the last checkpoint" if resumable else " and try again"
    elif _lacks_memory(error):
        text = f"there is not enough memory ({str(error)[:200]}); a smaller batch_size, fewer channels or less data needs less"
    elif isinstance(error, (InputError, str)):
        text = str(error)
    else:
        code, text = 1, f"{type(error).__name__}: {error}; this is a fault of graphattn: --debug shows where, please report it"
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]error:[/]", end=" ")
    console.print(" ".join(text.split()), markup=False, soft_wrap=True)
    return code


def _lacks_memory(error: BaseException | str) -> bool:
    """Torch's allocator says so in words alone on a CPU, and in a class of its own on a GPU."""
    said = isinstance(error, RuntimeError) and ("not enough memory" in str(error) or "can't allocate memory" in str(error))
    return said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


# Scores that the table of a run has no room for; metrics.json has them.
_NOT_SHOWN = ("balanced_accuracy", "mcc")


def score_table(metrics: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> Table:
    """The scores of a run: a row a part and a row a baseline, a column a score.

    Args:
        metrics: the content of metrics.json.
        without: baselines to leave out.
    """
    from graphattn.train import score_text

    rows = {f"{part} ({metrics['split'][part]:,})": metrics[part] for part in ("train", "valid", "test")}
    if of_models := metrics.get("models", {}).get("test"):
        rows["mean of its models on test"] = {score: numbers["mean"] for score, numbers in of_models.items()}
    baselines = {name: scores for name, scores in metrics["baselines"].items() if name not in without}
    rows |= {f"baseline on test: {name.replace('_', ' ')}": scores for name, scores in baselines.items()}
    rows = {name: scores for name, scores in rows.items() if scores}
    names = [name for name in dict.fromkeys(score for scores in rows.values() for score in scores) if name not in _NOT_SHOWN]
    table = Table("", *names, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, scores in rows.items():
        cells = [score_text(scores.get(score)) for score in names]
        table.add_row(name, *cells, style="bold" if name.startswith("test") else None)
    return table
