"""How numba compiles the kernels: for a level of processors, and by its own passes, but for those that find nothing.

A kernel is some twenty functions on plain integers and vectors, and most of the time that it takes to compile is spent by
passes that walk over each of them in Python. Without closures, arrays, exceptions and parallel loops many find nothing.

Numba's target for a user's own functions is this very processor. The kernels have a target of their own, which shares
everything with it but the code generator; the user's is left as it is.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from numba import types
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.descriptors import TargetDescriptor
from numba.core.lowering import Environment
from numba.core.registry import CPUDispatcher, CPUTarget, cpu_target

from graphattn.ops.cpu.level import NATIVE, Level, requested

# By name: a pass that a version of numba does not have, or has renamed, is one less to leave out.
_NEEDLESS = frozenset(
    {
        "WithLifting",
        "InlineClosureLikes",
        "GenericRewrites",
        "RewriteDynamicRaises",
        "MakeFunctionToJitFunction",
        "InlineInlinables",
        "FindLiterallyCalls",
        "LiteralUnroll",
        "LiteralPropagationSubPipelinePass",
        "InlineOverloads",
        "NopythonRewrites",
        "NoPythonSupportedFeatureValidation",
        "DumpParforDiagnostics",
    }
)


class KernelCompiler(CompilerBase):
    """Numba's compiler without the needless passes."""

    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [step for step in manager.passes if step[0].__name__ not in _NEEDLESS]
        manager.finalize()
        return [manager]


class _Part(JITCodeLibrary):
    """LLVM's code of a function that kernels take in: it is never run itself, so no machine code is made of it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        return SimpleNamespace(set_env=_forget_environment)


def _forget_environment(name: str, environment: Any) -> None:
    """Kernels have no Python objects for an environment to hold.

    Numba would keep it with each kernel that takes the function in, by the name of the module that the function is from:
    of another kernel, maybe, which a later process does not have. That process could not load the kernel.
    """
    Environment._memo.pop(name, None)


class _PartCompiler(KernelCompiler):
    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class _Codegen(JITCPUCodegen):
    """Machine code for a level, not for the processor that it is made on."""

    def __init__(self, level: Level) -> None:
        self._level = level
        super().__init__("graphattn.kernels")

    def _get_host_cpu_name(self) -> str:
        return self._level.processor

    def _get_host_cpu_features(self) -> str:
        return self._level.features

    def magic_tuple(self) -> tuple[str, str, str]:
        """What numba keeps machine code by: whoever compiled it, it holds for the level."""
        if self._level.name == NATIVE:
            return (self._llvm_module.triple, self._level.processor, self._level.features)
        return (self._llvm_module.triple, self._level.name, "")


class _Target(CPUTarget):
    """Numba's own target, but for the code generator."""

    def __init__(self, level: Level) -> None:
        super().__init__("cpu")
        self._context = cpu_target.target_context.subtarget(_internal_codegen=_Codegen(level))

    @property
    def typing_context(self) -> Any:
        return cpu_target.typing_context

    @property
    def target_context(self) -> Any:
        return self._context


@cache
def _target(level: Level) -> TargetDescriptor:
    return cpu_target if level.name == NATIVE else _Target(level)


class _Inlined(CPUDispatcher):
    """A function of kernels of one level."""

    def __init__(self, function: Callable[..., Any], level: Level) -> None:
        self.targetdescr = _target(level)
        options = {
            "nopython": True,
            "boundscheck": None,
            "forceinline": True,
            "error_model": "numpy",
            "no_cpython_wrapper": True,
            "no_cfunc_wrapper": True,
        }
        super().__init__(function, targetoptions=options, pipeline_class=_PartCompiler)


class _Cache(FunctionCache):
    """Numba's, also where a copy of the files has another time: what is compiled is as fresh as the hash in its name."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = function.__module__


class _Kernel(CFunc):
    """A kernel of one level."""

    def __init__(self, function: Callable[[int], None], level: Level) -> None:
        self._targetdescr, self._function = _target(level), function
        signature, options = types.void(types.int64), {"error_model": "numpy"}
        super().__init__(function, (signature.args, signature.return_type), {}, options, pipeline_class=KernelCompiler)

    def enable_caching(self) -> None:
        self._cache = _Cache(self._function)


_parts: dict[Any, Any] = {}


def inline(function: Callable[..., Any]) -> Any:
    """Decorates a function of kernels that is compiled into those that call it.

    Functions of the same code that mean the same by all names are one: of two kernels that differ in one constant, the
    second compiles only what that constant changes.
    """
    level = requested()
    code, names = function.__code__, vars(builtins) | function.__globals__
    read = sorted({step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"})
    if not all(name in names for name in read):  # what is defined further down: not known yet
        return _Inlined(function, level)
    meaning = tuple((name, _exactly(names[name])) for name in read)
    key = (level, code.co_code, repr(code.co_consts), code.co_names, code.co_varnames, function.__defaults__, meaning)
    part = _parts.get(key)
    if part is None:
        part = _parts[key] = _Inlined(function, level)
    return part


def _exactly(value: Any) -> Any:
    """What tells apart values that are equal, such as 1, 1.0 and True."""
    return (type(value), repr(value)) if isinstance(value, (int, float, str)) else value


def compile_kernel(function: Callable[[int], None], cached: bool) -> Any:
    """Machine code of a function of the address of its arguments; `cached` keeps it next to the function's file."""
    kernel = _Kernel(function, requested())
    if cached:
        kernel.enable_caching()
    kernel.compile()
    return kernel
