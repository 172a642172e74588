"""What a command that only predicts need not import."""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import Any

# torch_geometric imports both as it is imported. torch imports its compiler itself once something asks for it, and the data
# sets of torch_geometric are used by name, if at all. They take half of the seconds that a prediction of one molecule takes.
_UNUSED = ("torch._dynamo", "torch_geometric.datasets")


def import_without_compiler() -> None:
    """Imports `graphattn.nn`, and with it torch and torch_geometric, but not torch's compiler, which no command uses.

    For the command line alone: it changes nothing where torch_geometric was imported before.
    """
    if "torch_geometric" in sys.modules or "torch._dynamo" in sys.modules:
        return
    for name in _UNUSED:
        sys.modules[name] = _Placeholder(name)
    # Imports make hundreds of thousands of objects and no garbage: looking for it takes a third of the time.
    gc.disable()
    try:
        import graphattn.nn  # noqa: F401
    finally:
        # From here on both are imported in full by whoever asks.
        for name in _UNUSED:
            del sys.modules[name]
        gc.freeze()
        gc.enable()


class _Placeholder(ModuleType):
    """Stands for a module while others import it."""

    @staticmethod
    def assume_constant_result(function: Any) -> Any:
        """A mark for the compiler."""
        return function
