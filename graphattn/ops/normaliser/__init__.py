"""Normalisers: the scores of a row become weights. A new one is a file here and a line in
`NORMALISERS`; docs/cpu_kernels.md tells how it gets a fused kernel.

Each takes scores [edges, heads], the target `index` [edges] of every edge and the number of targets `size`, and returns the
weights [edges, heads]. All but sigmoid and relu make rows that sum to one.
"""

from collections.abc import Callable

from torch import Tensor

from graphattn.ops.normaliser.entmax15 import entmax15
from graphattn.ops.normaliser.relu import relu
from graphattn.ops.normaliser.sigmoid import sigmoid
from graphattn.ops.normaliser.softmax import softmax
from graphattn.ops.normaliser.sparsemax import sparsemax

NORMALISERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "relu": relu,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
}

__all__ = ["NORMALISERS", "entmax15", "relu", "sigmoid", "softmax", "sparsemax"]
