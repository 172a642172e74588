from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import degree


class AddDegree(BaseTransform):
    """Adds `data.degree_pe` [nodes, 1] = log(1 + in-degree); multi-edges and self-loops count."""

    def forward(self, data: Data) -> Data:
        data.degree_pe = degree(data.edge_index[1], data.num_nodes).log1p().unsqueeze(-1)
        return data
