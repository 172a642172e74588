from __future__ import annotations

from torch import Tensor, nn


class DegreeEncoding(nn.Module):
    """Embeds log(1 + degree), as `graphattn.transforms.AddDegree` computes it, in the width of the node vectors.

    After the centrality encoding of Ying et al., "Do transformers really perform badly for graph representation?" (2021),
    on a log scale, so that hubs of any degree have a place.

    Args:
        in_channels: 1, or 2 for in- and out-degree.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, in_channels] → [nodes, out_channels].
    """

    reads: tuple[str, ...] = ("degree_pe",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(in_channels, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels))

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)
