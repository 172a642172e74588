"""Structural encodings, added to the node vectors. A new one is a file here and a line in `ENCODINGS`.

Each is made of (number of its columns, width of the node vectors); a transform of `graphattn.transforms` computes its input.
"""

from torch import nn

from graphattn.nn.encoding.cycles import CycleEncoding
from graphattn.nn.encoding.degree import DegreeEncoding
from graphattn.nn.encoding.degree_bucket import DegreeBucketEncoding
from graphattn.nn.encoding.laplacian import LaplacianEncoding
from graphattn.nn.encoding.learned import LearnedEncoding
from graphattn.nn.encoding.random_walk import RandomWalkEncoding
from graphattn.nn.encoding.sign_invariant import SignInvariantEncoding
from graphattn.nn.encoding.sinusoidal import SinusoidalEncoding

ENCODINGS: dict[str, type[nn.Module]] = {
    "degree": DegreeEncoding,
    "degree_bucket": DegreeBucketEncoding,
    "random_walk": RandomWalkEncoding,
    "cycles": CycleEncoding,
    "sinusoidal": SinusoidalEncoding,
    "learned": LearnedEncoding,
    "laplacian": LaplacianEncoding,
    "sign_invariant": SignInvariantEncoding,
}

__all__ = [
    "ENCODINGS",
    "CycleEncoding",
    "DegreeBucketEncoding",
    "DegreeEncoding",
    "LaplacianEncoding",
    "LearnedEncoding",
    "RandomWalkEncoding",
    "SignInvariantEncoding",
    "SinusoidalEncoding",
]
