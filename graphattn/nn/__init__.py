"""Layers and models: parameters around `graphattn.ops`. Needs torch and torch_geometric only."""

from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.encoding import ENCODINGS, DegreeEncoding, LaplacianEncoding, RandomWalkEncoding
from graphattn.nn.graph_transformer import GraphTransformer
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.linear import SparseLinear
from graphattn.ops import AdjacencyMask, BlockDiagonalMask

__all__ = [
    "ENCODINGS",
    "AdjacencyMask",
    "BlockDiagonalMask",
    "DegreeEncoding",
    "EncoderLayer",
    "FullSelfAttention",
    "GraphHead",
    "GraphTransformer",
    "LaplacianEncoding",
    "MaskedSelfAttention",
    "NodeHead",
    "RandomWalkEncoding",
    "SparseLinear",
]
