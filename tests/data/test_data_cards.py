"""The cards of the catalogue are valid, true to the real files, and wrong ones are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from graphattn.data import Card, card_names, load_card
from graphattn.errors import InputError

NAMES = [
    "amazon_photo", "aqsoldb", "b3db", "citeseer", "coauthor_cs", "cora", "esol", "facebook_page_page", "freesolv",
    "github_social", "karate", "lipophilicity", "logd_chembl29", "logp_physprop_opera", "minesweeper", "nci_crippen", "pubmed",
    "tolokers", "twitch_de", "twitch_engb",
]  # fmt: skip

# The real copy lacks the column of names, which its README says; the card has the sum of the public file.
DIFFERS = {("github_social", "musae_git_target.csv")}

VALID = """
title = "Three rings"
job = "molecules"
task = "regression"
format = "table"
source = "download"
folder = "rings"
description = "Rings."
home = "https://example.org"
licence = "MIT"
cite = "Nobody, 2024."

[label]
name = "size"

[columns]
smiles = "smiles"
target = "size"

[counts]
molecules = 3

[[files]]
role = "table"
name = "rings.csv"
sha256 = "{sum}"
bytes = 10
url = "https://example.org/rings.csv"
""".replace("{sum}", "0" * 64)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of cards in place of the real one."""
    monkeypatch.setattr("graphattn.data.card.cards_folder", lambda: tmp_path)
    return tmp_path


def test_the_catalogue_holds_these_sets() -> None:
    assert card_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_card_is_valid(name: str) -> None:
    card = load_card(name)
    assert isinstance(card, Card)
    assert card.name == name
    assert all([card.title, card.description, card.licence, card.cite, card.notes])
    assert bool(card.files) == (card.source == "download")


@pytest.mark.parametrize("name", NAMES)
def test_sums_are_those_of_the_real_files(name: str, real_data: Path) -> None:
    card = load_card(name)
    for file in card.files:
        path = real_data / card.folder / file.name
        assert path.is_file()
        if (name, file.name) not in DIFFERS:
            content = path.read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)


def test_only_files_with_no_public_copy_lack_an_address() -> None:
    lacking = {(name, file.name) for name in NAMES for file in load_card(name).required_files if file.url is None}
    assert lacking == {("b3db", "b3db.csv"), ("logd_chembl29", "logd.csv"), ("logp_physprop_opera", "logp.csv")}


def test_the_demo_label_is_said_to_be_computed() -> None:
    card = load_card("nci_crippen")
    assert "computed by rdkit" in card.label["name"]
    assert "COMPUTED" in card.notes


@pytest.mark.parametrize(
    ("wrong", "near"), [("lipophilicty", "lipophilicity"), ("Cora", "cora"), ("facebook", "facebook_page_page")]
)
def test_an_unknown_name_suggests_the_near_one(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"no data set '{wrong}'; did you mean .*{near}"):
        load_card(wrong)


def test_a_name_near_to_nothing_lists_all() -> None:
    with pytest.raises(InputError, match=r"there are amazon_photo, aqsoldb, .*twitch_engb"):
        load_card("zzzzzz")


def test_a_name_is_never_a_path(cards: Path) -> None:
    (cards / "rings.toml").write_text(VALID)
    with pytest.raises(InputError, match="no data set"):
        load_card(f"../{cards.name}/rings")


def test_a_minimal_card_loads(cards: Path) -> None:
    (cards / "rings.toml").write_text(VALID)
    card = load_card("rings")
    assert card.file("table").name == "rings.csv"
    assert card.columns == {"smiles": "smiles", "target": "size"}
    assert card.split is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('job = "molecules"', 'job = "molecule"', "job is 'molecule', expected one of molecules, nodes"),
        ('format = "table"', 'format = "excel"', "format is 'excel'"),
        ('licence = "MIT"', "", r"missing keys \['licence'\]"),
        ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', r"unknown keys \['license'\]"),
        ('home = "https:', 'home = "ftp:', "expected an https address"),
        ('target = "size"', "", r"columns lacks \['target'\]"),
        ("molecules = 3", "nodes = 3", "counts lacks the number of items"),
        ('folder = "rings"', "", "folder is empty"),
        ('role = "table"', 'role = "nodes"', r"files have roles \['nodes'\]"),
        ('source = "download"', 'source = "package"', "has no files"),
        ('name = "rings.csv"', 'name = "../rings.csv"', "has a name that is not valid"),
        ('name = "rings.csv"', 'name = "/rings.csv"', "has a name that is not valid"),
        ("0" * 64, "0" * 63, "has a sha256 that is not valid"),
        ("bytes = 10", "bytes = 0", "has a bytes that is not valid"),
        ("bytes = 10", "", "has missing or unknown keys"),
        ('url = "https:', 'url = "file:', "has a url that is not valid"),
        ('url = "https://example.org/rings.csv"', 'member = "rings.csv"', "has a member that is not valid"),
        ("[counts]", '[split]\nfile = "no.json"\n[counts]', "split file 'no.json' is not a file"),
        ("[label]", "[label", "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused(cards: Path, old: str, new: str, message: str) -> None:
    assert old in VALID
    (cards / "rings.toml").write_text(VALID.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_card("rings")
