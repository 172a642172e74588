"""Delimited text files: read as text, and what their cells mean."""

from graphattn.tables.cells import has_decimal_commas, is_missing, labels, meaning, numbers
from graphattn.tables.read import iter_table, open_text, read_table, require_columns

__all__ = [
    "has_decimal_commas",
    "is_missing",
    "iter_table",
    "labels",
    "meaning",
    "numbers",
    "open_text",
    "read_table",
    "require_columns",
]
