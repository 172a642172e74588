"""Columns by the names that people give them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from graphattn.errors import InputError

_SHOWN = 30


def find_column(columns: pd.DataFrame | Collection[str], name: str, path: object, notes: list[str] | None = None) -> str:
    """The name of a column as it stands in a table; white space, upper case and a `#` before it do not count if one fits.

    Args:
        columns: A frame, or the names of its columns.
        name: The column that is wanted.
        path: What messages call the table.
        notes: Gets a sentence where the name stands otherwise in the table.

    Raises:
        InputError: if there is none, or there are several; the message lists the columns there are.
    """
    there = _names(columns)
    found = [column for column in there if column == name] or [column for column in there if _folded(column) == _folded(name)]
    if not found or (not name.strip() and not there.count(name)):
        raise InputError(f"{path} has no column {name!r}; its columns are: {_listed(there)}")
    if len(found) > 1:
        which = f"{len(found)} columns {name!r}" if len(set(found)) == 1 else f"no column {name!r}, but {_listed(found)}"
        raise InputError(f"{path} has {which}; expected one, so rename the others")
    if found[0] != name and notes is not None:
        notes.append(f"column {found[0]!r} of {path} is taken for {name!r}")
    return found[0]


def find_columns(
    columns: pd.DataFrame | Collection[str], names: Sequence[str], path: object, notes: list[str] | None = None
) -> list[str]:
    """`find_column` for several."""
    return [find_column(columns, name, path, notes) for name in names]


def require_columns(table: pd.DataFrame | Collection[str], names: Collection[str], path: object) -> None:
    """Checks that a table has the columns that are about to be used, by exactly these names.

    Args:
        table: A frame, or the names of its columns.
        names: The columns that must be there.
        path: The file, for the message.

    Raises:
        InputError: if one is missing; the message lists the columns there are.
    """
    there = _names(table)
    for name in names:
        if name not in there:
            raise InputError(f"{path} has no column {name!r}; its columns are: {_listed(there)}")
        if there.count(name) > 1:
            raise InputError(f"{path} has {there.count(name)} columns {name!r}; expected one, so rename the others")


def _names(table: pd.DataFrame | Collection[str]) -> list[str]:
    return [str(column) for column in (table.columns if isinstance(table, pd.DataFrame) else table)]


def _folded(name: str) -> str:
    return name.strip().lstrip("#").strip().casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
