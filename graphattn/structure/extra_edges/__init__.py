"""Edges beyond those of the graph, one file each: a transform, and how a mask is extended by what it computes."""
