"""Downloads against a server on this machine: broken, stubborn, lying and absent ones."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from graphattn.data import dataset_folder, fetch
from graphattn.errors import InputError

CONTENT = bytes(range(256)) * 2048


class Server(ThreadingHTTPServer):
    """Serves `files`; cuts the first `cuts` answers half way; counts what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/set.csv": CONTENT}
        self.cuts = 0
        self.stalls = 0
        self.busy = 0
        self.sends_length = True
        self.asked = 0
        self.encodings: list[str | None] = []
        self.release = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked += 1
        server.encodings.append(self.headers.get("Accept-Encoding"))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        if server.busy:
            server.busy -= 1
            return self.send_error(503)
        self.send_response(200)
        if server.sends_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        rest = content
        if server.cuts:
            server.cuts -= 1
            rest = rest[: len(rest) // 2]
        if server.stalls:
            server.stalls -= 1
            self.wfile.write(rest[: len(rest) // 2])
            server.release.wait(5)
            return None
        self.wfile.write(rest)
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


Entry = Callable[..., None]


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """Writes a card `set` with the given files; the cache and the cards lie in `tmp_path`."""
    (tmp_path / "cards").mkdir()
    monkeypatch.setattr("graphattn.data.card.cards_folder", lambda: tmp_path / "cards")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHATTN_DATA", raising=False)

    def write(*files: dict[str, object]) -> None:
        text = (
            'title = "t"\njob = "molecules"\ntask = "regression"\nformat = "table"\nsource = "download"\n'
            'folder = "own"\ndescription = "d"\nhome = "https://example.org"\nlicence = "l"\ncite = "c"\n'
            '[label]\nname = "n"\n[columns]\nsmiles = "s"\ntarget = "t"\n[counts]\nmolecules = 1\n'
        )
        for entry in files:
            text += "[[files]]\n" + "".join(f"{key} = {value!r}\n" for key, value in entry.items())
        (tmp_path / "cards" / "set.toml").write_text(text)

    return write


def entry(url: str | None, content: bytes = CONTENT, **more: object) -> dict[str, object]:
    values = {"role": "table", "name": "set.csv", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {**values, **({"url": url} if url else {}), **more}


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_arrives_once_with_progress(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv", name="sub/set.csv"))
    seen: list[tuple[str, int, int | None]] = []
    folder = fetch("set", progress=lambda *step: seen.append(step))
    assert folder == tmp_path / "cache" / "datasets" / "set"
    assert names(folder) == ["sub/set.csv"]
    assert (folder / "sub" / "set.csv").read_bytes() == CONTENT
    assert seen[-1] == ("sub/set.csv", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert fetch("set") == folder
    assert server.asked == 1  # the second call asked for nothing
    assert server.encodings == ["identity"]  # the card's size counts the bytes on the wire


def test_a_damaged_file_is_fetched_again(server: Server, card: Entry) -> None:
    card(entry(f"{server.url}/set.csv"))
    path = fetch("set") / "set.csv"
    path.write_bytes(CONTENT[:-1] + b"x")
    fetch("set")
    assert path.read_bytes() == CONTENT


def test_cut_connections_are_tried_again(server: Server, card: Entry) -> None:
    card(entry(f"{server.url}/set.csv"))
    server.cuts = 2
    assert (fetch("set") / "set.csv").read_bytes() == CONTENT
    assert server.asked == 3


def test_a_server_that_stalls_is_asked_again(server: Server, card: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    card(entry(f"{server.url}/set.csv"))
    monkeypatch.setattr("graphattn.data.download.TIMEOUT", (1.0, 0.1))
    server.stalls = 1
    assert (fetch("set") / "set.csv").read_bytes() == CONTENT
    assert server.asked == 2
    server.stalls = 4
    (fetch("set") / "set.csv").unlink()
    with pytest.raises(InputError, match="the server did not answer in time"):
        fetch("set")


def test_a_cut_without_a_length_is_noticed(server: Server, card: Entry) -> None:
    card(entry(f"{server.url}/set.csv"))
    server.cuts, server.sends_length = 1, False
    assert (fetch("set") / "set.csv").read_bytes() == CONTENT
    assert server.asked == 2


def test_interrupted_leaves_nothing(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv"))
    server.cuts = 1000
    with pytest.raises(InputError, match=r"cannot download http.*the connection broke.*try again$") as caught:
        fetch("set")
    assert str(caught.value).count("\n") == 0
    assert server.asked == 4
    assert names(tmp_path / "cache") == []


def test_stopped_by_the_user_leaves_nothing(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("set", progress=stop)
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_file_larger_than_its_card_says_is_stopped(server: Server, card: Entry, tmp_path: Path, sends_length: bool) -> None:
    """Not much more than the size is ever read."""
    server.files["/set.csv"], server.sends_length = CONTENT * 50, sends_length
    card(entry(f"{server.url}/set.csv"))
    seen: list[int] = []
    with pytest.raises(InputError, match=rf"cannot download .*/set.csv: it has more than the {len(CONTENT):,} bytes expected$"):
        fetch("set", progress=lambda name, done, total: seen.append(done))
    assert max(seen, default=0) <= len(CONTENT)
    assert server.asked == 1
    assert names(tmp_path / "cache") == []


def test_an_archive_has_a_limit(server: Server, card: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphattn.data.download.MOST_ARCHIVE_BYTES", 1000)
    card(entry(f"{server.url}/set.csv", member="a/set.csv"))
    with pytest.raises(InputError, match="it has more than the 1,000 bytes expected"):
        fetch("set")


def test_a_file_that_takes_too_long_is_stopped(server: Server, card: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphattn.data.download.MOST_SECONDS", 0.0)
    card(entry(f"{server.url}/set.csv"))
    with pytest.raises(InputError, match="it takes more than the 0 seconds allowed"):
        fetch("set")


def test_a_wrong_sum_is_refused_and_deleted(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv", content=b"x" * len(CONTENT)))
    expected, got = (hashlib.sha256(c).hexdigest() for c in (b"x" * len(CONTENT), CONTENT))
    with pytest.raises(InputError, match=f"wrong SHA-256: expected {expected}, got {got}"):
        fetch("set")
    assert names(tmp_path / "cache") == []


def test_not_found_names_the_address_and_is_not_repeated(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/gone.csv"))
    with pytest.raises(InputError, match=rf"cannot download {server.url}/gone.csv: the server answered 404"):
        fetch("set")
    assert server.asked == 1
    assert names(tmp_path / "cache") == []


def test_a_busy_server_is_asked_again(server: Server, card: Entry) -> None:
    card(entry(f"{server.url}/set.csv"))
    server.busy = 3
    assert (fetch("set") / "set.csv").read_bytes() == CONTENT
    server.busy = 4
    (fetch("set") / "set.csv").unlink()
    with pytest.raises(InputError, match="the server answered 503"):
        fetch("set")


def test_no_connection(server: Server, card: Entry, tmp_path: Path) -> None:
    with Server() as closed:
        url = f"{closed.url}/set.csv"
    card(entry(url))
    with pytest.raises(InputError, match=r"the server cannot be reached .*check the connection"):
        fetch("set")
    assert names(tmp_path / "cache") == []


def test_members_of_an_archive(server: Server, card: Entry) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/set.csv", CONTENT)
        archive.writestr("a/split.json", b"{}")
    server.files["/all.zip"] = packed.getvalue()
    url = f"{server.url}/all.zip"
    card(entry(url, member="a/set.csv"), entry(url, b"{}", role="split", name="split.json", member="a/split.json"))
    server.cuts = 1
    folder = fetch("set")
    assert names(folder) == ["set.csv", "split.json"]
    assert (folder / "set.csv").read_bytes() == CONTENT
    assert server.asked == 2  # one download, tried twice


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [("a/none.csv", CONTENT, "is not the one its card describes"), ("a/set.csv", b"x" * len(CONTENT), "wrong SHA-256")],
)
def test_an_archive_with_other_content(
    server: Server, card: Entry, tmp_path: Path, member: str, content: bytes, message: str
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/set.csv", CONTENT)
    server.files["/all.zip"] = packed.getvalue()
    card(entry(f"{server.url}/all.zip", content, member=member))
    with pytest.raises(InputError, match=message):
        fetch("set")
    assert names(tmp_path / "cache") == []


def test_a_member_larger_than_its_card_says_is_not_unpacked(server: Server, card: Entry, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/set.csv", bytes(10**6))
    server.files["/all.zip"] = packed.getvalue()
    card(entry(f"{server.url}/all.zip", b"five!", member="a/set.csv"))
    with pytest.raises(InputError, match=r"a/set.csv in .*all.zip has 1,000,000 bytes, more than the 5 expected$"):
        fetch("set")
    assert names(tmp_path / "cache") == []


def test_not_an_archive(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv", member="a/set.csv"))
    with pytest.raises(InputError, match="is not the one its card describes: File is not a zip file"):
        fetch("set")
    assert names(tmp_path / "cache") == []


def test_no_address_says_where_to_get_it_before_anything_is_fetched(server: Server, card: Entry, tmp_path: Path) -> None:
    split = entry(f"{server.url}/set.csv", role="split", name="split.json")
    card(entry(None), split)
    with pytest.raises(InputError, match=r"no direct download for set.csv: get it from https://example.org and put it"):
        fetch("set")
    assert server.asked == 0
    (tmp_path / "cache" / "datasets" / "set").mkdir(parents=True)
    (tmp_path / "cache" / "datasets" / "set" / "set.csv").write_bytes(b"put here by hand")
    assert names(fetch("set")) == ["set.csv", "split.json"]


def test_a_split_without_an_address_is_left_out(server: Server, card: Entry) -> None:
    card(entry(f"{server.url}/set.csv"), entry(None, role="split", name="split.json"))
    assert names(fetch("set")) == ["set.csv"]


def test_a_cache_that_cannot_be_written(server: Server, card: Entry, tmp_path: Path) -> None:
    card(entry(f"{server.url}/set.csv"))
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot write to the cache folder .*set GRAPHATTN_CACHE"):
        fetch("set")


def test_own_data_come_before_the_cache_and_the_net(
    server: Server, card: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(entry(f"{server.url}/set.csv"))
    monkeypatch.setenv("GRAPHATTN_DATA", str(tmp_path / "mine"))
    cached = dataset_folder("set")  # not in GRAPHATTN_DATA: downloaded
    assert cached == tmp_path / "cache" / "datasets" / "set"
    assert dataset_folder("set") == cached
    assert server.asked == 1
    (tmp_path / "mine" / "own").mkdir(parents=True)
    (tmp_path / "mine" / "own" / "set.csv").write_bytes(b"mine")
    assert dataset_folder("set") == tmp_path / "mine" / "own"


def test_a_packaged_set_has_nothing_to_download() -> None:
    with pytest.raises(InputError, match="'karate' ships inside an installed package"):
        fetch("karate")
