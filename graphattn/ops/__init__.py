"""Pure functions on tensors: masks, scores, normalisers, and the one `attention` that joins them."""

from graphattn.ops.attention import attention
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask, Mask
from graphattn.ops.mask.virtual_nodes import with_virtual_nodes
from graphattn.ops.normaliser import NORMALISERS, Normaliser, normaliser_of, register_normaliser
from graphattn.ops.reference import EdgeFeatures, attention_reference
from graphattn.ops.score import SCORES, Additive, Dot, Score, Static, register_score

__all__ = [
    "NORMALISERS",
    "SCORES",
    "Additive",
    "AdjacencyMask",
    "BlockDiagonalMask",
    "Dot",
    "EdgeFeatures",
    "Mask",
    "Normaliser",
    "Score",
    "Static",
    "attention",
    "attention_reference",
    "normaliser_of",
    "register_normaliser",
    "register_score",
    "with_virtual_nodes",
]
