from __future__ import annotations

from torch import Tensor, nn


class NodeHead(nn.Module):
    """One output per node: y_i = W norm(x_i) + b.

    Args:
        channels: width of the node vectors.
        out_channels: width of the output, e.g. the number of classes.

    Shapes:
        [nodes, channels] → [nodes, out_channels].
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.lin = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """The vectors that the linear map reads, [nodes, channels]."""
        return self.norm(x)
