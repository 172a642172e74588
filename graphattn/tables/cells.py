"""What cells of text mean: missing values, numbers as people write them, labels."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphattn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# The markers of missing values that pandas' reader knows, R's NA among them, and WEKA's.
MISSING = frozenset(
    (
        *("NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NULL", "null", "None", "?"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
_NAN = frozenset(marker for marker in MISSING if marker.lower().strip("-") == "nan")
# A comma with digits on both sides, and not three of them behind it, which could be thousands.
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,(?!\d{3}(?!\d))\d+([eE][+-]?\d+)?")
# Between the labels of a cell that has several.
_SEVERAL = (";", "|", ",")
# From so many labels on, a column where most rows have one of their own names its rows.
_MANY = 20


def is_missing(text: str) -> bool:
    """Whether a cell without the white space around it is empty, or a marker of a missing value such as NA or NaN."""
    return not text or text in MISSING or text.lower() == "nan"


def numbers(column: Iterable[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Turns a column of text into numbers.

    White space around a number is fine, and a minus may be Unicode's. A comma is read as the decimal sign where every filled
    cell of the column that is no number otherwise has one, and no cell has a point: "1,5" and "2", but neither "1,5" and
    "2.5" nor "1,234".

    Args:
        column: The cells, text, [rows].

    Returns:
        The values, float64, [rows], NaN where a cell cannot be used; and how many cells those are, by reason: "empty",
        "missing" (NA and other markers), "not a number" (text) or "not finite" (nan, inf). Reasons that do not occur are left
        out.
    """
    texts = [cell.strip().replace("\N{MINUS SIGN}", "-") for cell in column]
    if has_decimal_commas(texts):
        texts = [text.replace(",", ".") for text in texts]
    values = np.full(len(texts), np.nan)
    unusable: Counter[str] = Counter()
    for i, text in enumerate(texts):
        value = _number(text)
        if value is not None and math.isfinite(value):
            values[i] = value
        elif not text:
            unusable["empty"] += 1
        elif value is not None or text in _NAN:
            unusable["not finite"] += 1
        else:
            unusable["missing" if text in MISSING else "not a number"] += 1
    return values, dict(unusable)


def _number(text: str) -> float | None:
    try:
        # float() reads "1_000", which no table means as a number.
        return float(text.replace("_", "?"))
    except ValueError:
        return None


def has_decimal_commas(column: Iterable[str]) -> bool:
    """Whether `numbers` reads the commas of a column as decimal signs."""
    texts = [cell.strip().replace("\N{MINUS SIGN}", "-") for cell in column]
    others = [text for text in texts if not is_missing(text) and _number(text) is None]
    return bool(others) and all(map(_DECIMAL_COMMA.fullmatch, others)) and not any("." in text for text in texts)


def about_numbers(column: Iterable[str], what: str) -> list[str]:
    """Sentences on what `numbers` reads otherwise than it stands in a column.

    Args:
        column: The cells, text, [rows].
        what: what messages call the column.
    """
    cells = list(column)
    notes = []
    if has_decimal_commas(cells):
        example = next(cell.strip() for cell in cells if "," in cell)
        notes.append(f"{what}: commas are read as decimal signs, as in {example!r}")
    signs = [cell.strip() for cell in cells if cell.strip().startswith("\N{MINUS SIGN}")]
    if signs:
        notes.append(f"{what}: {len(signs):,} cells have Unicode's minus sign, as {signs[0]!r}, which is read as '-'")
    return notes


def first_not_number(column: Iterable[str]) -> tuple[int, str] | None:
    """The first cell that `numbers` counts as "not a number": its row and its text; None where there is none."""
    cells = list(column)
    commas = has_decimal_commas(cells)
    for row, cell in enumerate(cells):
        text = cell.strip().replace("\N{MINUS SIGN}", "-")
        if not is_missing(text) and _number(text.replace(",", ".") if commas else text) is None:
            return row, cell.strip()
    return None


def with_missing(column: pd.Series, na_values: Sequence[str]) -> pd.Series:
    """A column of text with NA where a cell is one of some markers of missing values, but for white space."""
    if not na_values:
        return column
    return column.mask(column.str.strip().isin([value.strip() for value in na_values]), "NA")


def labels(column: Iterable[str], name: str, *, names_rows: bool = False) -> tuple[list[str | None], list[str]]:
    """Turns a column of text into class labels, without the white space around them.

    Labels that are equal as numbers, such as 1 and 1.0, are one class, under the spelling that occurs most.

    Args:
        column: The cells, text, [rows].
        name: what messages call the column.
        names_rows: whether a label of its own for most rows is no error.

    Returns:
        The label of each row, None where there is none (see `is_missing`); and sentences on what was merged, or looks as if it
        should be.

    Raises:
        InputError: where most rows have a label of their own, which names rows instead of classes.
    """
    texts = [cell.strip() for cell in column]
    found = [None if is_missing(text) else text for text in texts]
    counts = Counter(text for text in found if text is not None)
    total = counts.total()
    if not names_rows and total >= _MANY and len(counts) > total / 2:
        examples = ", ".join(repr(text) for text in list(counts)[:3])
        hint = "; for numbers use --task regression" if _number(next(iter(counts))) is not None else ""
        raise InputError(f"{name} has {len(counts):,} different labels in {total:,} rows, such as {examples}: no classes{hint}")
    notes = []
    spellings = _alike(counts, _number)
    merged = {text: max(same, key=lambda one: (counts[one], -len(one))) for same in spellings for text in same}
    if merged:
        notes.append(f"{name}: labels that are equal as numbers are one class: {_listed(spellings)}")
    folded = _alike(counts, lambda text: text.casefold() if _number(text) is None else None)
    if folded:
        notes.append(f"{name}: labels that differ by upper and lower case alone are different classes: {_listed(folded)}")
    several = _with_several(found)
    if several:
        notes.append(
            f"{name}: {len(several):,} of {total:,} cells seem to hold several labels, such as {several[0]!r}; as a row has "
            "one label, each combination is a class of its own"
        )
    return [None if text is None else merged.get(text, text) for text in found], notes


def _with_several(found: list[str | None]) -> list[str]:
    """The cells that hold several labels, where most do: lists, or labels between marks that also stand by themselves or in
    other combinations."""
    filled = [text for text in found if text is not None]
    lists = [text for text in filled if text[0] + text[-1] in ("[]", "{}", "()") and len(text) > 2]
    if 2 * len(lists) > len(filled):
        return lists
    for mark in _SEVERAL:
        several = [text for text in filled if mark in text.strip(mark)]
        combinations = {text: {part.strip() for part in text.split(mark)} for text in set(filled)}
        places = Counter(part for parts in combinations.values() for part in parts)
        if 2 * len(several) > len(filled) and all(any(places[part] > 1 for part in combinations[text]) for text in several):
            return several
    return []


def meaning(label: object) -> object:
    """What a label is as a number; itself where it is none."""
    value = _number(str(label))
    return label if value is None else value


def _alike(counts: Counter[str], key_of: Callable[[str], object]) -> list[list[str]]:
    """The labels that mean the same but are written in several ways."""
    groups: dict[object, list[str]] = defaultdict(list)
    for text in counts:
        key = key_of(text)
        if key is not None:
            groups[key].append(text)
    return [group for group in groups.values() if len(group) > 1]


def _listed(groups: list[list[str]]) -> str:
    shown = "; ".join(" and ".join(group[:4]) for group in groups[:3])
    return shown + (f"; and {len(groups) - 3:,} more" if len(groups) > 3 else "")
