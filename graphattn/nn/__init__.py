"""Layers and models: parameters around `graphattn.ops`. Needs torch and torch_geometric only."""

from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.graph_transformer import GraphTransformer
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.layers import (
    ATTENTION,
    AttentionContext,
    AttentionOut,
    EncoderOptions,
    FullSelfAttention,
    LinearSelfAttention,
    MaskedSelfAttention,
    PairSelfAttention,
    SelfAttention,
    register_attention,
)
from graphattn.nn.linear import SparseLinear
from graphattn.ops import AdjacencyMask, BlockDiagonalMask

__all__ = [
    "ATTENTION",
    "AdjacencyMask",
    "AttentionContext",
    "AttentionOut",
    "BlockDiagonalMask",
    "EncoderLayer",
    "EncoderOptions",
    "FullSelfAttention",
    "GraphHead",
    "GraphTransformer",
    "LinearSelfAttention",
    "MaskedSelfAttention",
    "NodeHead",
    "PairSelfAttention",
    "SelfAttention",
    "SparseLinear",
    "register_attention",
]
