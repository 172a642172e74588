from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, BaseTransform
from torch_geometric.utils import to_undirected

from graphattn.errors import InputError


class AddLaplacian(BaseTransform):
    """Adds `data.laplacian_pe` [nodes, k]: eigenvectors of the normalised Laplacian, the constant one left out.

    Dwivedi et al., "Benchmarking graph neural networks" (2020), computed by torch_geometric. Edges count in both directions,
    once each. Columns are scaled to norm √nodes, so that entries are of the size of 1 in graphs of any size. A graph with
    fewer than k + 1 nodes has fewer such eigenvectors; the other columns are zero. Signs are arbitrary; each column's
    largest entry (the first, among equals) is made positive.

    Args:
        k: number of eigenvectors.

    Raises:
        InputError: where the iteration for a large graph does not converge.
    """

    def __init__(self, k: int = 8) -> None:
        self.k = k

    def forward(self, data: Data) -> Data:
        num_nodes = data.num_nodes
        # torch_geometric stops where a graph has no k eigenvectors beyond the first; without edges all vectors are.
        available = min(self.k, num_nodes - 1) if data.num_edges else 0
        out = torch.zeros(num_nodes, self.k)
        if available > 0:
            bare = Data(edge_index=to_undirected(data.edge_index, num_nodes=num_nodes), num_nodes=num_nodes)
            # Without a start vector of its own the sparse solver draws one: another result at every call.
            start = np.random.default_rng(0).random(num_nodes, dtype=np.float32)
            transform = AddLaplacianEigenvectorPE(available, attr_name="pe", is_undirected=True, v0=start, maxiter=10_000)
            try:
                vectors = transform(bare).pe.float()
            except ArpackNoConvergence:
                raise InputError(
                    f"the Laplacian eigenvectors of this network of {num_nodes:,} nodes did not converge: it has long chains; "
                    "use the encodings degree or random_walk instead"
                ) from None
            largest = (vectors.abs() > vectors.abs().amax(0) * (1 - 1e-4)).float().argmax(0, keepdim=True)
            out[:, :available] = vectors * vectors.gather(0, largest).sign() * num_nodes**0.5
        data.laplacian_pe = out
        return data


def flip_signs(vectors: Tensor, batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Flips each eigenvector of each graph at random, so that a model trained on many graphs does not rely on signs.

    Args:
        vectors: [nodes, k].
        batch: the graph number of each node, [nodes].
        generator: source of the random signs, on the CPU; default: torch's own.
    """
    graphs = int(batch.max()) + 1 if len(batch) else 0
    sign = torch.randint(0, 2, (graphs, vectors.shape[1]), generator=generator).to(vectors) * 2 - 1
    return vectors * sign[batch]
