from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
import torch

from graphattn.errors import InputError
from graphattn.train import load_checkpoint, save_checkpoint


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a checkpoint was unpickled')",))


def test_round_trip(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 3, "weights": {"a": torch.arange(3.0)}, "history": [{"loss": 0.5}]})
    state = load_checkpoint(path)
    assert state["epoch"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(3.0))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Bomb())])
def test_a_foreign_file_is_refused_and_never_run(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged"):
        load_checkpoint(path)


def test_what_is_no_dictionary_is_refused(tmp_path):
    save_checkpoint(tmp_path / "list.pt", [1, 2])
    with pytest.raises(InputError, match="holds a list, no checkpoint of graphattn; --overwrite starts again"):
        load_checkpoint(tmp_path / "list.pt")


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: .*state\.pt") as caught:
        save_checkpoint(tmp_path / "state.pt", {"epoch": 1})
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_pickled_object_inside_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"epoch": Bomb()}, path)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)
