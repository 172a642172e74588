"""Heads: from node vectors to one output per node, or one per graph."""

from graphattn.nn.heads.graph import GraphHead
from graphattn.nn.heads.node import NodeHead

__all__ = ["GraphHead", "NodeHead"]
