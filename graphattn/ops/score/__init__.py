"""Scores: how alike a query and a key are. A new one is a file here and a line in `Score`; see docs/cpu_kernels.md."""

from graphattn.ops.score.additive import Additive
from graphattn.ops.score.dot import Dot
from graphattn.ops.score.static import Static

Score = Dot | Additive | Static

__all__ = ["Additive", "Dot", "Score", "Static"]
