from __future__ import annotations

from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.structure.graphs import Graphs
from graphattn.structure.kind import Encoding
from graphattn.structure.transform import StructuralTransform


class AddCycleCounts(StructuralTransform):
    """Adds `data.cycles_pe` [nodes, longest − 2]: the number of simple cycles of 3, 4, … `longest` nodes through each node.

    A simple cycle visits no node twice; rings of a molecule that share bonds make further ones around both. Edges count once
    and in both directions; self-loops and multi-edges make no cycle: what `networkx.simple_cycles(graph, length_bound=longest)`
    lists for the undirected simple graph. Cycles tell regular graphs apart that walks and distances cannot.

    Every cycle is walked: from its node of highest degree along nodes of lower degree that are near enough to come back. Their
    number grows with length like powers of the degrees, so that hubs make it explode: a graph that takes over `most_steps`
    steps is refused.

    Args:
        longest: the largest number of nodes of a cycle, at least 3.
        most_steps: edges to look at in one graph, some ten seconds for 10⁹.

    Raises:
        InputError: on `longest` below 3, or where a graph takes more steps; the message says which length it can afford.
    """

    adds = {"cycles_pe": "node"}

    def __init__(self, longest: int = 8, most_steps: int = 10**9) -> None:
        if longest < 3:
            raise InputError(f"longest must be at least 3, the nodes of the shortest cycle, got {longest}")
        self.longest = longest
        self.most_steps = most_steps

    def compute(self, graphs: Graphs) -> dict[str, Tensor]:
        from graphattn.structure.compute.cycles import cycle_counts

        return {"cycles_pe": cycle_counts(graphs, self.longest, self.most_steps).float()}


class CycleEncoding(Encoding):
    """Embeds the numbers of simple cycles through a node, each as log(1 + count).

    Counts grow with the length of the cycles and the degrees by orders of magnitude; the logarithm keeps them of one size.
    What cycles add to message passing: Bouritsas et al., "Improving graph neural network expressivity via subgraph
    isomorphism counting" (2022).

    Args:
        in_channels: the number of cycle lengths: 3, 4, … in_channels + 2, as `AddCycleCounts` counts them.
        out_channels: width of the node vectors.

    Shapes:
        [nodes, lengths] → [nodes, out_channels].
    """

    name = "cycles"
    reads = ("cycles_pe",)
    computed_by = AddCycleCounts

    @classmethod
    def transform(cls, number: int) -> StructuralTransform:
        return AddCycleCounts(number + 2)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(in_channels, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels))

    def forward(self, encoding: Tensor) -> Tensor:
        return self.embed(encoding.log1p())
