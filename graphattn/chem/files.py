"""Files of molecules as tables of text: delimited files, and SMILES (.smi) and SDF files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path, PurePath
from typing import TextIO

import pandas as pd
from rdkit import Chem, rdBase

from graphattn.errors import InputError
from graphattn.tables import iter_table, name_of, open_binary, text_of
from graphattn.tables.open import MOST_IN_LINE

_ROWS = 1 << 16
_SMILES_FILES = (".smi", ".smiles", ".ism", ".can")
_SDF = (".sdf", ".sd", ".mol")
_COMPRESSION = (".gz", ".bz2", ".xz", ".zip")
_PROPERTY = re.compile(r">.*?<(.+)>")
# Of a molecule in an SDF file: more than RDKit reads of one, and what is held at a time.
_MOST_LINES = 1_000_000
_STRUCTURE, _TITLE = "smiles", "name"


def read_molecules(path: str | Path, notes: list[str] | None = None) -> pd.DataFrame:
    """Reads a whole file; see `iter_molecules`."""
    chunks = list(iter_molecules(path, _ROWS, notes))
    return pd.concat(chunks) if len(chunks) > 1 else chunks[0]


def iter_molecules(path: str | Path, rows: int, notes: list[str] | None = None) -> Iterator[pd.DataFrame]:
    """Reads a file of molecules in chunks, as `graphattn.tables.iter_table` reads tables.

    Which format it has is what its name ends with:

    * `.smi`, `.smiles`: a SMILES a line, then white space and a name. The columns are `smiles` and `name`, unless a first line
      names them.
    * `.sdf`, `.sd`, `.mol`: the columns are `smiles`, which RDKit writes for the structure, `name`, which is the title, and the
      properties.
    * anything else: a table.

    Args:
        path: The file; `-` is a table on standard input.
        rows: The greatest number of rows in a chunk.
        notes: Gets sentences on what was found.

    Raises:
        InputError: where the file cannot be read, or holds something else.
    """
    notes = [] if notes is None else notes
    ending = _ending(path)
    if ending in _SDF:
        return _sdf(path, rows, notes)
    return _smi(path, rows, notes) if ending in _SMILES_FILES else iter_table(path, rows, notes=notes)


def _ending(path: str | Path) -> str:
    name = PurePath(path)
    return (PurePath(name.stem) if name.suffix.lower() in _COMPRESSION else name).suffix.lower()


def is_table(path: str | Path) -> bool:
    """Whether a file is read as a table, whose columns have whatever names."""
    return _ending(path) not in (*_SDF, *_SMILES_FILES)


def _smi(path: str | Path, rows: int, notes: list[str]) -> Iterator[pd.DataFrame]:
    found: list[str] = []
    with open_binary(path) as binary:
        file = text_of(binary, path, found, most_in_line=MOST_IN_LINE)
        lines = iter(file)
        first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        # No SMILES has the word in it, as there is no element M.
        header = first if "smiles" in first.casefold() else None
        if header is None or not any(mark in header for mark in ",;\t"):
            yield from _lines(lines if header is not None else chain([first], lines), header, rows, name_of(path), found)
            notes += found
            return
    yield from iter_table(path, rows, notes=notes)


def _lines(lines: Iterable[str], header: str | None, rows: int, name: str, notes: list[str]) -> Iterator[pd.DataFrame]:
    """The rows of a SMILES file: cells between white space, the last of which may hold white space."""
    columns = [_STRUCTURE, _TITLE] if header is None else header.split()
    if header is None:
        notes.append(f"{name} names no columns; they are taken for {_STRUCTURE!r} and {_TITLE!r}")
    comments = 0

    def cells() -> Iterator[list[str]]:
        nonlocal comments
        for line in lines:
            if line.startswith("#"):
                comments += 1
            elif line.strip():
                parts = line.strip().split(maxsplit=len(columns) - 1)
                if len(parts) > 1 and parts[1].startswith("|"):  # an extension of the SMILES, which may have a name in it
                    parts = [line.strip()]
                yield [*parts, *[""] * (len(columns) - len(parts))]

    yield from _frames(cells(), columns, rows)
    if comments:
        notes.append(f"{comments:,} lines of {name} that begin with # are comments, and were skipped")


def _sdf(path: str | Path, rows: int, notes: list[str]) -> Iterator[pd.DataFrame]:
    name = name_of(path)
    properties: dict[str, None] = {}
    molecules = 0
    # Twice, as the columns are those of all molecules.
    with open_binary(path) as binary:
        for record in _records(text_of(binary, path, notes, most_in_line=MOST_IN_LINE), name):
            molecules += any(line.startswith("M  END") for line in record)
            properties |= dict.fromkeys(_properties(record))
    if not molecules:
        raise InputError(f"{name} is no SDF file: it has no line 'M  END', with which the structure of a molecule ends")
    taken = {_STRUCTURE, _TITLE}
    columns = [_STRUCTURE, _TITLE, *(f"{one} (property)" if one in taken else one for one in properties)]
    if len({*columns}) < len(columns):
        raise InputError(f"{name} has properties of one name: {', '.join(map(repr, properties))}")
    if taken & properties.keys():
        notes.append(f"{name} has properties named {_STRUCTURE!r} or {_TITLE!r}; their columns end with (property)")
    bad: list[str] = []

    def cells() -> Iterator[list[str]]:
        with open_binary(path) as binary:
            for number, record in enumerate(_records(text_of(binary, path, most_in_line=MOST_IN_LINE), name), 1):
                smiles = _smiles(record)
                if not smiles:
                    bad.append(f"molecule {number}, {record[0].strip()!r}")
                found = _properties(record)
                yield [smiles, record[0].strip(), *(found.get(one, "") for one in properties)]

    yield from _frames(cells(), columns, rows)
    if bad:
        notes.append(f"{len(bad):,} structures of {name} cannot be read, so that their SMILES is empty, such as {bad[0]}")


def _records(file: TextIO, name: str) -> Iterator[list[str]]:
    """The lines of each molecule."""
    record: list[str] = []
    for line in file:
        if line.startswith("$$$$"):
            yield record or [""]
            record = []
            continue
        record.append(line.rstrip("\r\n"))
        if len(record) > _MOST_LINES:
            most = f"{_MOST_LINES:,}"
            raise InputError(f"{name} has more than {most} lines without '$$$$', the end of a molecule; expected an SDF file")
    # The last, or the only one, may lack the mark of its end.
    if any(line.startswith("M  END") for line in record):
        yield record


def _smiles(record: list[str]) -> str:
    """The SMILES of a structure; empty where there is none to read."""
    block = "\n".join(record)
    with rdBase.BlockLogs():
        try:
            # Where it cannot be as it is written, the SMILES says so once more where it is read.
            mol = Chem.MolFromMolBlock(block) or Chem.MolFromMolBlock(block, sanitize=False)
            return "" if mol is None or mol.GetNumAtoms() == 0 else str(Chem.MolToSmiles(mol))
        except Exception:  # RDKit has errors of many kinds, and each is this molecule's alone
            return ""


def _properties(record: list[str]) -> dict[str, str]:
    """The properties behind a structure: a line `> <NAME>`, then lines up to an empty one."""
    found: dict[str, str] = {}
    lines = iter(record)
    for line in lines:
        name = _PROPERTY.match(line)
        if name is not None:
            value: list[str] = []
            for text in lines:
                if not text.strip():
                    break
                value.append(text)
            found[name[1]] = "\n".join(value)
    return found


def _frames(cells: Iterator[list[str]], columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
    start = 0
    while (chunk := list(islice(cells, rows))) or start == 0:
        frame = pd.DataFrame(chunk, columns=range(len(columns)), dtype=str)
        frame.columns = pd.Index(columns, dtype=str)
        frame.index = pd.RangeIndex(start, start + len(chunk))
        yield frame
        if len(chunk) < rows:
            return
        start += len(chunk)
