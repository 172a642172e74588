from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import PairBias
from graphattn.structure.pair_bias.mlp import INITIAL_STD
from graphattn.structure.precision import in_autocast
from graphattn.structure.transform import StructuralTransform


class AddDistance(StructuralTransform):
    """Adds `data.distance_pair` [pairs]: the length of the shortest path from source j to target i, in buckets, uint8.

    The spatial encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021). Bucket 0 is
    the node itself, 1 … `longest` the number of edges, `longest` + 1 any longer path, `longest` + 2 no path. A path follows
    the direction of edges; on an undirected graph, which has both, the distance is symmetric. Multi-edges and self-loops
    change nothing. One byte a pair, flat as `BlockDiagonalMask` says.

    Args:
        longest: the longest distance with a bucket of its own, in [1, 253].

    Raises:
        InputError: on a `longest` outside its range, or where the pairs would not fit in memory.
    """

    adds = {"distance_pair": "pair"}

    def __init__(self, longest: int = 8) -> None:
        if not 1 <= longest <= 253:
            raise InputError(f"longest must lie in [1, 253], got {longest}")
        self.longest = longest

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        from graphattn.structure.compute.breadth_first import breadth_first

        pairs = int(graphs.pair_ptr[-1])
        refuse_too_many_pairs("distances", pairs, pairs)
        source, target = graphs.edge_index.cpu().numpy()
        out = np.full(pairs, self.longest + 2, dtype=np.uint8)
        row_ptr = np.zeros(graphs.num_nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(target, minlength=graphs.num_nodes), out=row_ptr[1:])
        sources = source[np.argsort(target, kind="stable")]
        breadth_first(graphs.ptr.cpu().numpy(), graphs.pair_ptr.cpu().numpy(), row_ptr, sources, self.longest, out)
        return {"distance_pair": torch.from_numpy(out).to(graphs.ptr.device)}


class DistanceBias(PairBias):
    """A learned bias for each shortest-path distance and head, as `AddDistance` puts them in buckets.

    The spatial encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021).

    Args:
        columns: the longest distance with a bucket of its own; the table has `columns` + 3 rows: for the node itself,
            1 … `columns`, further, and no path.
        heads: number of heads.

    Shapes:
        [pairs] → [pairs, heads].

    Raises:
        InputError: on a distance beyond the table, as of a transform with a larger `longest`.
    """

    name = "distance"
    reads = ("distance_pair",)
    computed_by = AddDistance

    @classmethod
    def columns(cls, number: int) -> dict[str, int | None]:
        return {"distance_pair": None}

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(columns + 3, heads))
        nn.init.normal_(self.table, std=INITIAL_STD)

    def forward(self, distance: Tensor) -> Tensor:
        rows = self.table.shape[0]
        if not torch.compiler.is_compiling() and distance.numel() and int(distance.max()) >= rows:
            raise InputError(
                f"distance must hold buckets in [0, {rows}), got {int(distance.max())}: "
                f"the transform must be AddDistance(longest={rows - 3})"
            )
        # Lowered after the look-up, so that the table's gradient is summed in its own precision.
        return in_autocast(F.embedding(distance.int(), self.table))
