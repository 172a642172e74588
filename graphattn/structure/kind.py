"""What each kind of structure says about itself: the base classes of encodings, pair biases and extra edges."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from numbers import Integral
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure.transform import StructuralTransform

# What a model is called with anyway; everything else in `reads` is an attribute that a transform computes.
CALL_ARGUMENTS = ("edge_attr", "edge_index", "batch")


class Structure:
    """One kind of structure that a model can use. A subclass is the only place that knows it.

    Derive from `Encoding`, `PairBias` or `ExtraEdges`, set the attributes below, and call `register_structure`.

    Attributes:
        option: the option of `graphattn.nn.GraphTransformer` that names it: set by the base class.
        name: its name in that option, where it comes with one whole number, such as the number of columns.
        reads: the attributes of the data that it takes, in the order of its arguments.
        computed_by: the transform that computes them; None where there is nothing to compute.
        least: the smallest number that it takes.
    """

    option: ClassVar[str]
    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    computed_by: ClassVar[type[StructuralTransform] | None] = None
    least: ClassVar[int] = 1

    @classmethod
    def check(cls, number: int) -> None:
        """Refuses a number that this kind does not take.

        Raises:
            InputError: naming the option, the kind and the number.
        """
        if not isinstance(number, Integral) or isinstance(number, bool) or number < cls.least:
            raise InputError(f"{cls.option} {cls.name!r} must be a whole number of at least {cls.least}, got {number!r}")

    @classmethod
    def transform(cls, number: int) -> StructuralTransform | None:
        """The transform that computes what it reads: by default `computed_by(number)`."""
        return None if cls.computed_by is None else cls.computed_by(number)

    @classmethod
    def columns(cls, number: int) -> dict[str, int | None]:
        """The columns of each attribute that a transform computes; None where it is flat, with one value a row."""
        return dict.fromkeys((name for name in cls.reads if name not in CALL_ARGUMENTS), number)

    @classmethod
    def augment(cls, values: Mapping[str, Tensor], batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Random changes to the values that describe the same graph, for each batch in training; by default none.

        Args:
            values: the attributes of the batch.
            batch: graph number of each node, [nodes].
            generator: source of randomness, on the CPU.

        Returns:
            attribute → its new values.
        """
        return {}


class Size(NamedTuple):
    """How large a batch is, for counts of multiply-adds: nodes, edges, pairs of nodes of one graph, and graphs.

    `all_nodes` and `all_edges` include virtual nodes and extra edges.
    """

    nodes: int
    edges: int
    pairs: int
    graphs: int
    all_nodes: int
    all_edges: int


def weights_of_maps(module: nn.Module) -> int:
    """The weights of all linear maps inside a module: its multiply-adds for one row."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


class Encoding(Structure, nn.Module):
    """Base class of positional encodings: embeds attributes of nodes in the width of the node vectors, to be added to them.

    A subclass is made of (columns, width of the node vectors); `forward` takes the attributes in `reads`, [nodes, columns]
    each, and returns [nodes, width].
    """

    option = "encodings"

    def multiply_adds(self, size: Size) -> int:
        """Multiply-adds of one forward pass: by default all linear maps, once for each node."""
        return size.nodes * weights_of_maps(self)


class PairBias(Structure, nn.Module):
    """Base class of biases on pairs of nodes, which full attention adds to its scores and "pair" attention starts from.

    A subclass is made of (columns, heads); `forward` takes the attributes in `reads` and returns a flat [pairs, heads], see
    `graphattn.ops.BlockDiagonalMask`. Several biases add up.
    """

    option = "biases"

    def multiply_adds(self, size: Size) -> int:
        """Multiply-adds of one forward pass: by default all linear maps, once for each pair."""
        return size.pairs * weights_of_maps(self)


class ExtraEdges(Structure):
    """Base class of edges that masked attention has in addition to those of the graph, with edge types of their own.

    A subclass is made of its number.

    Attributes:
        num_types: edge types that `add` appends; each gets a learned bias for each head.
        num_nodes: virtual nodes that `add` appends to each graph; each gets a learned vector.
    """

    option = "extra_edges"
    num_types: int = 1
    num_nodes: int = 0

    def __init__(self, number: int) -> None:
        self.check(number)
        self.number = number

    @abstractmethod
    def add(self, edges: AdjacencyMask, blocks: BlockDiagonalMask, *values: Tensor) -> AdjacencyMask:
        """The union of the edges so far and these: `edges | …`, whose types follow those of `edges`.

        Args:
            edges: the mask so far, over the nodes of the graphs.
            blocks: the graphs.
            values: the attributes in `reads`.
        """
