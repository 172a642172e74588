"""Transforms of a graph, once: structural encodings, and the order of its nodes in memory.

A new encoding is a file here and a line in `ENCODING_TRANSFORMS`.
"""

from torch_geometric.transforms import BaseTransform, Compose

from graphattn.transforms.degree import AddDegree
from graphattn.transforms.laplacian import AddLaplacian, flip_signs
from graphattn.transforms.random_walk import AddRandomWalk
from graphattn.transforms.reorder import Reorder


def encoding_transform(encodings: dict[str, int]) -> BaseTransform:
    """The transform that adds `data.<name>_pe` with so many columns for every encoding name → columns."""
    return Compose([ENCODING_TRANSFORMS[name](columns) for name, columns in encodings.items()])


ENCODING_TRANSFORMS = {
    "degree": lambda columns: AddDegree(),
    "random_walk": AddRandomWalk,
    "laplacian": AddLaplacian,
}

__all__ = ["ENCODING_TRANSFORMS", "AddDegree", "AddLaplacian", "AddRandomWalk", "Reorder", "encoding_transform", "flip_signs"]
