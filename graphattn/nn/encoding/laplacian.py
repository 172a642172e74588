from __future__ import annotations

from torch import Tensor, nn


class LaplacianEncoding(nn.Module):
    """Embeds the eigenvectors of the graph Laplacian with the smallest non-trivial eigenvalues.

    Dwivedi et al., "Benchmarking graph neural networks" (2020). An eigenvector's sign means nothing across graphs: train on
    many graphs with their signs flipped at random, see `graphattn.transforms.flip_signs`, or take `SignInvariantEncoding`.

    Args:
        in_channels: the number of eigenvectors.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, eigenvectors] → [nodes, out_channels].
    """

    reads: tuple[str, ...] = ("laplacian_pe",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)
