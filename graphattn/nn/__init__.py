"""Layers and models: parameters around `graphattn.ops`. Needs torch and torch_geometric only."""

from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.nn.bias import BIASES
from graphattn.nn.encoder import EncoderLayer, Surroundings
from graphattn.nn.encoding import ENCODINGS, DegreeEncoding, LaplacianEncoding, RandomWalkEncoding
from graphattn.nn.extra_edges import ExtraEdges
from graphattn.nn.graph_transformer import GraphTransformer
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.linear import SparseLinear
from graphattn.nn.linear_attention import LinearSelfAttention
from graphattn.nn.pair_attention import PairSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask

__all__ = [
    "BIASES",
    "ENCODINGS",
    "AdjacencyMask",
    "BlockDiagonalMask",
    "DegreeEncoding",
    "EncoderLayer",
    "ExtraEdges",
    "FullSelfAttention",
    "GraphHead",
    "GraphTransformer",
    "LaplacianEncoding",
    "LinearSelfAttention",
    "MaskedSelfAttention",
    "NodeHead",
    "PairSelfAttention",
    "RandomWalkEncoding",
    "SparseLinear",
    "Surroundings",
]
