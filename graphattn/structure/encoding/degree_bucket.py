from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphattn.structure.encoding.degree import OfDegrees
from graphattn.structure.precision import in_autocast

# Two buckets for every doubling of the degree; the last begins at 3,072 and has no end.
_FIRST = sorted([2**k for k in range(12)] + [3 * 2**k for k in range(11)])
# Half a degree below the first of a bucket, so that the rounding of logarithms moves none; of log(1 + degree).
_BOUNDARIES = [math.log(first + 0.5) for first in _FIRST]


class DegreeBucketEncoding(OfDegrees):
    """A learned vector for every bucket of degrees: 0, 1, 2, 3, 4–5, 6–7, 8–11, 12–15, 16–23, …, 2,048–3,071, 3,072 and more.

    The centrality encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021), whose
    table has a row for each degree; the log scale keeps it small and fills its rows in networks with hubs. In- and
    out-degree have separate tables, and their vectors are added.

    Args:
        in_channels: 1, or 2 for in- and out-degree.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, in_channels], as `AddDegree` computes it → [nodes, out_channels].
    """

    name = "degree_bucket"

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(in_channels * (len(_BOUNDARIES) + 1), out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        # No buffer: it would be lowered with the module.
        values = encoding.to(torch.promote_types(encoding.dtype, torch.float32))
        bucket = torch.bucketize(values, torch.tensor(_BOUNDARIES, dtype=values.dtype, device=values.device))
        offset = torch.arange(encoding.shape[1], device=encoding.device) * (len(_BOUNDARIES) + 1)
        return in_autocast(self.table(bucket + offset).sum(1))
