from __future__ import annotations

from torch import Tensor, nn


class RandomWalkEncoding(nn.Module):
    """Embeds the probabilities that a random walk is back where it began after 1 … K steps.

    Dwivedi et al., "Graph neural networks with learnable structural and positional representations" (2022).

    Args:
        in_channels: the number of steps K.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, K] → [nodes, out_channels].
    """

    reads: tuple[str, ...] = ("random_walk_pe",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)
