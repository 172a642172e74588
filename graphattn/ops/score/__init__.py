"""Scores: how alike a query and a key are. A new one is a file here and a line below; docs/cpu_kernels.md shows how one from
outside the package is registered.
"""

from graphattn.ops.score.additive import Additive
from graphattn.ops.score.base import SCORES, Score, as_score, make_score, register_score
from graphattn.ops.score.dot import Dot
from graphattn.ops.score.static import Static

register_score(Dot)
register_score(Additive)
register_score(Static)

__all__ = ["SCORES", "Additive", "Dot", "Score", "Static", "as_score", "make_score", "register_score"]
