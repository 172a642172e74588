from __future__ import annotations

from torch import nn

# Biases begin small, so that a model begins close to one without them; as Graphormer's tables do.
INITIAL_STD = 0.02
_HIDDEN = 32


def pair_mlp(columns: int, heads: int) -> nn.Sequential:
    """A small network from the values of a pair to a bias for each head, [pairs, columns] → [pairs, heads]."""
    # A constant on top would be the same for all pairs, which softmax does not see.
    last = nn.Linear(_HIDDEN, heads, bias=False)
    nn.init.normal_(last.weight, std=INITIAL_STD)
    return nn.Sequential(nn.Linear(columns, _HIDDEN), nn.GELU(), last)
