from __future__ import annotations

import torch
from torch import Tensor, nn


class LaplacianEncoding(nn.Module):
    """Embeds the eigenvectors of the graph Laplacian with the smallest non-trivial eigenvalues.

    An eigenvector's sign means nothing: in training every one is flipped at random, as in Dwivedi et al., "Benchmarking
    graph neural networks" (2020), so that the model learns not to rely on it. In eval mode signs are taken as they come.

    Args:
        in_channels: the number of eigenvectors.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, eigenvectors] → [nodes, out_channels].
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        if self.training:
            sign = torch.randint(0, 2, encoding.shape[-1:], device=encoding.device, dtype=encoding.dtype)
            encoding = encoding * (2 * sign - 1)
        return self.embed(encoding)
