"""The cache folder, whole files, and the bound on their size."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from graphattn.cache import drop_oldest, user_cache, write_atomically


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "here"))
    assert user_cache() == tmp_path / "here"
    assert user_cache("molecules", "x") == tmp_path / "here" / "molecules" / "x"
    assert not (tmp_path / "here").exists()

    monkeypatch.setenv("GRAPHATTN_CACHE", "~/here")
    assert user_cache() == Path.home() / "here"

    monkeypatch.setenv("GRAPHATTN_CACHE", "")
    assert user_cache("a") == Path(platformdirs.user_cache_dir("graphattn", appauthor=False)) / "a"


def test_a_file_is_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"three")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(["a-1", "a-2", "a-3", "b-1"]):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (age, age))
    drop_oldest(tmp_path, "a-*", 15)
    assert len(list(tmp_path.iterdir())) == 4
    drop_oldest(tmp_path, "a-*", 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-3", "b-1"]
    drop_oldest(tmp_path, "a-*", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["b-1"]
