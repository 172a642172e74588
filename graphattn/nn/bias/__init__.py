"""Biases on pairs of nodes, added to the scores of full attention. A new one is a file here and a line in `BIASES`.

Each is made of (number of columns, heads) and gives a flat [pairs, heads], see `BlockDiagonalMask`: the `pair_bias` of
`FullSelfAttention`; those of several biases add up. The attributes of the data that its `forward` takes, in their order, stand
in `reads`; a transform of `graphattn.transforms` computes them.
"""

from torch import nn

from graphattn.nn.bias.distance import DistanceBias
from graphattn.nn.bias.edge import EdgeBias
from graphattn.nn.bias.relative_walk import RelativeWalkBias
from graphattn.nn.bias.resistance import ResistanceBias

BIASES: dict[str, type[nn.Module]] = {
    "distance": DistanceBias,
    "relative_walk": RelativeWalkBias,
    "resistance": ResistanceBias,
    "edge": EdgeBias,
}

__all__ = ["BIASES", "DistanceBias", "EdgeBias", "RelativeWalkBias", "ResistanceBias"]
