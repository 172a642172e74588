from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.structure.encoding.laplacian import AddLaplacian
from graphattn.structure.kind import Encoding, Size, weights_of_maps

# Channels of φ for each eigenvector: nodes × eigenvectors × channels is what the layer keeps for a training step.
_CHANNELS = 16


class SignInvariantEncoding(Encoding):
    r"""Embeds the eigenvectors v₁ … v_k of the graph Laplacian and their eigenvalues λ, whatever the sign of each.

    .. math:: e_i = ρ( ‖_{c=1}^k [ φ(v_{ic}, λ_c) + φ(-v_{ic}, λ_c) ] )

    SignNet, by Lim et al., "Sign and basis invariant networks for spectral graph representation learning" (2022): φ and ρ are
    perceptrons of one hidden layer, φ the same for every eigenvector. Columns of padding, whose eigenvalue is 0, contribute
    zero. It is not invariant to the choice of a basis where eigenvalues are equal.

    Args:
        in_channels: the number of eigenvectors k.
        out_channels: width of the node vectors.

    Shapes:
        eigenvectors [nodes, k], and the eigenvalue of each in the node's component [nodes, k] → [nodes, out_channels].
    """

    name = "sign_invariant"
    reads = ("laplacian_pe", "laplacian_values_pe")
    computed_by = AddLaplacian

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.phi = nn.Sequential(nn.Linear(2, _CHANNELS), nn.GELU(), nn.Linear(_CHANNELS, _CHANNELS))
        self.rho = nn.Sequential(
            nn.Linear(in_channels * _CHANNELS, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels)
        )

    def forward(self, vectors: Tensor, values: Tensor) -> Tensor:
        either = self.phi(torch.stack([vectors, values], -1)) + self.phi(torch.stack([-vectors, values], -1))
        return self.rho((either * (values > 0).unsqueeze(-1)).flatten(1))

    def multiply_adds(self, size: Size) -> int:
        """φ is applied to every eigenvector, with both signs."""
        return size.nodes * (2 * self.in_channels * weights_of_maps(self.phi) + weights_of_maps(self.rho))
