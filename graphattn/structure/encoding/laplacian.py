from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding
from graphattn.structure.transform import StructuralTransform

NORMALISATIONS = ("symmetric", "random_walk")


class AddLaplacian(StructuralTransform):
    """Adds the eigenvectors of the normalised Laplacian with the k smallest non-trivial eigenvalues, and these eigenvalues.

    Dwivedi et al., "Benchmarking graph neural networks" (2020). With W the symmetric weights and D their sums by node:

        symmetric:    L = I − D^-½ W D^-½
        random_walk:  L = I − D⁻¹ W,  the eigenvectors of the symmetric one times D^-½, the eigenvalues the same

    Each connected component stands alone, with one trivial eigenvalue 0 of its own, which is left out. So all eigenvalues
    are positive (no less than 2.2e-16, rounding's size), and a value of 0 marks the padding: the last columns, in both
    attributes, of a component of fewer than k + 1 nodes. Columns are scaled to norm √nodes of the component: entries have
    the size of 1 in components of any size.

    Without `weight` the graph is simple: every two nodes with an edge in either direction, or several, are joined once. With
    `weight`, W adds up the weights of all edges in both directions, and an edge of weight 0 joins nothing. Self-loops are
    left out.

    The same graph always gets the same values, alone or in a batch, for any number of threads. What that fixes:

    * **Sign**: the sum of cubes Σ v³ is positive, whatever the order of the nodes. Where it is zero, the largest entry is
      positive (the first node's, among equals), which depends on the order of the nodes: where a symmetry of the graph turns
      v into −v, as on a path, no rule can do better. Signs mean nothing across graphs: see `flip_signs`, and
      `SignInvariantEncoding`.
    * **Repeated eigenvalues** (nearer than 1e-10): only the eigenspace is defined. With P the projection on it, the first
      vector is P eᵢ for the node i that has the largest share ‖P eᵢ‖ of it (the first, among equals), and so on with what is
      left of the space. Another order of the nodes can give another basis. Where k cuts an eigenspace of a component of over
      500 nodes, the part of it that is found depends on their order too.

    Components of up to 500 nodes are solved by a dense solver, many at a time; larger ones by Lanczos iteration, and where
    eigenvalues lie too close for it (chains, grids), by Lanczos iteration on a sparse factorisation of L.

    Edges that come or go turn the basis: a model of one network keeps the eigenvectors that it was trained with, and nodes that
    came later get them from their neighbours, see `extend`.

    Adds `laplacian_pe` and `laplacian_values_pe`: the eigenvalue of each column in the node's component, both [nodes, k].

    Args:
        k: number of eigenvectors.
        normalisation: "symmetric" or "random_walk".
        weight: the attribute that holds a weight for each edge; default: none.

    Raises:
        InputError: on an option out of range, or where no iteration for a large component converges.
    """

    adds = {"laplacian_pe": "node", "laplacian_values_pe": "node"}
    turns = True

    def __init__(self, k: int = 8, normalisation: str = "symmetric", weight: str | None = None) -> None:
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if normalisation not in NORMALISATIONS:
            raise InputError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}")
        self.k, self.normalisation, self.weight = k, normalisation, weight

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        from graphattn.structure.compute.eigenvectors import laplacian_eigenvectors

        vectors, values = laplacian_eigenvectors(graphs, self.k, random_walk=self.normalisation == "random_walk")
        return {"laplacian_pe": vectors, "laplacian_values_pe": values}

    def extend(self, graphs: Graphs, values: dict[str, Tensor], known: Tensor) -> dict[str, Tensor]:
        r"""Known nodes keep their values. The others get them from their neighbours: as an eigenvector of L has them, but for
        the factor 1 / (1 − λ),

        .. math:: v_i = \sum_j \frac{W_{ij}}{\sqrt{D_i D_j}} v_j \;\text{(symmetric)}, \qquad
                  v_i = \sum_j \frac{W_{ij}}{D_i} v_j \;\text{(random\_walk)}

        in twenty rounds that begin with zero; and the mean of the eigenvalues there. Nodes with no path to a known node get 0.
        """
        from graphattn.structure.compute.eigenvectors import from_neighbours

        vectors, eigenvalues = from_neighbours(
            graphs,
            values["laplacian_pe"],
            values["laplacian_values_pe"],
            known,
            random_walk=self.normalisation == "random_walk",
        )
        return {"laplacian_pe": vectors, "laplacian_values_pe": eigenvalues}

    def agreement(self, graphs: Graphs, values: dict[str, Tensor], known: Tensor) -> Tensor:
        r"""How much alike the values of nodes with an edge are: the autocorrelation of each eigenvector over the edges between
        known nodes,

        .. math:: \frac{\sum_{ij} W_{ij} v_i v_j / \sqrt{D_i D_j}}{\sum_i v_i^2}

        1 − λ on the graph of the (symmetric) eigenvectors, and near 0 on another.
        """
        from graphattn.structure.compute.eigenvectors import autocorrelation

        return autocorrelation(graphs, values["laplacian_pe"], known)


def flip_signs(vectors: Tensor, batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Flips each eigenvector of each graph at random, so that a model trained on many graphs does not rely on signs.

    Args:
        vectors: [nodes, k].
        batch: the graph number of each node, [nodes].
        generator: source of the random signs, on the CPU; default: torch's own.
    """
    graphs = int(batch.max()) + 1 if len(batch) else 0
    sign = torch.randint(0, 2, (graphs, vectors.shape[1]), generator=generator).to(vectors) * 2 - 1
    return vectors * sign[batch]


class LaplacianEncoding(Encoding):
    """Embeds the eigenvectors of the graph Laplacian with the smallest non-trivial eigenvalues.

    Dwivedi et al., "Benchmarking graph neural networks" (2020). An eigenvector's sign means nothing across graphs: in
    training on many graphs they are flipped at random, see `flip_signs`; `SignInvariantEncoding` does not depend on them.

    Args:
        in_channels: the number of eigenvectors.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, eigenvectors] → [nodes, out_channels].
    """

    name = "laplacian"
    reads = ("laplacian_pe",)
    computed_by = AddLaplacian

    @classmethod
    def augment(cls, values: Mapping[str, Tensor], batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The signs of all eigenvectors flipped at random."""
        return {"laplacian_pe": flip_signs(values["laplacian_pe"], batch, generator)}

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)
