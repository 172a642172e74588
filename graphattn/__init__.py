"""graphattn: self-attention on graphs. See the README for the two jobs and the layers.

Names are imported on first use (PEP 562), so that `import graphattn.nn` needs torch and torch_geometric only and the
command line answers `--help` at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "InputError": "graphattn.errors",
    "MoleculeRegressor": "graphattn.estimators",
    "MoleculeClassifier": "graphattn.estimators",
    "NodeClassifier": "graphattn.estimators",
    "MaskedSelfAttention": "graphattn.nn",
    "FullSelfAttention": "graphattn.nn",
    "GraphTransformer": "graphattn.nn",
    "AdjacencyMask": "graphattn.ops",
    "BlockDiagonalMask": "graphattn.ops",
}
_PACKAGES = ("chem", "data", "estimators", "networks", "nn", "ops", "train", "transforms")

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from graphattn.errors import InputError as InputError
    from graphattn.estimators import MoleculeClassifier as MoleculeClassifier
    from graphattn.estimators import MoleculeRegressor as MoleculeRegressor
    from graphattn.estimators import NodeClassifier as NodeClassifier
    from graphattn.nn import FullSelfAttention as FullSelfAttention
    from graphattn.nn import GraphTransformer as GraphTransformer
    from graphattn.nn import MaskedSelfAttention as MaskedSelfAttention
    from graphattn.ops import AdjacencyMask as AdjacencyMask
    from graphattn.ops import BlockDiagonalMask as BlockDiagonalMask


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"graphattn.{name}")
    raise AttributeError(f"module 'graphattn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_PACKAGES])
