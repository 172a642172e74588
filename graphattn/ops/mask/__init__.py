"""Masks: who attends to whom. Dataclasses of tensors, so `.to(device)`, torch.compile and torch.export see through them.

`adjacency.py` and `block_diagonal.py` are the two kinds; `virtual_nodes.py` adds nodes to an adjacency mask; `pairs.py` counts
and finds pairs in a block-diagonal one.
"""

from graphattn.ops.mask.adjacency import AdjacencyMask
from graphattn.ops.mask.block_diagonal import BlockDiagonalMask

Mask = AdjacencyMask | BlockDiagonalMask

__all__ = ["AdjacencyMask", "BlockDiagonalMask", "Mask"]
