from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure.kind import ExtraEdges
from graphattn.structure.registry import STRUCTURE, kinds_of


class GraphExtension(nn.Module):
    """The extra edges of a model: a union of masks, each kind with edge types of its own, and the vectors of virtual nodes.

    Args:
        channels: width of the node vectors.
        kinds: name → number, as the option `extra_edges` of `GraphTransformer`.

    Raises:
        InputError: on an unknown kind, a number that a kind does not take, or two kinds that add virtual nodes.
    """

    def __init__(self, channels: int, kinds: Mapping[str, int]) -> None:
        super().__init__()
        made = [cast(type[ExtraEdges], kind)(number) for kind, number in kinds_of({"extra_edges": kinds})]
        # In the registry's order, so that edge types do not depend on that of the option; virtual nodes come after all edges.
        order = list(STRUCTURE["extra_edges"])
        self.kinds = sorted(made, key=lambda kind: (kind.num_nodes > 0, order.index(kind.name)))
        adding = [kind.name for kind in self.kinds if kind.num_nodes]
        if len(adding) > 1:
            raise InputError(f"extra_edges may have one kind that adds virtual nodes, got {', '.join(adding)}")
        self.num_virtual = sum(kind.num_nodes for kind in self.kinds)
        self.num_types = 1 + sum(kind.num_types for kind in self.kinds)
        self.virtual = nn.Parameter(torch.randn(self.num_virtual, channels) * 0.02) if self.num_virtual else None

    @property
    def reads(self) -> tuple[str, ...]:
        """The attributes of the data that `structure` must hold."""
        return tuple(name for kind in self.kinds for name in kind.reads)

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
        for kind in self.kinds:
            edges = kind.add(edges, blocks, *(structure[name] for name in kind.reads))
        if self.virtual is None:
            return x, edges, None
        vectors = self.virtual.to(x.dtype).repeat(blocks.num_graphs, 1)
        graph = torch.arange(blocks.num_graphs, device=x.device).unsqueeze(1).expand(-1, self.num_virtual).flatten()
        return torch.cat([x, vectors]), edges, graph

    def extra_repr(self) -> str:
        return ", ".join(f"{kind.name}={kind.number}" for kind in self.kinds)
