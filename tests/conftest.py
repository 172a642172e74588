"""Fixtures that every test folder shares."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from durations import Recorder, longest_first
from interpreter import quicken_interpreter

# Without a GPU the Triton kernels run in Triton's interpreter, which must be said before they are first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

    quicken_interpreter()

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help="write the seconds of each file to durations.json")


def pytest_configure(config: pytest.Config) -> None:
    # A process of xdist reports to the one that started it, which alone sees all tests.
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(ROOT))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")


@pytest.fixture(autouse=True, scope="module")
def _look_for_garbage_among_new_objects_only() -> Iterator[None]:
    """Compilers leave millions of objects in a process: to look through them all takes seconds, again and again.

    What is alive when a module of tests ends is never looked at again, and so never freed if it is part of a cycle.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def through_triton(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the Triton kernels do not serve fails. Where a GPU compiles them, only tests marked cuda run."""
    pytest.importorskip("triton")
    if request.node.get_closest_marker("cuda") is None and torch.cuda.is_available():
        pytest.skip("on this machine the kernels are compiled")
    monkeypatch.setenv("GRAPHATTN_BACKEND", "triton")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: `GRAPHATTN_DATA`, or `../shared/data` beside the checkout; skips where neither is."""
    folder = Path(os.environ.get("GRAPHATTN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set GRAPHATTN_DATA to a folder that holds it")
    return folder
