"""`graphattn datasets`, and `--dataset` with a set that is to be fetched."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_cases import SMALL_MOLECULES, write_molecules

CARD = """
title = "Twenty-four small molecules"
job = "molecules"
task = "regression"
format = "table"
source = "download"
folder = "tiny"
description = "Alkanes, alcohols and amines."
home = "https://example.org/tiny"
licence = "CC0"
cite = "Nobody"
[label]
name = "a made-up scale"
units = "units"
[columns]
smiles = "smiles"
target = "logp"
[counts]
molecules = 24
[[files]]
role = "table"
name = "tiny.csv"
sha256 = "{sha256}"
bytes = {bytes}
url = "{url}"
"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable) -> Iterator[Callable]:
    """`graphattn` with a catalogue of one data set, `tiny`, on a server of this machine."""
    (tmp_path / "cards").mkdir()
    (tmp_path / "www").mkdir()
    write_molecules(tmp_path / "www")
    content = (tmp_path / "www" / "logp.csv").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/logp.csv"
    card = CARD.format(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), url=url)
    (tmp_path / "cards" / "tiny.toml").write_text(card)
    monkeypatch.setattr("graphattn.data.card.cards_folder", lambda: tmp_path / "cards")
    yield cli
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_list_names_every_data_set(cli: Callable) -> None:
    from graphattn.data import card_names

    lines = cli("datasets", "list").out.splitlines()
    entries = [line.split() for line in lines if not line.startswith(" ")]
    assert [entry[0] for entry in entries] == card_names()
    karate = next(entry for entry in entries if entry[0] == "karate")
    assert karate == ["karate", "nodes", "34", "nodes,", "78", "edges", "packaged"]
    assert "  Zachary's karate club (demo); BSD-3-Clause (networkx)" in lines


def test_the_list_says_where_a_data_set_is(tiny: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny("datasets", "list").out.splitlines()[0].endswith("to fetch")
    result = tiny("datasets", "fetch", "tiny")
    folder = tmp_path / "cache" / "datasets" / "tiny"
    assert (result.code, result.out.strip()) == (0, str(folder))
    assert (folder / "tiny.csv").read_bytes() == (tmp_path / "www" / "logp.csv").read_bytes()
    assert tiny("datasets", "list").out.splitlines()[0].endswith("cached")
    (tmp_path / "own" / "tiny").mkdir(parents=True)
    (tmp_path / "own" / "tiny" / "tiny.csv").write_bytes((folder / "tiny.csv").read_bytes())
    monkeypatch.setenv("GRAPHATTN_DATA", str(tmp_path / "own"))
    assert tiny("datasets", "list").out.splitlines()[0].endswith("GRAPHATTN_DATA")


def test_training_fetches_what_is_missing(tiny: Callable, tmp_path: Path) -> None:
    Path("small.toml").write_text(SMALL_MOLECULES)
    result = tiny("train", "molecules", "--dataset", "tiny", "--config", "small.toml", "--out", "run")
    assert result.code == 0, result.err
    assert "fetching tiny from https://example.org/tiny" in result.err
    assert (tmp_path / "cache" / "datasets" / "tiny" / "tiny.csv").exists()
    result = tiny("predict", "run", "--dataset", "tiny", "--out", "p.csv")
    assert result.code == 0, result.err
    assert "fetching" not in result.err
    assert "24 of 24 rows predicted" in result.err
    assert json.loads(tiny("evaluate", "run", "--dataset", "tiny").out)["rows"] == 24


def test_a_set_of_the_other_job_is_not_fetched(tiny: Callable, tmp_path: Path) -> None:
    result = tiny("train", "nodes", "--dataset", "tiny", "--out", "run")
    assert result.code == 2
    assert "is for molecules" in result.error
    assert not (tmp_path / "cache").exists()


def test_show_tells_all(tiny: Callable) -> None:
    text = tiny("datasets", "show", "tiny").out
    for part in (
        "Twenty-four",
        "Alkanes",
        "a made-up scale, in units",
        "24 molecules",
        "tiny.csv",
        "CC0",
        "Nobody",
        "to fetch",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("show", "karat"), "did you mean karate"),
        (("fetch", "karat"), "did you mean karate"),
        (("fetch", "karate"), "nothing to download"),
    ],
)
def test_wrong_names(args: tuple[str, ...], message: str, cli: Callable) -> None:
    result = cli("datasets", *args)
    assert result.code == 2
    assert message in result.error


def test_a_server_without_the_file(tiny: Callable, tmp_path: Path) -> None:
    (tmp_path / "www" / "logp.csv").unlink()
    result = tiny("datasets", "fetch", "tiny")
    assert result.code == 2
    assert "404" in result.error
