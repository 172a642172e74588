"""Cards: what is known of each data set of the catalogue, read from one TOML file a set."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from graphattn.errors import InputError

JOBS = ("molecules", "nodes")
TASKS = ("regression", "classification")
SOURCES = ("download", "package")

# The roles of the files that each format is made of, and the columns that it names.
FORMATS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "table": (("table",), ("smiles", "target")),
    "edges": (("edges", "nodes", "features"), ("id", "label", "source", "target")),
    "planetoid": (("raw",), ()),
    "sparse_npz": (("graph",), ()),
    "npz": (("graph",), ()),
    "karate": ((), ("label",)),
}


@dataclass(frozen=True)
class CardFile:
    """One file of a data set.

    Args:
        role: What it is to the format: `table`, `edges`, `nodes`, `features`, `raw`, `graph`; or `split`, a file with
            row numbers that the data loads without.
        name: Path in the data set's folder, with `/`.
        sha256: Its checksum, in hexadecimal.
        bytes: Its size.
        url: The public address of this very file, or of the zip archive that holds it; None where there is none.
        member: Its path inside that archive; None where `url` is the file itself.
    """

    role: str
    name: str
    sha256: str
    bytes: int
    url: str | None = None
    member: str | None = None


@dataclass(frozen=True)
class Card:
    """What is known of one data set: the content of `datasets/<name>.toml`.

    Args:
        name: The name that `--dataset` takes.
        title: One line.
        job: `molecules` (one value a molecule) or `nodes` (one label a node).
        task: `regression` or `classification`.
        format: How the files are read; a key of `FORMATS`.
        source: `download`, or `package` where the data ships inside an installed package.
        description: What the data is.
        home: Public address of the project or paper.
        licence: Licence of the data.
        cite: How to cite it.
        label: `name` of what is predicted; `units`, and names of `classes` in order, where there are any.
        counts: `molecules`; or `nodes`, `edges` (undirected, or `directed_edges`), `features`, `classes`.
        folder: Folder under `GRAPHATTN_DATA` that holds the files.
        columns: Names of the columns that matter.
        split: The standard split, if there is one. Its `kind` says what it holds: `scaffold` or `rows` (row numbers),
            `ids` (ids of nodes), `masks` or `public` (inside the graph's own files); `file` where it lies, `index` which
            of several it is; `about` is a description.
        files: The files.
        notes: What a user must know before using it.
    """

    name: str
    title: str
    job: str
    task: str
    format: str
    source: str
    description: str
    home: str
    licence: str
    cite: str
    label: Mapping[str, Any]
    counts: Mapping[str, int]
    folder: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, Any] | None = None
    files: tuple[CardFile, ...] = ()
    notes: str = ""

    def file(self, role: str) -> CardFile:
        """The first file of that role."""
        return next(file for file in self.files if file.role == role)

    @property
    def required_files(self) -> tuple[CardFile, ...]:
        """The files that the data cannot be loaded without."""
        return tuple(file for file in self.files if file.role != "split")


def cards_folder() -> Path:
    """The folder of cards: inside the installed package, or `datasets/` of the checkout it is installed from."""
    packaged = Path(__file__).parent / "cards"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "datasets"


def card_names() -> list[str]:
    """The names of all data sets, sorted."""
    return sorted(path.stem for path in cards_folder().glob("*.toml"))


def load_card(name: str) -> Card:
    """Reads and checks one card.

    Args:
        name: One of `card_names()`.

    Raises:
        InputError: There is no such card (the message suggests near names), or its content is not valid.
    """
    known = card_names()
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"there is no data set {name!r}; {hint}")
    path = cards_folder() / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"card {path} is not valid TOML: {error}") from error
    return _checked(name, content)


def _checked(name: str, content: dict[str, Any]) -> Card:
    def require(condition: bool, message: str) -> None:
        if not condition:
            raise InputError(f"card {name!r}: {message}")

    known = {f.name for f in fields(Card)} - {"name"}
    needed = known - {"folder", "columns", "split", "files", "notes"}
    require(not content.keys() - known, f"unknown keys {sorted(content.keys() - known)}, expected {sorted(known)}")
    require(not needed - content.keys(), f"missing keys {sorted(needed - content.keys())}")
    files = tuple(_file(name, entry) for entry in content.get("files", ()))
    card = Card(name=name, **{**content, "files": files})

    for key, allowed in (("job", JOBS), ("task", TASKS), ("source", SOURCES), ("format", tuple(FORMATS))):
        value = getattr(card, key)
        require(value in allowed, f"{key} is {value!r}, expected one of {', '.join(allowed)}")
    require(card.home.startswith("https://"), f"home is {card.home!r}, expected an https address")
    require("name" in card.label, "label has no name")
    require(("molecules" if card.job == "molecules" else "nodes") in card.counts, "counts lacks the number of items")
    roles, columns = FORMATS[card.format]
    lacking = set(columns) - card.columns.keys()
    require(not lacking, f"columns lacks {sorted(lacking)}")
    if card.source == "package":
        require(not files, "a data set that ships inside a package has no files")
        return card
    present = {file.role for file in files}
    require(bool(card.folder), "folder is empty")
    require(set(roles) <= present <= {*roles, "split"}, f"files have roles {sorted(present)}, expected {list(roles)}")
    require(len({file.name for file in files}) == len(files), "two files have the same name")
    split_file = card.split.get("file") if card.split else None
    require(split_file is None or split_file in {f.name for f in files}, f"split file {split_file!r} is not a file")
    return card


def _file(card: str, entry: dict[str, Any]) -> CardFile:
    try:
        file = CardFile(**entry)
    except TypeError as error:
        raise InputError(f"card {card!r}: file entry {entry!r} has missing or unknown keys: {error}") from error
    path = PurePosixPath(file.name)
    sum_is_valid = len(file.sha256) == 64 and set(file.sha256) <= set("0123456789abcdef")
    for valid, message in (
        # A card must never write outside the data set's own folder.
        (path.parts and not path.is_absolute() and ".." not in path.parts and "\\" not in file.name, "name"),
        (sum_is_valid, "sha256"),
        (file.bytes > 0, "bytes"),
        (file.url is None or file.url.startswith(("https://", "http://")), "url"),
        (file.member is None or file.url is not None, "member"),
    ):
        if not valid:
            raise InputError(f"card {card!r}: file {file.name!r} has a {message} that is not valid")
    return file
