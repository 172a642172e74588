"""Files as tables of text, and what their cells mean."""

from graphattn.tables.cells import (
    about_numbers,
    first_not_number,
    has_decimal_commas,
    is_missing,
    labels,
    meaning,
    numbers,
    with_missing,
)
from graphattn.tables.columns import find_column, find_columns, require_columns
from graphattn.tables.frames import text_frame
from graphattn.tables.open import name_of, open_binary, open_text, text_of
from graphattn.tables.read import iter_table, line_of_row, read_table

__all__ = [
    "about_numbers",
    "find_column",
    "find_columns",
    "first_not_number",
    "has_decimal_commas",
    "is_missing",
    "iter_table",
    "labels",
    "line_of_row",
    "meaning",
    "name_of",
    "numbers",
    "open_binary",
    "open_text",
    "read_table",
    "require_columns",
    "text_frame",
    "text_of",
    "with_missing",
]
