"""Train, validation and test splits: random ones, the text of `--split`, and split files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from graphattn.errors import InputError

PARTS = ("train", "valid", "test")
JUDGED = ("valid", "test")
"""The parts that a model is not trained on."""
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)

Split = dict[str, npt.NDArray[np.int64]]
"""`train`, `valid` and `test` → sorted row numbers, none in two parts."""


def random_split(
    n: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    classes: Sequence[object] | npt.NDArray[Any] | None = None,
) -> Split:
    """Put each of `n` rows into train, valid or test at random.

    With `classes` the split is stratified: each part gets its share of each class, and the parts are as large as without. A
    class of at least as many rows as there are parts has a row in each, where the parts are large enough for all such classes.

    Args:
        n: number of rows.
        fractions: of train, valid and test; they sum to 1.
        seed: another seed gives another split.
        classes: the class of each row, [n].

    Raises:
        InputError: bad fractions, fewer rows than parts, or another number of classes than rows.
    """
    sizes = part_sizes(n, fractions)
    order = np.random.default_rng(seed).permutation(n)
    if classes is None:
        parts = np.split(order, np.cumsum(sizes)[:-1])
        return {name: np.sort(part).astype(np.int64) for name, part in zip(PARTS, parts, strict=True)}
    if len(classes) != n:
        raise InputError(f"classes must have one entry for each of {n} rows, got {len(classes)}")
    names = [str(label) for label in classes]
    members: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for row in order.tolist():
        members[names[row]].append(row)
    # The small parts choose first; the largest takes what is left.
    largest = max(range(3), key=lambda part: sizes[part])
    taken: list[list[int]] = [[], [], []]
    smaller = sorted((part for part in range(3) if part != largest and sizes[part]), key=lambda part: (sizes[part], -part))
    for place, part in enumerate(smaller):
        left = sum(map(len, members.values()))
        shares = _shares([len(rows) for rows in members.values()], sizes[part], left, len(smaller) - place + 1)
        for rows, share in zip(members.values(), shares, strict=True):
            taken[part] += rows[:share]
            del rows[:share]
    taken[largest] = [row for rows in members.values() for row in rows]
    return {name: np.array(sorted(part), dtype=np.int64) for name, part in zip(PARTS, taken, strict=True)}


def _shares(counts: list[int], size: int, total: int, parts: int) -> list[int]:
    """How many rows of each class a part gets: `size` together, of `total`, where so many parts are still to be filled."""
    exact = [count * size / total for count in counts]
    shares = [int(share) for share in exact]
    # Those without a row come first where they have enough for all parts, then those that rounding down cost most. A class
    # too small to be in all parts goes to the last one, which is the largest, while others have rows to give.
    rest = sorted(
        range(len(counts)),
        key=lambda k: (counts[k] < parts, shares[k] > 0, shares[k] - exact[k], -counts[k]),
    )
    for k in rest[: size - sum(shares)]:
        shares[k] += 1
    return shares


def part_sizes(n: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """How many of `n` rows train, valid and test get: the rounded fractions, at least 1 where the fraction is not 0.

    Raises:
        InputError: bad fractions, or fewer rows than parts.
    """
    fractions = check_fractions(fractions)
    sizes = [max(1, round(fraction * n)) if fraction > 0 else 0 for fraction in fractions]
    largest = fractions.index(max(fractions))
    sizes[largest] += n - sum(sizes)  # what rounding left over
    if sizes[largest] < 1:
        text = "/".join(map(str, fractions))
        raise InputError(f"{n} usable rows are too few for a {text} split; each part needs at least one")
    return sizes[0], sizes[1], sizes[2]


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """The fractions of train, valid and test as a tuple.

    Raises:
        InputError: they are not three, one is negative or not finite, or they do not sum to 1 (within 1e-6).
    """
    text = "/".join(map(str, fractions))
    if len(fractions) != 3:
        raise InputError(f"split {text!r} has {len(fractions)} fractions; train, valid and test make three")
    if not all(math.isfinite(fraction) and fraction >= 0 for fraction in fractions):
        raise InputError(f"split {text!r} has a fraction that is negative or not a number")
    if abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"the fractions of split {text!r} sum to {sum(fractions):g}, but must sum to 1")
    return float(fractions[0]), float(fractions[1]), float(fractions[2])


@dataclass(frozen=True)
class SplitColumn:
    """A column of the table whose cells say train, valid or test."""

    name: str

    def parts(self, cells: Sequence[str]) -> Split:
        """The rows of each part; a row whose cell is empty is in none.

        Args:
            cells: the column, a cell a row.

        Raises:
            InputError: where a cell says anything else.
        """
        words = [cell.strip().lower() for cell in cells]
        parts = {part: [row for row, word in enumerate(words) if _WORDS.get(word) == part] for part in PARTS}
        other = [row for row, word in enumerate(words) if word and word not in _WORDS]
        if other:
            raise InputError(
                f"column {self.name!r} must hold train, valid or test, or be empty, but {len(other):,} cells hold others, "
                f"such as {cells[other[0]][:60]!r}"
            )
        return {part: np.array(rows, dtype=np.int64) for part, rows in parts.items()}


_WORDS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_COLUMN = "column:"


def quantiles(values: npt.NDArray[np.float64], count: int = 10) -> npt.NDArray[np.int64]:
    """The tenth of all values that each belongs to, [rows]: classes for a stratified split of numbers."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks * min(count, len(values)) // max(len(values), 1)


