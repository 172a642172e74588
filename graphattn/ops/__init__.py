"""Pure functions on tensors: masks, scores, normalisers, and the one `attention` that joins them."""

from graphattn.ops.attention import attention
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.mask.expander import expander
from graphattn.ops.mask.k_hop import k_hop
from graphattn.ops.mask.virtual_nodes import with_virtual_nodes
from graphattn.ops.normaliser import NORMALISERS
from graphattn.ops.reference import EdgeFeatures, attention_reference
from graphattn.ops.score import Additive, Dot, Score, Static

__all__ = [
    "NORMALISERS",
    "Additive",
    "AdjacencyMask",
    "BlockDiagonalMask",
    "Dot",
    "EdgeFeatures",
    "Mask",
    "Score",
    "Static",
    "attention",
    "attention_reference",
    "expander",
    "k_hop",
    "with_virtual_nodes",
]
