from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import PairBias
from graphattn.structure.pair_bias.mlp import pair_mlp
from graphattn.structure.transform import StructuralTransform


class AddRelativeWalk(StructuralTransform):
    r"""Adds `data.rrwp_pair` [pairs, steps]: relative random-walk probabilities, float32.

    .. math::
        \big[ I, \; P, \; P^2, \; \ldots, \; P^{K-1} \big]_{ij}, \qquad P = D^{-1} A

    Ma et al., "Graph inductive biases in transformers without message passing" (2023). The pair of target i and source j holds
    the probabilities that a random walk from i is at j after 0 … K − 1 steps. A step follows the direction of an edge and takes
    each in proportion to its weight; multi-edges add up and self-loops count. A walk ends at a node that no edge leaves: from
    there on its probabilities are zero. Flat as `BlockDiagonalMask` says.

    Args:
        steps: the number of columns K.
        weight: the attribute that holds the weight of each edge, [edges]; default: none, every edge counts 1.

    Raises:
        InputError: on `steps` below 1, bad weights, or where the pairs would not fit in memory.
    """

    adds = {"rrwp_pair": "pair"}

    def __init__(self, steps: int = 8, weight: str | None = None) -> None:
        if steps < 1:
            raise InputError(f"steps must be at least 1, got {steps}")
        self.steps, self.weight = steps, weight

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        pair_ptr = graphs.pair_ptr
        pairs = int(pair_ptr[-1])
        largest = int(graphs.sizes.max()) if len(graphs.sizes) else 0
        # The result, and A, P, two of its powers and their places for the largest graph.
        refuse_too_many_pairs("relative random walks", pairs, 4 * self.steps * pairs + 5 * 8 * largest**2, pair_ptr.device)
        out = torch.zeros(pairs, self.steps, device=pair_ptr.device)
        for some, nodes, matrix in graphs.by_size():
            size = nodes.shape[1]
            place = (pair_ptr[some].unsqueeze(1) + torch.arange(size**2, device=some.device)).flatten()
            leaving = matrix.sum(-1, keepdim=True)
            walk = matrix / leaving.where(leaving > 0, 1)
            power = torch.eye(size, dtype=torch.float64, device=some.device).expand_as(walk)
            for step in range(self.steps):
                out[place, step] = power.float().flatten()
                if step + 1 < self.steps:
                    power = power @ walk
        return {"rrwp_pair": out}


class RelativeWalkBias(PairBias):
    """A bias from the relative random-walk probabilities of each pair, as `AddRelativeWalk` computes them.

    Ma et al., "Graph inductive biases in transformers without message passing" (2023); here one small network for all pairs.

    Args:
        columns: the number of steps K.
        heads: number of heads.

    Shapes:
        [pairs, K] → [pairs, heads].
    """

    name = "relative_walk"
    reads = ("rrwp_pair",)
    computed_by = AddRelativeWalk

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.embed = pair_mlp(columns, heads)

    def forward(self, probabilities: Tensor) -> Tensor:
        return self.embed(probabilities)
