from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, BaseTransform
from torch_geometric.utils import to_undirected


class AddLaplacian(BaseTransform):
    """Adds `data.laplacian_pe` [nodes, k]: eigenvectors of the normalised Laplacian, the constant one left out.

    Dwivedi et al., "Benchmarking graph neural networks" (2020), computed by torch_geometric. Edges count in both directions,
    once each. A graph with fewer than k + 1 nodes has fewer such eigenvectors; the other columns are zero. Signs are
    arbitrary; each column's largest entry (the first, among equals) is made positive.

    Args:
        k: number of eigenvectors.
    """

    def __init__(self, k: int = 8) -> None:
        self.k = k

    def forward(self, data: Data) -> Data:
        num_nodes = data.num_nodes
        # torch_geometric stops where a graph has no k eigenvectors beyond the first.
        available = min(self.k, num_nodes - 1)
        out = torch.zeros(num_nodes, self.k)
        if available > 0:
            bare = Data(edge_index=to_undirected(data.edge_index, num_nodes=num_nodes), num_nodes=num_nodes)
            # Without a start vector of its own the sparse solver draws one: another result at every call.
            start = np.random.default_rng(0).random(num_nodes, dtype=np.float32)
            transform = AddLaplacianEigenvectorPE(available, attr_name="pe", is_undirected=True, v0=start)
            vectors = transform(bare).pe.float()
            largest = (vectors.abs() > vectors.abs().amax(0) * (1 - 1e-4)).float().argmax(0, keepdim=True)
            out[:, :available] = vectors * vectors.gather(0, largest).sign()
        data.laplacian_pe = out
        return data
