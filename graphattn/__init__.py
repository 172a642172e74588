"""graphattn: self-attention on graphs. See the README for the two jobs and the layers.

Names are imported on first use (PEP 562), so that `import graphattn.nn` needs torch and torch_geometric only and the
command line answers `--help` at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphattn.lazy import lazy_names

__version__ = "0.1.0"

_HOME = {
    "InputError": "graphattn.errors",
    "MoleculeRegressor": "graphattn.estimators",
    "MoleculeClassifier": "graphattn.estimators",
    "NodeClassifier": "graphattn.estimators",
    "NodeRegressor": "graphattn.estimators",
    "MaskedSelfAttention": "graphattn.nn",
    "FullSelfAttention": "graphattn.nn",
    "GraphTransformer": "graphattn.nn",
    "AdjacencyMask": "graphattn.ops",
    "BlockDiagonalMask": "graphattn.ops",
    "accelerate": "graphattn.nn.accelerate",
    "backends": "graphattn.cli.backends_screen",
    "warmup": "graphattn.ops.warmup",
    "why_not_fused": "graphattn.nn.accelerate",
}
_PACKAGES = ("chem", "data", "estimators", "networks", "nn", "ops", "train", "transforms")

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from graphattn.cli.backends_screen import backends as backends
    from graphattn.errors import InputError as InputError
    from graphattn.estimators import MoleculeClassifier as MoleculeClassifier
    from graphattn.estimators import MoleculeRegressor as MoleculeRegressor
    from graphattn.estimators import NodeClassifier as NodeClassifier
    from graphattn.estimators import NodeRegressor as NodeRegressor
    from graphattn.nn import FullSelfAttention as FullSelfAttention
    from graphattn.nn import GraphTransformer as GraphTransformer
    from graphattn.nn import MaskedSelfAttention as MaskedSelfAttention
    from graphattn.nn.accelerate import accelerate as accelerate
    from graphattn.nn.accelerate import why_not_fused as why_not_fused
    from graphattn.ops import AdjacencyMask as AdjacencyMask
    from graphattn.ops import BlockDiagonalMask as BlockDiagonalMask
    from graphattn.ops.warmup import warmup as warmup

__getattr__, __dir__ = lazy_names(__name__, {**_HOME, **{name: f"graphattn.{name}" for name in _PACKAGES}})
