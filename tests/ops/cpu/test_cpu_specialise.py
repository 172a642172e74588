"""Kernels are compiled once, kept where only the user writes, and a bad cache never stops the work."""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from graphattn.ops.cpu import specialise, store, threads

TEMPLATE = """
from graphattn.ops.cpu.simd import load_index, store_index

def double(arguments):
    store_index(arguments, FACTOR * load_index(arguments, 64), 64)
"""
KERNEL = specialise.Kernel(("tiny",), "double", (("FACTOR", 2),))


def forget_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process would begin."""
    for module, name in ((store, "store"), (specialise, "_module"), (specialise, "_address")):
        monkeypatch.setattr(module, name, cache(getattr(module, name).__wrapped__))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store with an awkward name, and one small template; the folder that kernels should be kept in."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "tiny.py").write_text(TEMPLATE)
    monkeypatch.setattr(specialise, "_TEMPLATES", templates)
    monkeypatch.setenv("GRAPHATTN_CACHE", str(tmp_path / "räume [1] {x}"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    forget_all(monkeypatch)
    return tmp_path / "räume [1] {x}" / "kernels"


def call(value: int = 21) -> int:
    argument = ctypes.c_int64(value)
    threads._serial(specialise.address(KERNEL))(ctypes.addressof(argument))
    return argument.value


def compiles() -> int:
    """Calls the kernel; returns how many were compiled for that."""
    before = specialise.num_compiled()
    assert call() == 42
    return specialise.num_compiled() - before


def kept(folder: Path) -> dict[str, Path]:
    """The three files of the kernel, by suffix."""
    return {path.suffix: path for path in [*folder.glob("tiny_*.py"), *(folder / "__pycache__").glob("tiny_*.nb[ci]")]}


def test_compiled_once_and_loaded_by_the_next_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiles() == 1
    assert compiles() == 0
    assert set(kept(folder)) == {".py", ".nbi", ".nbc"}
    assert store.store() == store.Store(folder)
    assert store.kept() == (1, kept(folder)[".nbc"].stat().st_size)
    forget_all(monkeypatch)
    assert compiles() == 0


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def put_a_folder(path: Path) -> None:
    path.unlink()
    (path / "in the way").mkdir(parents=True)


def make_unreadable(path: Path) -> None:
    if not hasattr(os, "getuid") or os.getuid() == 0:
        pytest.skip("root reads everything")
    path.chmod(0)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc", ".py"])
@pytest.mark.parametrize("damage", [truncate, empty, scramble, put_a_folder, make_unreadable, Path.unlink])
def test_a_damaged_cache_is_mended(
    suffix: str, damage: Callable[[Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call()
    damage(kept(folder)[suffix])
    forget_all(monkeypatch)
    assert compiles() == (suffix != ".py")
    forget_all(monkeypatch)
    assert compiles() == 0


def test_an_error_of_a_kernel_is_raised(folder: Path) -> None:
    (specialise._TEMPLATES / "tiny.py").write_text(TEMPLATE.replace("FACTOR *", "'FACTOR' +"))
    with pytest.raises(Exception, match="nopython"):
        call()


def forbid_writing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As if the folder could only be read: root, as which tests may run, writes anywhere."""
    real = tempfile.TemporaryFile

    def open_(*args: object, dir: Path, **options: object) -> object:
        if Path(dir).is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(dir))
        return real(*args, dir=dir, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(tempfile, "TemporaryFile", open_)


def test_a_folder_that_cannot_be_written_is_copied_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    forget_all(monkeypatch)
    forbid_writing(monkeypatch, folder)
    assert compiles() == 0
    private, source, problem = store.store()
    assert (source, problem) == (folder, f"{folder} cannot be written: Permission denied")
    assert private is not None
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert set(kept(private)) == {".py", ".nbi", ".nbc"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    truncate(kept(folder)[".nbc"])
    forget_all(monkeypatch)
    assert compiles() == 1


def test_a_private_folder_goes_with_its_process_but_not_with_a_fork(folder: Path) -> None:
    private = store._private_folder()
    assert private is not None
    store._remove(private, os.getpid() + 1)
    assert private.exists()
    store._remove(private, os.getpid())
    assert not private.exists()


def test_a_file_in_the_way(folder: Path) -> None:
    folder.parent.write_text("not a folder")
    assert compiles() == 1
    private, source, problem = store.store()
    assert private is not None
    assert source is None
    assert problem is not None
    assert str(folder) in problem


def test_no_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number without a name."""

    def unknown(_: int) -> None:
        raise KeyError

    for name in ("GRAPHATTN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert compiles() == 1
    assert "not known" in str(store.store().problem)


def test_nowhere_to_write_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise FileNotFoundError("no usable temporary directory")

    folder.parent.write_text("not a folder")
    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    assert compiles() == 1
    assert store.store().folder is None
    assert store.kept() == (0, 0)
    store.tidy()


@pytest.mark.parametrize("place", [".", "__pycache__"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_what_others_can_write_is_not_read(place: str, mode: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    (folder / place).chmod(mode)
    forget_all(monkeypatch)
    assert compiles() == 1
    private, source, problem = store.store()
    assert private != folder
    assert source is None
    assert problem == f"{folder / place} can be written by other users"


def test_what_belongs_to_another_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    if os.getuid() == 0:
        os.chown(folder, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    forget_all(monkeypatch)
    assert compiles() == 1
    assert store.store().problem == f"{folder} belongs to another user"


def test_what_belongs_to_root_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root makes what belongs to root")
    call()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    forget_all(monkeypatch)
    assert compiles() == 0


def test_a_generous_umask_does_not_open_the_folder(folder: Path) -> None:
    before = os.umask(0)
    try:
        call()
    finally:
        os.umask(before)
    for place in (folder, folder / "__pycache__"):
        assert not place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_old_kernels_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    store.tidy()
    assert set(kept(folder)) == {".py", ".nbi", ".nbc"}
    monkeypatch.setattr(store, "_LIMIT", 0)
    store.tidy()
    assert not kept(folder)
    assert compiles() == 0  # still in memory
    forget_all(monkeypatch)
    assert compiles() == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no locks on Windows")
def test_where_locking_fails_kernels_compile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def fail(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    assert compiles() == 1
    forget_all(monkeypatch)
    assert compiles() == 0


def test_processors_do_not_share_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call()
    triple, _, *others = specialise.target()
    forget_all(monkeypatch)
    monkeypatch.setattr(specialise, "target", lambda: (triple, "another", *others))
    call()
    assert len(list(folder.glob("tiny_*.py"))) == 2


def test_settings_for_the_users_own_functions_do_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from numba import config

    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "numba"))
    call()
    assert set(kept(folder)) == {".py", ".nbi", ".nbc"}
    assert not (tmp_path / "numba").exists()
    assert config.DISABLE_JIT == 1
    assert str(tmp_path / "numba") == config.CACHE_DIR


def forked(work: Callable[[], bool]) -> int:
    """Starts a child that does some work; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os._exit(0 if work() else 1)
    except BaseException:
        os._exit(2)


def succeeded(child: int, seconds: float = 60.0) -> bool:
    """Waits for a child; one that hangs is killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


class TestForks:
    pytestmark = forks

    def test_two_processes_compile_the_same(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from numba.core.ccallback import CFunc

        compiled = folder.parent.parent / "compiled"
        compiled.mkdir()
        real = CFunc._compile_uncached

        def slowly(kernel: CFunc) -> object:
            time.sleep(2.0)  # time for the others to look for the kernel
            return real(kernel)

        monkeypatch.setattr(CFunc, "_compile_uncached", slowly)

        def work() -> bool:
            number = compiles()
            (compiled / str(os.getpid())).write_text(str(number))
            return True

        children = [forked(work) for _ in range(3)]
        assert [succeeded(child) for child in children] == [True] * 3
        assert sum(int(path.read_text()) for path in compiled.iterdir()) == 1  # the others waited for it
        assert set(kept(folder)) == {".py", ".nbi", ".nbc"}
        assert not list(folder.glob("*.lock"))
        assert compiles() == 0

    def test_the_lock_of_a_process_that_was_killed(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        reading, writing = os.pipe()

        def hold() -> bool:
            with store.locked("tiny"):
                os.write(writing, b"!")
                time.sleep(60)
            return True

        child = forked(hold)
        assert os.read(reading, 1) == b"!"
        assert store._lock(folder / "other.lock") is not None
        os.kill(child, 9)
        os.waitpid(child, 0)
        with store.locked("tiny"):
            assert list(folder.glob("tiny.lock"))
        assert not list(folder.glob("tiny.lock"))

    def test_a_process_that_keeps_a_lock_for_ever(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "_PATIENCE", 0.1)
        folder.mkdir(parents=True)
        with store.locked("tiny"):
            assert store._lock(folder / "tiny.lock") is None
            with store.locked("tiny"):
                pass

    def test_a_fork_waits_for_a_kernel_that_another_thread_compiles(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = threading.Event()
        real = specialise._compile

        def slowly(function: Callable[[int], None]) -> object:
            begun.set()
            time.sleep(0.3)
            return real(function)

        monkeypatch.setattr(specialise, "_compile", slowly)
        thread = threading.Thread(target=call)
        thread.start()
        begun.wait()
        assert succeeded(forked(lambda: compiles() == 0))
        thread.join()


class TestNotice:
    LINE = "graphattn: compiling kernels for this machine; `graphattn warmup` does it ahead of time\n"

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(specialise, "_noticed", False)

    def test_one_line_after_a_second(self, capsys: pytest.CaptureFixture[str]) -> None:
        with specialise._notice():
            time.sleep(0.7)
            assert capsys.readouterr().err == ""
            time.sleep(0.6)
            assert capsys.readouterr().err == self.LINE
        with specialise._notice():
            time.sleep(1.2)
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", "")

    def test_nothing_where_it_is_quick_or_wished(self, capsys: pytest.CaptureFixture[str]) -> None:
        with specialise._notice():
            pass
        with specialise.quietly(), specialise._notice():
            time.sleep(1.2)
        assert capsys.readouterr().err == ""
        assert specialise._noticed is False


def test_numba_is_imported_where_it_is_used() -> None:
    code = (
        "import sys\nimport graphattn.ops\nassert not {'numba', 'llvmlite'} & set(sys.modules)\nimport graphattn.nn\n"
        # torch_geometric imports numba for itself.
        "assert 'graphattn.ops.cpu.simd' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
