from __future__ import annotations

from torch import Tensor, nn


class CycleEncoding(nn.Module):
    """Embeds the numbers of simple cycles through a node, each as log(1 + count).

    Counts grow with the length of the cycles and the degrees by orders of magnitude; the logarithm keeps them of one size.
    What cycles add to message passing: Bouritsas et al., "Improving graph neural network expressivity via subgraph
    isomorphism counting" (2022).

    Args:
        in_channels: the number of cycle lengths: 3, 4, … in_channels + 2, as `graphattn.transforms.AddCycleCounts` counts them.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, lengths] → [nodes, out_channels].
    """

    reads: tuple[str, ...] = ("cycles_pe",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(in_channels, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels))

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding.log1p())
