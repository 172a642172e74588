"""How numba compiles the kernels: by its own passes, but for those that look for what kernels never do.

A kernel is some twenty functions on plain integers and vectors, and most of the time that it takes to compile is spent by
passes that walk over each of them in Python. Without closures, arrays, exceptions and parallel loops many find nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cfunc, njit, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder

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


# Functions of kernels are called by kernels alone, so without the wrappers that would let Python and C call them.
inline = njit(
    forceinline=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=KernelCompiler
)


def compile_kernel(function: Callable[[int], None], cached: bool) -> Any:
    """Machine code of a function of the address of its arguments; `cached` keeps it next to the function's file."""
    return cfunc(types.void(types.int64), cache=cached, error_model="numpy", pipeline_class=KernelCompiler)(function)
