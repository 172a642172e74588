"""The same bits from any number of threads, from several Python threads at once, and in a forked child."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from graphattn.ops import AdjacencyMask, attention
from graphattn.ops.cpu import threads

# Small enough that torch itself works on one thread: in a forked child its parallel operations would hang.
NODES, EDGES, HEADS, CHANNELS = 300, 20_000, 8, 8

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRAPHATTN_BACKEND", "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def training_step(seed: int = 0) -> str:
    """A hash of the bits of an output and of its gradients."""
    generator = torch.Generator().manual_seed(seed)
    mask = AdjacencyMask.from_edge_index(torch.randint(NODES, (2, EDGES), generator=generator), NODES)
    rows = [torch.randn(NODES, HEADS, CHANNELS, generator=generator, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(NODES, HEADS, CHANNELS, generator=generator)
    out = attention(*rows, mask)
    assert isinstance(out, Tensor)
    gradients = torch.autograd.grad(out, rows, gradient)
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in (out, *gradients))).hexdigest()


@pytest.fixture(scope="module")
def expected() -> str:
    """Computed on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    result = training_step()
    torch.set_num_threads(before)
    return result


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the teams of threads that are asked for."""
    sizes: list[int] = []
    real = threads._openmp()
    if real is None:
        pytest.skip("torch has no OpenMP runtime that can be entered")

    def enter(kernel: int, arguments: int, size: int, flags: int) -> None:
        sizes.append(size)
        real(kernel, arguments, size, flags)

    monkeypatch.setattr(threads, "_openmp", lambda: enter)
    return sizes


@pytest.mark.parametrize("number", [1, 2, 3, 16])
def test_any_number_of_threads(number: int, expected: str, entered: list[int]) -> None:
    torch.set_num_threads(number)
    assert training_step() == expected
    # A row of 67 edges weighs 69, and 30 of them the size of an item, 2048: 300 rows are 10 items.
    assert set(entered) == ({min(number, 10)} if number > 1 else set())


def test_no_runtime(expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    assert threads.why_serial() == "torch's OpenMP runtime was not found"
    assert training_step() == expected


def test_several_python_threads_at_once(entered: list[int]) -> None:
    torch.set_num_threads(1)
    expected = [training_step(seed) for seed in range(8)]
    torch.set_num_threads(2)

    def work(seed: int) -> bool:
        torch.set_num_threads(2)  # a setting of each Python thread
        return all(training_step(seed) == expected[seed] for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert set(entered) == {2}


def test_why_serial() -> None:
    if threads._openmp() is not None:
        assert threads.why_serial() is None
        torch.set_num_threads(1)
        assert threads.why_serial() == "torch uses one thread"


class TestForks:
    pytestmark = forks

    def test_a_forked_child_works_alone(self, expected: str, entered: list[int]) -> None:
        training_step()
        assert entered
        entered.clear()

        def child() -> str:
            assert training_step() == expected
            assert not entered
            return str(threads.why_serial())

        assert in_child(child) == "this process was forked, and threads do not survive that"
        assert training_step() == expected
        assert set(entered) == {2}

    def test_a_child_of_a_child(self, expected: str) -> None:
        training_step()
        assert in_child(lambda: in_child(lambda: str(training_step() == expected))) == "True"

    def test_workers_of_a_data_loader(self) -> None:
        expected = [training_step(seed) for seed in range(6)]
        loader = DataLoader(Steps(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
        assert list(loader) == expected


class Steps(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, seed: int) -> str:
        return training_step(seed)


def in_child(work: Callable[[], str], seconds: float = 60.0) -> str:
    """What a forked child says; one that hangs is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, work().encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    end = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            break
        time.sleep(0.01)
    with open(reading, "rb") as pipe:
        return pipe.read().decode() or "the child hung, or died"


class TestRuntime:
    """Which OpenMP runtime is found; the search itself is run anew each time."""

    find = staticmethod(threads._openmp.__wrapped__)

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_it_is_the_one_whose_threads_torch_uses(self) -> None:
        import sklearn.cluster  # noqa: F401, brings a runtime of its own

        enter = self.find()
        assert enter is not None
        address = ctypes.cast(enter, ctypes.c_void_p).value
        assert address is not None
        maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        ranges = [(*(int(end, 16) for end in words[0].split("-")), words[-1]) for words in maps]
        library = next(Path(str(name)).name for low, high, name in ranges if low <= address < high)
        assert "omp" in library

        def work() -> int:
            return len(os.listdir("/proc/self/task"))

        training_step()  # the kernels are there, and the timers of their notice are gone
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
        with ThreadPoolExecutor(1) as pool:  # a Python thread has a team of its own, here with torch's threads in it
            pool.submit(torch.set_num_threads, 3).result()
            before = pool.submit(work).result()
            pool.submit(lambda: torch.ones(1_000_000).exp().sum()).result()
            of_torch = pool.submit(work).result()
            pool.submit(torch.set_num_threads, 3).result()
            pool.submit(training_step).result()
            assert pool.submit(work).result() == of_torch == before + 2

    def test_torch_without_openmp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.openmp, "is_available", lambda: False)
        assert self.find() is None

    def test_no_common_symbols_and_no_such_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def windows(name: str | None) -> None:
            raise TypeError if name is None else OSError

        monkeypatch.setattr(ctypes, "CDLL", windows)
        assert self.find() is None

    def test_the_runtime_of_torchs_library_where_none_is_common(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = ctypes.CDLL
        whole = self.find()
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object() if name is None else real(name))
        found = self.find()
        assert (found is None) == (whole is None)
        assert ctypes.cast(found, ctypes.c_void_p).value == ctypes.cast(whole, ctypes.c_void_p).value
