"""Masks: who attends to whom. Dataclasses of tensors, so `.to(device)`, torch.compile and torch.export see through them.

`adjacency.py` and `block_diagonal.py` are the two kinds; `k_hop.py`, `expander.py` and `virtual_nodes.py` make adjacency masks
beyond the graph's own edges; `pairs.py` counts and finds pairs in a block-diagonal one.
"""

from graphattn.ops.mask.adjacency import AdjacencyMask
from graphattn.ops.mask.block_diagonal import BlockDiagonalMask

Mask = AdjacencyMask | BlockDiagonalMask

__all__ = ["AdjacencyMask", "BlockDiagonalMask", "Mask"]
