from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding
from graphattn.structure.transform import StructuralTransform


class AddPosition(StructuralTransform):
    """Adds `data.position_pe` [nodes, 1]: the place of each node on a path graph, 0, 1, 2, …, as in a sequence.

    It is counted from the end with the smaller node number; where every edge leads the other way, as in a directed path,
    from the end where that begins. Multi-edges and self-loops change nothing. Nodes of other graphs have no place in a
    sequence, so positions must be given there: a `position_pe` that is there already is kept as it is.

    Raises:
        InputError: where a graph is not a path and no positions are given, or those given are not [nodes, 1].
    """

    adds = {"position_pe": "node"}
    keeps = ("position_pe",)

    def forward(self, data: Data) -> Data:
        if not self.is_given(data):
            return super().forward(data)
        given = data.position_pe
        if not isinstance(given, Tensor) or given.shape != (data.num_nodes, 1):
            shape = f"shape {list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
            raise InputError(f"data.position_pe must be a tensor of shape [{data.num_nodes}, 1], got {shape}")
        return data

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        from scipy import sparse
        from scipy.sparse.csgraph import dijkstra

        num_nodes, sizes = graphs.num_nodes, graphs.sizes.cpu().numpy()
        source, target = graphs.edge_index.cpu().numpy()
        joined = source != target
        pairs = np.minimum(source, target)[joined] * num_nodes + np.maximum(source, target)[joined]
        low, high = np.divmod(np.unique(pairs), max(num_nodes, 1))
        degree = np.bincount(low, minlength=num_nodes) + np.bincount(high, minlength=num_nodes)
        graph = np.repeat(np.arange(len(sizes)), sizes)
        # The first node of degree 0 or 1 of each graph that has one.
        tips = np.flatnonzero(degree <= 1)
        starts = tips[np.unique(graph[tips], return_index=True)[1]]
        place = np.full(num_nodes, np.inf)
        if len(starts):
            adjacency = sparse.csr_array((np.ones(len(low)), (low, high)), shape=(num_nodes, num_nodes))
            place = dijkstra(adjacency, directed=False, indices=starts, unweighted=True, min_only=True)
        # All nodes reached from there, none branching: a path.
        bad = np.flatnonzero(np.isinf(place) | (degree > 2))
        if len(bad):
            raise InputError(
                f"data must be a path to have positions, but a graph of {sizes[graph[bad[0]]]:,} nodes is none: "
                "give data.position_pe, shape [nodes, 1]"
            )
        forth = np.bincount(graph[source], place[target] > place[source], len(sizes))
        back = np.bincount(graph[source], place[target] < place[source], len(sizes))
        turned = ((forth == 0) & (back > 0))[graph]
        place[turned] = sizes[graph[turned]] - 1 - place[turned]
        return {"position_pe": torch.from_numpy(place).float().unsqueeze(1).to(graphs.ptr.device)}


class OfPositions(Encoding):
    """What the encodings of positions share."""

    reads = ("position_pe",)
    computed_by = AddPosition

    @classmethod
    def transform(cls, number: int) -> StructuralTransform:
        return AddPosition()

    @classmethod
    def columns(cls, number: int) -> dict[str, int | None]:
        return {"position_pe": 1}
