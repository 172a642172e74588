"""Biases on pairs of nodes, one file each: a transform, and the module that makes a bias for each head of what it computes."""
