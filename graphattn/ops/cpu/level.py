"""Which processors the kernels are compiled for: a named level, so that one cache serves many machines.

Numba compiles for the processor that it runs on, by its name and all its features, and code for one is of no use to the
next. The kernels need much less: wide vectors, and a multiplication and addition in one. So they are compiled for the highest
level that the processor serves, and what is kept holds for every processor of that level.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import NamedTuple

from graphattn.errors import InputError

NATIVE = "native"
_SETTING = "GRAPHATTN_CPU_LEVEL"
_V3 = "avx avx2 bmi bmi2 cx16 f16c fma lzcnt movbe popcnt sahf sse4.2 xsave"
_V4 = "avx512bw avx512cd avx512dq avx512f avx512vl"
_X86, _ARM = ("x86_64", "amd64"), ("aarch64", "arm64")
# The widest vectors that each feature of a processor, in LLVM's words, gives it.
_VECTORS = {"avx512f": 512, "avx": 256, "sve": 128, "neon": 128, "sse2": 128}


class Level(NamedTuple):
    """What kernels are compiled for.

    Args:
        name: of the level, or "native".
        processor, features: the same in LLVM's words.
        vector_bits: the width of its vectors; 0 without any.
    """

    name: str
    processor: str
    features: str
    vector_bits: int


class _Needs(NamedTuple):
    level: Level
    machines: tuple[str, ...]
    features: frozenset[str]


# The highest first.
_LEVELS = (
    _Needs(Level("x86-64-v4", "x86-64-v4", "", 512), _X86, frozenset(f"{_V3} {_V4}".split())),
    _Needs(Level("x86-64-v3", "x86-64-v3", "", 256), _X86, frozenset(_V3.split())),
    _Needs(Level("neon", "generic", "+neon", 128), _ARM, frozenset()),
)
LEVELS = tuple(needs.level.name for needs in _LEVELS)


@cache
def host() -> Level:
    """The processor of this machine, with all that it has."""
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know; where it does not, numba takes none either
        return Level(NATIVE, binding.get_host_cpu_name(), "", 0)
    bits = next((bits for name, bits in _VECTORS.items() if features.get(name)), 0)
    return Level(NATIVE, binding.get_host_cpu_name(), features.flatten(), bits)


def served() -> tuple[str, ...]:
    """The names of the levels that this machine can run, the highest first; "native" is the last."""
    has = {word.removeprefix("+") for word in host().features.split(",") if word.startswith("+")}
    machine = platform.machine().lower()
    return (*(needs.level.name for needs in _LEVELS if machine in needs.machines and needs.features <= has), NATIVE)


@cache
def requested() -> Level:
    """The level of `GRAPHATTN_CPU_LEVEL` or, where it isn't set, the highest that this machine serves.

    It is read once: the kernels of a process are all of one level.

    Raises:
        InputError: on a name that is no level, or a level that this machine cannot run.
    """
    can = served()
    name = os.environ.get(_SETTING) or can[0]
    if name not in (*LEVELS, NATIVE):
        raise InputError(f"{_SETTING} must be one of {', '.join((*LEVELS, NATIVE))}, got {name!r}")
    if name not in can:
        raise InputError(
            f"{_SETTING}={name} asks for kernels that this machine, {host().processor}, cannot run; it can run {', '.join(can)}"
        )
    return host() if name == NATIVE else next(needs.level for needs in _LEVELS if needs.level.name == name)
