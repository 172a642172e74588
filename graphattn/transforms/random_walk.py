from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import AddRandomWalkPE, BaseTransform


class AddRandomWalk(BaseTransform):
    """Adds `data.random_walk_pe` [nodes, steps]: the probabilities that a random walk is back after 1 … `steps` steps.

    Dwivedi et al., "Graph neural networks with learnable structural and positional representations" (2022), computed by
    torch_geometric. A node that no edge leaves never returns: zero.

    Args:
        steps: the largest number of steps.
    """

    def __init__(self, steps: int = 16) -> None:
        self.steps = steps
        self._transform = AddRandomWalkPE(steps, attr_name="random_walk_pe")

    def forward(self, data: Data) -> Data:
        # torch_geometric stops at a graph without edges, such as a molecule of one atom.
        if data.num_edges == 0:
            data.random_walk_pe = torch.zeros(data.num_nodes, self.steps)
            return data
        bare = Data(edge_index=data.edge_index, num_nodes=data.num_nodes)
        data.random_walk_pe = self._transform(bare).random_walk_pe.nan_to_num(0.0)
        return data
