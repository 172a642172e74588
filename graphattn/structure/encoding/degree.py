from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding
from graphattn.structure.transform import StructuralTransform


class AddDegree(StructuralTransform):
    """Adds `data.degree_pe` [nodes, 1 or 2] = log(1 + degree); multi-edges count, a self-loop counts as one edge in and out.

    Args:
        direction: "in": edges into the node; "out": edges out of it; "both": a column of each, in-degree first.

    Raises:
        InputError: on an unknown direction.
    """

    adds = {"degree_pe": "node"}

    def __init__(self, direction: str = "in") -> None:
        if direction not in ("in", "out", "both"):
            raise InputError(f"direction must be 'in', 'out' or 'both', got {direction!r}")
        self.direction = direction

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        source, target = graphs.edge_index
        ends = {"in": [target], "out": [source], "both": [target, source]}[self.direction]
        degree = torch.stack([end.bincount(minlength=graphs.num_nodes) for end in ends], 1)
        return {"degree_pe": degree.float().log1p()}


class OfDegrees(Encoding):
    """What the encodings of degrees share: 1 column, or 2 for in- and out-degree."""

    reads = ("degree_pe",)
    computed_by = AddDegree

    @classmethod
    def check(cls, number: int) -> None:
        super().check(number)
        if number > 2:
            raise InputError(f"{cls.option} {cls.name!r} must be 1, or 2 for in- and out-degree, got {number}")

    @classmethod
    def transform(cls, number: int) -> StructuralTransform:
        return AddDegree("both" if number == 2 else "in")


class DegreeEncoding(OfDegrees):
    """Embeds log(1 + degree), as `AddDegree` computes it, in the width of the node vectors.

    After the centrality encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021),
    on a log scale, so that hubs of any degree have a place.

    Args:
        in_channels: 1, or 2 for in- and out-degree.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, in_channels] → [nodes, out_channels].
    """

    name = "degree"

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(in_channels, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels))

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)
