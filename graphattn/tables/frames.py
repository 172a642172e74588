"""Frames of any cells as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd


def cell_text(value: Any) -> str:
    """A cell as a delimited file would have it: nothing for what is missing, 1 for 1.0, the date for a day."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def frame_of(columns: Sequence[Sequence[Any]], names: Sequence[str], start: int) -> pd.DataFrame:
    """A table of text of its columns, whose names may be there twice; rows are numbered from `start`."""
    frame = pd.DataFrame({number: list(map(cell_text, column)) for number, column in enumerate(columns)}, dtype=str)
    frame.columns = pd.Index(list(names), dtype=str)
    frame.index = pd.RangeIndex(start, start + len(frame))
    return frame


def text_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame as a table of text, as reading it from a file would give it; its index is left out.

    A float without a fraction is written as a whole number, as pandas makes floats of whole numbers where one is missing.
    """
    columns = [frame.iloc[:, place].tolist() for place in range(frame.shape[1])]
    return frame_of(columns, [str(name) for name in frame.columns], 0)