def parse_split(text: str) -> Literal["scaffold", "random", "stratified"] | tuple[float, float, float] | Path | SplitColumn:
    """Read what a user wrote for `--split`.

    It is scaffold, random, stratified, three fractions such as 0.8/0.1/0.1, column:NAME, or a .json file.

    Raises:
        InputError: it is none of these, or the fractions are not.
    """
    text = text.strip()
    if text == "scaffold":
        return "scaffold"
    if text == "random":
        return "random"
    if text == "stratified":
        return "stratified"
    if text.startswith(_COLUMN):
        return SplitColumn(text.removeprefix(_COLUMN).strip())
    if text.lower().endswith(".json"):
        return Path(text)
    try:
        fractions = [float(part) for part in text.split("/")]
    except ValueError:
        raise InputError(
            f"split is {text!r}, but must be scaffold, random, stratified, fractions such as 0.8/0.1/0.1, column:NAME or a "
            ".json file"
        ) from None
    return check_fractions(fractions)


def read_split_file(path: Path | str, n_rows: int) -> Split:
    """Read a JSON object with lists of row numbers, from 0, under train, valid and test; other keys are ignored.

    A row may be in no part.

    Args:
        path: the file.
        n_rows: number of rows of the table that it splits.

    Raises:
        InputError: the file is not there or no JSON, a part is missing, or its rows are not numbers below `n_rows`,
            each in one place only.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"split file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"split file {path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"split file {path} holds a JSON {type(content).__name__}, but must hold an object")

    seen: dict[int, str] = {}
    for part in PARTS:
        if part not in content:
            raise InputError(f"split file {path} has no {part!r}; it must have train, valid and test")
        if not isinstance(content[part], list):
            raise InputError(f"split file {path}: {part!r} must be a list of row numbers")
        for row in content[part]:
            if not isinstance(row, int) or isinstance(row, bool):
                raise InputError(f"split file {path}: {part!r} holds {row!r}, which is not a row number")
            if not 0 <= row < n_rows:
                raise InputError(f"split file {path}: {part!r} holds row {row}, but the table has rows 0 to {n_rows - 1}")
            if row in seen:
                raise InputError(f"split file {path} has row {row} twice, in {seen[row]!r} and in {part!r}")
            seen[row] = part
    return {part: np.sort(np.array(content[part], dtype=np.int64)) for part in PARTS}
