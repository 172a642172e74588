from __future__ import annotations

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding
from graphattn.structure.transform import StructuralTransform

# Up to so many nodes dense matrices, many graphs at a time, are quicker than sparse ones.
_DENSE_NODES = 256


class AddRandomWalk(StructuralTransform):
    r"""Adds `data.random_walk_pe` [nodes, steps]: the probabilities that a random walk is back after 1 … `steps` steps.

    .. math::
        \mathrm{pe}_{ik} = (P^k)_{ii}, \qquad P = D^{-1} A

    where A_ij is the number of edges from i to j or the sum of their weights, and D_i = Σ_j A_ij: multi-edges are as many
    chances to go there, a self-loop is a chance to stay. A node that no edge leaves never returns: zero. Source: Dwivedi et
    al., "Graph neural networks with learnable structural and positional representations" (2022).

    Exact values take float64 products of the matrix: dense ones of all small graphs of a batch together; sparse ones for
    larger graphs, in time O(steps · nodes · edges) and memory O(nodes · steps). Where "auto" finds that too much for a graph
    (some ten thousand nodes), it estimates from random signs z, one for each node (Bekas et al., "An estimator for the
    diagonal of a matrix", 2007): with S = D^-½ A D^-½, which has the same return probabilities,

    .. math::
        (P^{a+b})_{ii} = \mathrm{E}\, [(S^a z)_i \, ({S^\top}^b z)_i], \qquad a - b \in \{0, 1\}.

    Where every edge has its equal in the other direction, the limit π_i = D_i / Σ_j D_j (j in the component of i) is known
    and S^a z is freed of it, so that only what is left, q_k = p_k − π_i, is estimated. Steps 1 to 4 of an estimated graph
    are exact (1 and 2 beyond 2·10⁹ pairs of edges that follow each other). Of the later steps the standard error is at most

    * √(2 / probes) · q_k for an even step k, 3 % of q_k with the default; √(2 / probes) · √(q_{k−1} q_{k+1}) for an odd one,
    * in a directed graph √(2 / probes) · ‖row i of S^a‖ · ‖column i of S^b‖.

    The signs come from a fixed seed: the same graph has the same estimates each time, alone or in a batch.

    Args:
        steps: the largest number of steps.
        method: "exact"; "estimate"; or "auto": exact where it takes about ten seconds a graph, or no longer than the estimate.
        probes: vectors of random signs of an estimate; its time is proportional to them.
        weight: name of the attribute with the weight of each edge, such as "edge_weight"; default: every edge counts 1.

    Raises:
        InputError: on an option out of range, or weights that are missing, negative or not finite.
    """

    adds = {"random_walk_pe": "node"}

    def __init__(self, steps: int = 16, method: str = "auto", probes: int = 2048, weight: str | None = None) -> None:
        if steps < 1:
            raise InputError(f"steps must be at least 1, got {steps}")
        if method not in ("auto", "exact", "estimate"):
            raise InputError(f"method must be 'auto', 'exact' or 'estimate', got {method!r}")
        if probes < 1:
            raise InputError(f"probes must be at least 1, got {probes}")
        self.steps = steps
        self.method = method
        self.probes = probes
        self.weight = weight

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        out = torch.zeros(graphs.num_nodes, self.steps, dtype=torch.float64, device=graphs.ptr.device)
        most_nodes = 0 if self.method == "estimate" else _DENSE_NODES
        for _, nodes, matrix in graphs.by_size(most_nodes):
            out[nodes] = _dense_returns(matrix, self.steps)
        large = (graphs.sizes > most_nodes).nonzero().flatten().tolist()
        if large:
            from graphattn.structure.compute.return_probabilities import sparse_returns

            for own, returns in sparse_returns(graphs, large, self.steps, self.method, self.probes):
                out[own] = torch.from_numpy(returns).to(out.device)
        return {"random_walk_pe": out.float()}


class RandomWalkEncoding(Encoding):
    """Embeds the probabilities that a random walk is back where it began after 1 … K steps.

    Dwivedi et al., "Graph neural networks with learnable structural and positional representations" (2022).

    Args:
        in_channels: the number of steps K.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, K] → [nodes, out_channels].
    """

    name = "random_walk"
    reads = ("random_walk_pe",)
    computed_by = AddRandomWalk

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, out_channels)

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding)


def _dense_returns(adjacency: Tensor, steps: int) -> Tensor:
    """The return probabilities of many graphs of one size, [graphs, nodes, nodes] → [graphs, nodes, steps]."""
    degree = adjacency.sum(-1, keepdim=True)
    walk = adjacency / torch.where(degree > 0, degree, 1)
    power, columns = walk, [walk.diagonal(dim1=1, dim2=2)]
    for step in range(2, steps + 1):
        # Only the diagonal is needed: that of P^a P^b costs no product, and half of the powers are enough.
        longer = walk @ power if step % 2 else power
        columns.append((longer * power.mT).sum(-1))
        power = longer
    return torch.stack(columns, -1)
