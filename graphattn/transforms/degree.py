from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.transforms.structure import Graphs, StructuralTransform


class AddDegree(StructuralTransform):
    """Adds `data.degree_pe` [nodes, 1 or 2] = log(1 + degree); multi-edges count, a self-loop counts as one edge in and out.

    Args:
        direction: "in": edges into the node; "out": edges out of it; "both": a column of each, in-degree first.

    Raises:
        InputError: on an unknown direction.
    """

    def __init__(self, direction: str = "in") -> None:
        if direction not in ("in", "out", "both"):
            raise InputError(f"direction must be 'in', 'out' or 'both', got {direction!r}")
        self.direction = direction

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        source, target = graphs.edge_index
        ends = {"in": [target], "out": [source], "both": [target, source]}[self.direction]
        degree = torch.stack([end.bincount(minlength=graphs.num_nodes) for end in ends], 1)
        return {"degree_pe": degree.float().log1p()}
