"""How data were read, in a few lines for the user to check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np

from graphattn.networks import FeatureEncoding
from graphattn.networks.features import TextColumn

_CLASSES = 12
_COLUMNS = 20


def about_values(name: str, values: Iterable[Any]) -> str:
    """The classes with the number of rows of each, or the range of numbers."""
    given = list(values)
    if all(isinstance(value, (float, np.floating)) for value in given):
        numbers = np.array(given)
        low, high, mean = (f"{value:.4g}" for value in (numbers.min(), numbers.max(), numbers.mean()))
        return f"{name}: {len(numbers):,} numbers from {low} to {high}, mean {mean}"
    counts = Counter(map(str, given)).most_common()
    shown = ", ".join(f"{label} {count:,}" for label, count in counts[:_CLASSES])
    return f"{name}: {len(counts):,} classes: {shown}" + (", …" if len(counts) > _CLASSES else "")


def about_features(encoding: FeatureEncoding | None, width: int) -> str:
    """How each feature was read."""
    if encoding is None:
        return f"features: {width:,} columns, ready made" if width else "features: none, structure alone"
    if encoding.kind == "none":
        return "features: none, structure alone"
    if encoding.kind == "ids":
        return f"features: lists of {len(encoding.vocabulary):,} feature ids, multi-hot"
    parts: list[str] = []
    for base, columns in groupby(encoding.columns, lambda column: _vector_of(column.name)):
        group = list(columns)
        if base is not None and len(group) > 1:
            parts.append(f"{base} vector of {len(group):,} numbers")
            continue
        for column in group:
            if isinstance(column, TextColumn):
                parts.append(f"{column.name} one-hot, {len(column.values):,} categories")
            else:
                parts.append(f"{column.name} number, mean {column.mean:.4g}, std {column.std:.4g}")
    more = f"; and {len(parts) - _COLUMNS:,} more columns" if len(parts) > _COLUMNS else ""
    return "features: " + "; ".join(parts[:_COLUMNS]) + more


def _vector_of(name: str) -> str | None:
    base, dot, place = name.rpartition(".")
    return base if dot and place.isdigit() else None
