from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask, with_virtual_nodes
from graphattn.ops.recall import recall_with

KINDS = ("k_hop", "expander", "virtual")


class ExtraEdges(nn.Module):
    """Edges of masked attention beside those of the graph, each kind of a type of its own, and vectors of virtual nodes.

    Args:
        channels: width of the node vectors.
        kinds: name → number. "k_hop": k, from 2 up: an edge between nodes 2 … k steps apart, a type for each distance, as
            `graphattn.transforms.AddKHop(k, first=2)` computes them. "expander": the degree of a random regular graph on the
            nodes, by `AddExpander` (Shirzad et al., "Exphormer: sparse transformers for graphs", 2023). "virtual": number of
            nodes that are added to every graph and joined with all of its nodes, a type for each direction, with a learned
            vector each.

    Raises:
        InputError: on an unknown kind, or a number that is too small.
    """

    def __init__(self, channels: int, kinds: Mapping[str, int]) -> None:
        super().__init__()
        least = dict(zip(KINDS, (2, 3, 1), strict=True))
        for name, number in kinds.items():
            if name not in least:
                raise InputError(f"extra_edges must be among {', '.join(KINDS)}, got {name!r}")
            if not isinstance(number, Integral) or isinstance(number, bool) or number < least[name]:
                raise InputError(f"extra_edges {name!r} must be a whole number of at least {least[name]}, got {number!r}")
        self.k_hop, self.expander, self.num_virtual = (kinds.get(name, 0) for name in KINDS)
        self.num_types = 1 + max(self.k_hop - 1, 0) + bool(self.expander) + 2 * bool(self.num_virtual)
        self.virtual = nn.Parameter(torch.randn(self.num_virtual, channels) * 0.02) if self.num_virtual else None

    @property
    def reads(self) -> tuple[str, ...]:
        """The attributes of the data that `structure` must hold."""
        return ("khop_index", "khop_distance") * bool(self.k_hop) + ("expander_index",) * bool(self.expander)

    def forward(
        self, x: Tensor, edges: AdjacencyMask, blocks: BlockDiagonalMask, structure: Mapping[str, Tensor]
    ) -> tuple[Tensor, AdjacencyMask, Tensor | None]:
        """Adds the edges, and the virtual nodes after all others.

        Args:
            x: node vectors, [nodes, channels].
            edges: those of the graph, which come first and have type 0.
            blocks: the graphs.
            structure: what the transforms computed, by the names in `reads`.

        Returns:
            the node vectors with those of virtual nodes, the mask, and the graph of each virtual node, if there are any.

        Raises:
            InputError: naming what `structure` lacks, or distances of another transform.
        """
        missing = [name for name in self.reads if structure.get(name) is None]
        if missing:
            raise InputError(f"structure must hold {', '.join(self.reads)}, but {missing[0]} is not there")
        if self.k_hop:
            index, distance = structure["khop_index"], structure["khop_distance"]
            edges = edges | self._near(AdjacencyMask.from_edge_index(index, x.shape[0]), distance)
        if self.expander:
            edges = edges | AdjacencyMask.from_edge_index(structure["expander_index"], x.shape[0])
        if self.virtual is None:
            return x, edges, None
        mask, batch = with_virtual_nodes(edges, blocks, self.num_virtual)
        vectors = self.virtual.to(x.dtype).repeat(blocks.num_graphs, 1)
        return torch.cat([x, vectors]), mask, batch[x.shape[0] :]

    def _near(self, near: AdjacencyMask, distance: Tensor) -> AdjacencyMask:
        """The edges between nodes some steps apart, with a type for each distance."""
        k = self.k_hop
        if torch.compiler.is_compiling() or distance.is_inference():
            return near.with_types(distance - 2, k - 1)

        def make() -> AdjacencyMask:
            if distance.numel() and not 2 <= int(distance.min()) <= int(distance.max()) <= k:
                given = f"{int(distance.min())} to {int(distance.max())}"
                raise InputError(f"khop_distance must lie in [2, {k}], as of AddKHop({k}, first=2), got values from {given}")
            return near.with_types(distance - 2, k - 1)

        return recall_with(near, "_typed", (distance, distance._version, k), make)

    def extra_repr(self) -> str:
        numbers = zip(KINDS, (self.k_hop, self.expander, self.num_virtual), strict=True)
        return ", ".join(f"{name}={number}" for name, number in numbers if number)
