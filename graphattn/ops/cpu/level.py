"""Which processors the kernels are compiled for: a named level, so that one cache serves many machines.

Numba compiles for the processor that it runs on, by its name and all its features, and code for one is of no use to the
next. The kernels need much less: wide vectors, and a multiplication and addition in one. So they are compiled for the highest
level that the processor serves, and what is kept holds for every processor of that level.

Only the instructions are those of the level. Their order is the one that suits the processor that compiles, where LLVM knows
exactly what to leave out of it: in the order of a level's own model, some forms took up to a tenth longer.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import NamedTuple

from graphattn.errors import InputError

NATIVE = "native"
_SETTING = "GRAPHATTN_CPU_LEVEL"
_V1 = "64bit cmov cx8 fxsr mmx sse sse2"
_V3 = f"{_V1} avx avx2 bmi bmi2 crc32 cx16 f16c fma lzcnt movbe popcnt sahf sse3 sse4.1 sse4.2 ssse3 xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"
# What some versions of LLVM call the longest registers of x86-64-v4.
_LONG = "evex512"
_X86, _ARM = ("x86_64", "amd64"), ("aarch64", "arm64")
# The widest vectors that each feature of a processor, in LLVM's words, gives it.
_VECTORS = {"avx512f": 512, "avx": 256, "sve": 128, "neon": 128, "sse2": 128}


class Level(NamedTuple):
    """What kernels are compiled for.

    Args:
        name: of the level, or "native".
        processor: LLVM's name of the processor whose order of instructions is taken.
        features: in LLVM's words, what its instructions may be.
        vector_bits: the width of its vectors; 0 without any.
    """

    name: str
    processor: str
    features: str
    vector_bits: int


class _Needs(NamedTuple):
    """A level of some machines, and the features that it has beyond any of them."""

    name: str
    machines: tuple[str, ...]
    features: frozenset[str]
    vector_bits: int


# The highest first.
_LEVELS = (
    _Needs("x86-64-v4", _X86, frozenset(_V4.split()), 512),
    _Needs("x86-64-v3", _X86, frozenset(_V3.split()), 256),
    _Needs("neon", _ARM, frozenset(), 128),
)
LEVELS = tuple(level.name for level in _LEVELS)


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
    machine, has = platform.machine().lower(), _has()
    return (*(level.name for level in _LEVELS if machine in level.machines and level.features <= has), NATIVE)


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
    if name == NATIVE:
        return host()
    level = next(level for level in _LEVELS if level.name == name)
    if level.machines == _ARM:
        # LLVM's names of these processors stand for more than the features that it can list, and so leave out.
        return Level(name, "generic", "+neon", level.vector_bits)
    kept = level.features | ({_LONG} if level.vector_bits == 512 else set())
    words = (word[1:] for word in host().features.split(","))
    features = ",".join(f"{'+' if word in kept & _has() else '-'}{word}" for word in words)
    return Level(name, host().processor, features, level.vector_bits)


def _has() -> frozenset[str]:
    return frozenset(word[1:] for word in host().features.split(",") if word.startswith("+"))
