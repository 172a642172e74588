"""What the attention layers of an encoder are given, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from graphattn.ops import AdjacencyMask, BlockDiagonalMask


@dataclass(frozen=True)
class AttentionContext:
    """What the layers of an encoder know besides the node vectors; each reads what it needs.

    Args:
        adjacency: who attends to whom in masked attention.
        blocks: the graphs that global attention stays in.
        edge_attr: edge features, [edges, edge_dim].
        pair_bias: added to the scores of full attention, flat, [pairs, heads].
        pair: the state on pairs of "pair" attention, flat, [pairs, channels].
    """

    adjacency: AdjacencyMask
    blocks: BlockDiagonalMask
    edge_attr: Tensor | None = None
    pair_bias: Tensor | None = None
    pair: Tensor | None = None


class AttentionOut(NamedTuple):
    """What a layer inside an encoder returns.

    Args:
        x: node vectors, [nodes, channels].
        pair: the state on pairs: of an attention layer its update, of an encoder layer the state after it; None for none.
        weights: the attention weights where they were asked for, else None; of two parallel attentions a pair of them.
    """

    x: Tensor
    pair: Tensor | None = None
    weights: Tensor | tuple[Tensor, ...] | None = None
