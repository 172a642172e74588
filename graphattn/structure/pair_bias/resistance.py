from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import PairBias
from graphattn.structure.pair_bias.mlp import pair_mlp
from graphattn.structure.transform import StructuralTransform


class AddResistance(StructuralTransform):
    r"""Adds `data.resistance_pair` [pairs, 2]: the resistance distance of two nodes, and whether a path joins them; float32.

    .. math::
        r_{ij} = L^+_{ii} + L^+_{jj} - 2 L^+_{ij}

    Klein and Randić, "Resistance distance" (1993): the resistance between two nodes of a network whose edges are resistors,
    with a conductance of their weight. Edges count in both directions, once each: the conductance between two nodes is the
    larger one of the summed weights of the edges either way. Multi-edges are resistors side by side; self-loops carry no
    current. The second column is 1 for two nodes of the same component, and 0, like the first, for others, whose resistance is
    infinite. Flat as `BlockDiagonalMask` says.

    Args:
        weight: the attribute that holds the weight of each edge, [edges]; default: none, every edge counts 1.

    Raises:
        InputError: on bad weights, weights too unlike each other to be solved for, or where the pairs would not fit in memory.
    """

    adds = {"resistance_pair": "pair"}

    def __init__(self, weight: str | None = None) -> None:
        self.weight = weight

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        pair_ptr = graphs.pair_ptr
        pairs = int(pair_ptr[-1])
        largest = int(graphs.sizes.max()) if len(graphs.sizes) else 0
        # The result, and for the largest graph its weights, Laplacian, factor, inverse and what is formed of them.
        refuse_too_many_pairs("resistance distances", pairs, 2 * 4 * pairs + 7 * 8 * largest**2, pair_ptr.device)
        component = _components(graphs)
        out = torch.zeros(pairs, 2, device=pair_ptr.device)
        for some, nodes, matrix in graphs.by_size():
            place = (pair_ptr[some].unsqueeze(1) + torch.arange(nodes.shape[1] ** 2, device=some.device)).flatten()
            joined = component[nodes].unsqueeze(2) == component[nodes].unsqueeze(1)
            out[place, 0] = _resistance(torch.maximum(matrix, matrix.mT), joined).float().flatten()
            out[place, 1] = joined.float().flatten()
        return {"resistance_pair": out}


class ResistanceBias(PairBias):
    """A bias from the resistance distance of each pair, as `AddResistance` computes it.

    After Zhang et al., "Rethinking the expressive power of GNNs via graph biconnectivity" (2023), who bias attention by it;
    here one small network reads log(1 + r), so that long chains stay in range, and whether a path joins the nodes at all.

    Args:
        columns: 2.
        heads: number of heads.

    Shapes:
        [pairs, 2] → [pairs, heads].
    """

    name = "resistance"
    reads = ("resistance_pair",)
    computed_by = AddResistance

    @classmethod
    def check(cls, number: int) -> None:
        super().check(number)
        if number != 2:
            raise InputError(f"{cls.option} {cls.name!r} must be 2, the columns of AddResistance, got {number}")

    @classmethod
    def transform(cls, number: int) -> StructuralTransform:
        return AddResistance()

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.embed = pair_mlp(columns, heads)

    def forward(self, resistance: Tensor) -> Tensor:
        return self.embed(torch.cat([resistance[:, :1].log1p(), resistance[:, 1:]], dim=1))


def _resistance(conductance: Tensor, joined: Tensor) -> Tensor:
    """Resistance distances [graphs, n, n], zero where nodes are not joined, of symmetric conductances [graphs, n, n]."""
    conductance.diagonal(dim1=1, dim2=2).zero_()
    total = conductance.sum(-1)
    size = joined.sum(-1)
    # A constant over each component is what L does not see. Added to L it makes it regular, and drops out of r; at the size of
    # the component's own conductances it does not harm the precision. A node by itself has none: any number does.
    scale = (joined.double() @ total.unsqueeze(-1)).squeeze(-1) / size
    constant = (scale.where(scale > 0, 1) / size).unsqueeze(-1)
    factor, failed = torch.linalg.cholesky_ex(torch.diag_embed(total) - conductance + joined * constant)
    if bool(failed.any()):
        raise InputError("weight must hold numbers of similar size, but they differ too much to solve for the resistance")
    inverse = torch.cholesky_inverse(factor)
    diagonal = inverse.diagonal(dim1=1, dim2=2)
    return (diagonal.unsqueeze(2) + diagonal.unsqueeze(1) - 2 * inverse).clamp(min=0) * joined


def _components(graphs: Graphs) -> Tensor:
    """The number of each node's component, [nodes]; an edge of weight 0 joins nothing."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    source, target = graphs.edge_index[:, graphs.weights > 0].cpu().numpy()
    shape = (graphs.num_nodes, graphs.num_nodes)
    _, component = connected_components(sparse.csr_array((np.ones(len(source)), (source, target)), shape=shape), directed=False)
    return torch.from_numpy(component).to(graphs.ptr.device)
