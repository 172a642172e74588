"""Functions of kernels that say the same are compiled once; those that differ in anything are not taken for each other."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphattn.ops.cpu.compiler import compile_kernel, inline
from graphattn.ops.cpu.simd import add, load, store, store_index
from graphattn.ops.cpu.specialise import _no_garbage_collection

TEXT = """
def part(address):
    return CONSTANT * 3

def kernel(address):
    store_index(address, part(address) + 1, 64)
"""


def made(name: str, text: str = TEXT, **constants: Any) -> Any:
    names: dict[str, Any] = {"add": add, "load": load, "store": store, **constants}
    exec(text, names)
    return names[name]


def test_the_same_is_one() -> None:
    assert inline(made("part", CONSTANT=5)) is inline(made("part", CONSTANT=5))
    # Also further down in a file, and beside a constant that it does not read.
    assert inline(made("part", "\n\n" + TEXT, CONSTANT=5, OTHER=1)) is inline(made("part", CONSTANT=5))


@pytest.mark.parametrize("values", [(5, 6), (1, 1.0), (1, True), (0.0, -0.0), ("dot", "tanh"), (add, load)], ids=str)
def test_another_constant_is_another_function(values: tuple[Any, Any]) -> None:
    first, second = (inline(made("part", CONSTANT=value)) for value in values)
    assert first is not second


@pytest.mark.parametrize("change", ["CONSTANT * 4", "CONSTANT * 3.0", "CONSTANT + 3", "3 * CONSTANT", "address * 3"])
def test_another_text_is_another_function(change: str) -> None:
    other = TEXT.replace("CONSTANT * 3", change)
    assert inline(made("part", other, CONSTANT=5)) is not inline(made("part", CONSTANT=5))


def test_another_function_by_the_same_name() -> None:
    """A function is another where one that it calls is another."""
    text = "def outer(address):\n    return part(address)\n"
    parts = [inline(made("part", CONSTANT=value)) for value in (5, 5, 6)]
    first, again, other = (inline(made("outer", text, part=part)) for part in parts)
    assert first is again
    assert first is not other


def test_a_name_that_is_not_known_yet_may_become_anything() -> None:
    text = "def outer(address):\n    return later(address)\n"
    assert inline(made("outer", text)) is not inline(made("outer", text))


def test_kernels_share_a_function() -> None:
    for constant, expected in ((5, 16), (7, 22), (5, 16)):
        names: dict[str, Any] = {"store_index": store_index, "CONSTANT": constant}
        exec(TEXT, names)
        names["part"] = inline(names["part"])
        argument = ctypes.c_int64(0)
        kernel = compile_kernel(names["kernel"], cached=False)
        kernel.ctypes(ctypes.addressof(argument))
        assert argument.value == expected


SCRIPT = """
import sys
from graphattn.ops.cpu import specialise
from graphattn.ops.cpu.form import Form
for normaliser in sys.argv[1:]:
    form = Form(2, 3, 4, 1, "float64", 32, "dot", normaliser, False, False, False, False, False)
    specialise.address(form.kernel("forward"))
print(specialise.num_compiled())
"""


def test_a_kernel_with_functions_of_another_is_loaded_without_it(tmp_path: Path) -> None:
    def compiled(*normalisers: str) -> int:
        environment = {**os.environ, "GRAPHATTN_CACHE": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", SCRIPT, *normalisers], env=environment, capture_output=True, check=True)
        return int(run.stdout)

    assert compiled("sigmoid", "relu") == 2
    assert compiled("relu") == 0
    assert compiled("sigmoid", "relu") == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with _no_garbage_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
