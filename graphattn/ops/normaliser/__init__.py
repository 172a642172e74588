"""Normalisers: the scores of a row become weights. A new one is a file here and a line below; docs/cpu_kernels.md shows how
one from outside the package is registered, and how it gets a fused kernel.
"""

from graphattn.ops.normaliser.base import NORMALISERS, Normaliser, normaliser_of, register_normaliser
from graphattn.ops.normaliser.entmax15 import entmax15
from graphattn.ops.normaliser.relu import relu
from graphattn.ops.normaliser.sigmoid import sigmoid
from graphattn.ops.normaliser.softmax import softmax
from graphattn.ops.normaliser.softmax1 import softmax1
from graphattn.ops.normaliser.sparsemax import sparsemax

register_normaliser(Normaliser("softmax", softmax, sums_to_one=True, keeps_state=True, needs_delta=True, is_torch_sdpa=True))
register_normaliser(Normaliser("softmax1", softmax1, keeps_state=True, needs_delta=True))
register_normaliser(Normaliser("sigmoid", sigmoid))
register_normaliser(Normaliser("relu", relu))
register_normaliser(Normaliser("sparsemax", sparsemax, sums_to_one=True))
register_normaliser(Normaliser("entmax15", entmax15, sums_to_one=True))

__all__ = ["NORMALISERS", "Normaliser", "normaliser_of", "register_normaliser"]
