"""One compiled module for each form and shape of attention, kept on disk for the next process.

A kernel is written once, in `kernels/`, as a template: Python that names its constants (heads, channels, score, …) without
giving them. A specialisation is a file of its own: the constants, followed by the template's text. Numba's cache on disk
works for such a file, where it never hits for functions made inside another function, and LLVM sees a constant wherever that
helps. The file's name holds a hash of its text, of the intrinsics, of the versions of numba and LLVM and of the level of
processors that it is compiled for (see `level.py`), so that a cache is never stale, machines of one level share it, and others
never take each other's code.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from graphattn.ops.cpu import store
from graphattn.ops.cpu.level import NATIVE, requested

Constants = tuple[tuple[str, int | str | bool], ...]

_TEMPLATES = Path(__file__).parent / "kernels"
_PREFIX = "graphattn_kernels."
_lock = threading.RLock()
_compiled: list[Any] = []  # machine code lives as long as the object that made it

if hasattr(os, "register_at_fork"):
    # A fork waits until nothing is half compiled: in the child nobody would finish it, or let go of the lock.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Kernel(NamedTuple):
    """A kernel of one specialisation.

    Args:
        templates: the files in `kernels/` that make its module, in order, without ".py".
        function: its name there: a function of the address of its arguments.
        constants: names and values that the templates are compiled with.
    """

    templates: tuple[str, ...]
    function: str
    constants: Constants = ()


def address(kernel: Kernel) -> int:
    """The address of a kernel's machine code: compiled now, or loaded from the cache on disk."""
    with _lock:  # two Python threads may want one kernel, and numba compiles one at a time anyway
        return _address(kernel)


@cache
def argument_names(kernel: Kernel) -> tuple[str, ...]:
    """The names of a kernel's arguments in their order, read from the line that unpacks them; "_" is a counter.

    Raises:
        ValueError: where the template has no such line.
    """
    body = _template(kernel.templates[-1]).partition(f"\ndef {kernel.function}(arguments):\n")[2]
    line = re.search(r"^ +(?:\(([^()]*)\)|([^()=]*)) = load_arguments\(", body, re.MULTILINE)
    if line is None:
        raise ValueError(f"the kernel {kernel.function!r} does not unpack its arguments")
    return tuple(name.strip() for name in (line[1] or line[2]).split(","))


def num_compiled() -> int:
    """How many kernels this process has compiled, not loaded."""
    return sum(not kernel.cache_hits for kernel in _compiled)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Compiles without a word on stderr."""
    global _noticed
    before, _noticed = _noticed, True
    try:
        yield
    finally:
        _noticed = before


def target() -> tuple[str, ...]:
    """What kernels are compiled for and by: LLVM's triple of the system, the level, and the versions of numba and of LLVM."""
    import llvmlite
    import numba
    from llvmlite import binding

    level = requested()
    compilers = (f"numba {numba.__version__}", f"llvmlite {llvmlite.__version__}")
    machine = (level.processor, level.features) if level.name == NATIVE else ()
    return (binding.get_process_triple(), level.name, *machine, *compilers)


@cache
def _address(kernel: Kernel) -> int:
    with _notice(), _settings(), _no_garbage_collection():
        module = _module(kernel.templates, kernel.constants)
        with store.locked(f"{module.__name__.removeprefix(_PREFIX)}.{kernel.function}"):
            compiled = _compile(getattr(module, kernel.function))
    _compiled.append(compiled)
    return int(compiled.address)


def _compile(function: Callable[[int], None]) -> Any:
    from graphattn.ops.cpu.compiler import compile_kernel

    # A damaged file in the cache must not stop the work, nor make every later process compile again.
    with contextlib.suppress(Exception):
        return compile_kernel(function, cached=True)
    store.forget(function.__module__.removeprefix(_PREFIX))
    with contextlib.suppress(Exception):
        return compile_kernel(function, cached=True)
    # Nothing can be kept: the disk is full, for example. An error of the kernel itself comes again, and is raised.
    return compile_kernel(function, cached=False)


@cache
def _module(templates: tuple[str, ...], constants: Constants) -> ModuleType:
    """Runs the text of a specialisation as a module of its own, which has a file if the store can keep one."""
    header = "".join(f"{name} = {value!r}\n" for name, value in constants)
    text = header + "\n".join(_template(name) for name in templates)
    shared = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("simd.py", "compiler.py", "level.py")]
    digest = hashlib.sha256("\0".join((text, *shared, *target())).encode()).hexdigest()
    name = f"{templates[-1]}_{digest[:20]}"
    path = store.keep_source(name, text)
    code = compile(text, f"<{name}>" if path is None else str(path), "exec")
    module = ModuleType(f"{_PREFIX}{name}")
    sys.modules[module.__name__] = module  # where numba looks for the module of a function
    exec(code, module.__dict__)
    return module


def _template(name: str) -> str:
    """The text of a template without what is there for editors and linters only: the imports of its constants."""
    path = _TEMPLATES / f"{name}.py"
    if not path.exists():
        raise ValueError(f"there is no template {name!r} of CPU kernels")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^from __future__ import annotations\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^from graphattn\.ops\.cpu\.kernels\.\w+ import (\([^)]*\)|[^(\n]*)\n", "", text, flags=re.MULTILINE)


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """Without NUMBA_DISABLE_JIT and NUMBA_CACHE_DIR: those are for a user's own functions."""
    from numba import config

    before = config.DISABLE_JIT, config.CACHE_DIR
    config.DISABLE_JIT, config.CACHE_DIR = 0, ""
    try:
        yield
    finally:
        config.DISABLE_JIT, config.CACHE_DIR = before


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A compiler makes a million objects that live on; to look through them for garbage takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_noticed = False


@contextlib.contextmanager
def _notice() -> Iterator[None]:
    """One line on stderr, once a process, when compiling takes more than a second."""

    def show() -> None:
        global _noticed
        if not _noticed:
            _noticed = True
            print("graphattn: compiling kernels for this machine; `graphattn warmup` does it ahead of time", file=sys.stderr)

    timer = threading.Timer(1.0, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
