"""The values that transforms computed, as a model reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops import BlockDiagonalMask
from graphattn.structure.kind import Encoding
from graphattn.structure.registry import Options, kinds_of


class Attribute(NamedTuple):
    """The shape of an attribute: a row for each node or each pair of nodes; `columns` is None where it is flat."""

    of_nodes: bool
    columns: int | None


def attributes_of(encodings: Options, biases: Options) -> dict[str, Attribute]:
    """The attributes that the modules of these encodings and biases read."""
    found: dict[str, Attribute] = {}
    for kind, number in kinds_of({"encodings": encodings, "biases": biases}):
        of_nodes = issubclass(kind, Encoding)
        found |= {name: Attribute(of_nodes, columns) for name, columns in kind.columns(number).items()}
    return found


def read_structure(
    structure: Mapping[str, Tensor], attributes: Mapping[str, Attribute], blocks: BlockDiagonalMask, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The values of nodes and pairs in the model's type.

    Args:
        structure: attribute → values; others than those in `attributes` are ignored.
        attributes: what the model reads, see `attributes_of`.
        blocks: the graphs.
        dtype: what floats are cast to.

    Raises:
        InputError: naming the attribute that is missing or of another shape.
    """
    found = {}
    for name, (of_nodes, columns) in attributes.items():
        value = structure.get(name)
        if value is None:
            raise InputError(f"structure must hold {', '.join(attributes)}, but {name} is not there")
        if not torch.compiler.is_compiling():
            rows = blocks.num_nodes if of_nodes else blocks.num_pairs
            expected = (rows,) if columns is None else (rows, columns)
            if value.shape != expected:
                raise InputError(f"structure must hold {name} of shape {list(expected)}, got {list(value.shape)}")
        found[name] = value.to(dtype) if value.is_floating_point() else value
    return found
