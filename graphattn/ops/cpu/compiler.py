"""How numba compiles the kernels: by its own passes, but for those that look for what kernels never do.

A kernel is some twenty functions on plain integers and vectors, and most of the time that it takes to compile is spent by
passes that walk over each of them in Python. Without closures, arrays, exceptions and parallel loops many find nothing.
"""

from __future__ import annotations

import builtins
import dis
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from numba import cfunc, njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.lowering import Environment

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


_parts: dict[Any, Any] = {}
_inline = njit(
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_PartCompiler
)


def inline(function: Callable[..., Any]) -> Any:
    """Decorates a function of kernels that is compiled into those that call it.

    Functions of the same code that mean the same by all names are one: of two kernels that differ in one constant, the
    second compiles only what that constant changes.
    """
    code, names = function.__code__, vars(builtins) | function.__globals__
    read = sorted({step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"})
    if not all(name in names for name in read):  # what is defined further down: not known yet
        return _inline(function)
    meaning = tuple((name, _exactly(names[name])) for name in read)
    key = (code.co_code, repr(code.co_consts), code.co_names, code.co_varnames, function.__defaults__, meaning)
    part = _parts.get(key)
    if part is None:
        part = _parts[key] = _inline(function)
    return part


def _exactly(value: Any) -> Any:
    """What tells apart values that are equal, such as 1, 1.0 and True."""
    return (type(value), repr(value)) if isinstance(value, (int, float, str)) else value


def compile_kernel(function: Callable[[int], None], cached: bool) -> Any:
    """Machine code of a function of the address of its arguments; `cached` keeps it next to the function's file."""
    return cfunc(types.void(types.int64), cache=cached, error_model="numpy", pipeline_class=KernelCompiler)(function)
