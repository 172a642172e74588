"""Structural encodings, added to the node vectors. A new one is a file here and a line in `ENCODINGS`.

Each is made of (number of its columns, width of the node vectors); a transform of `graphattn.transforms` computes its input.
"""

from torch import nn

from graphattn.nn.encoding.degree import DegreeEncoding
from graphattn.nn.encoding.laplacian import LaplacianEncoding
from graphattn.nn.encoding.random_walk import RandomWalkEncoding

ENCODINGS: dict[str, type[nn.Module]] = {
    "degree": DegreeEncoding,
    "random_walk": RandomWalkEncoding,
    "laplacian": LaplacianEncoding,
}

__all__ = ["ENCODINGS", "DegreeEncoding", "LaplacianEncoding", "RandomWalkEncoding"]
