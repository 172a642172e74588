"""What a model is told of structure: its options held against each other, and the values that transforms computed for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.nn.bias import BIASES
from graphattn.nn.encoder import LOCAL, attention_parts
from graphattn.nn.encoding import ENCODINGS
from graphattn.nn.extra_edges import ExtraEdges
from graphattn.ops import BlockDiagonalMask

READOUTS = ("node", "mean", "sum", "attention", "virtual")


def check_options(
    in_channels: int,
    readout: str,
    kinds: Sequence[str],
    score: str,
    normaliser: str,
    edge_dim: int | None,
    encodings: Mapping[str, int],
    biases: Mapping[str, int],
    extra_edges: ExtraEdges,
) -> None:
    """Refuses options of a `GraphTransformer` that contradict each other.

    Raises:
        InputError: in one sentence.
    """
    if not kinds:
        raise InputError("num_layers must be at least 1, got 0")
    if readout not in READOUTS:
        raise InputError(f"readout must be one of {', '.join(READOUTS)}, got {readout!r}")
    parts = {part for kind in kinds for part in attention_parts(kind)}
    for option, given, known in (("encodings", encodings, ENCODINGS), ("biases", biases, BIASES)):
        for name, number in given.items():
            if name not in known:
                raise InputError(f"{option} must be among {', '.join(known)}, got {name!r}")
            if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
                raise InputError(f"{option} {name!r} must be a whole number of at least 1, got {number!r}")
    if in_channels == 0 and not encodings:
        raise InputError("in_channels is 0 and there are no encodings: the model would see nothing of a node")
    if biases and not parts & {"full", "pair"}:
        raise InputError(f"biases are of pairs of nodes, for full and pair attention alone, got attention={kinds[0]!r}")
    if "pair" in parts and not biases:
        raise InputError("attention 'pair' needs biases, such as {'relative_walk': 8}: its state on pairs begins from them")
    if not parts & {*LOCAL, "full"} and (score, normaliser) != ("dot", "softmax"):
        raise InputError(
            f"score and normaliser are of masked and full attention, got attention={kinds[0]!r} with score={score!r} and "
            f"normaliser={normaliser!r}"
        )
    if biases.get("edge", edge_dim) != edge_dim:
        raise InputError(f"the bias 'edge' must have as many columns as edge_dim, got {biases['edge']} and {edge_dim}")
    if biases.get("resistance", 2) != 2:
        raise InputError(f"the bias 'resistance' has 2 columns, got {biases['resistance']}")
    if edge_dim is not None and not reads_edge_attr(kinds, biases):
        raise InputError(f"edge_dim must be None, as masked attention and the bias 'edge' alone read edge_attr, got {edge_dim}")
    if extra_edges.num_types > 1 and "masked" not in parts:
        raise InputError(f"extra_edges are for masked attention, got attention={kinds[0]!r}")
    if extra_edges.num_virtual and parts != {"masked"}:
        raise InputError("virtual nodes are for masked attention alone: with global attention all nodes meet anyway")
    if readout == "virtual" and not extra_edges.num_virtual:
        raise InputError("readout 'virtual' needs virtual nodes: extra_edges={'virtual': 1}")


def reads_edge_attr(kinds: Sequence[str], biases: Mapping[str, int]) -> bool:
    """Whether a model of these kinds of attention and these biases looks at edge features."""
    return "edge" in biases or any("masked" in attention_parts(kind) for kind in kinds)


def columns_of_structure(encodings: Mapping[str, int], biases: Mapping[str, int]) -> dict[str, int | None]:
    """The attributes that the modules of these names read, with their columns; None where they have one number a row."""
    found: dict[str, int | None] = {}
    for name, columns in encodings.items():
        for attribute in ENCODINGS[name].reads:  # type: ignore[attr-defined]
            found[attribute] = 1 if attribute == "position_pe" else columns
    for name, columns in biases.items():
        for attribute in BIASES[name].reads:  # type: ignore[attr-defined]
            if attribute.endswith("_pair"):
                found[attribute] = None if name == "distance" else columns
    return found


def read_structure(
    structure: Mapping[str, Tensor], columns: Mapping[str, int | None], blocks: BlockDiagonalMask, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The values of nodes and pairs in the model's type.

    Args:
        structure: attribute → values; others than those in `columns` are passed over.
        columns: attribute → number of its columns, see `columns_of_structure`.
        blocks: the graphs.
        dtype: what floats are cast to.

    Raises:
        InputError: naming the attribute that is missing or of another shape.
    """
    found = {}
    for name, width in columns.items():
        value = structure.get(name)
        if value is None:
            raise InputError(f"structure must hold {', '.join(columns)}, but {name} is not there")
        if not torch.compiler.is_compiling():
            rows = blocks.num_pairs if name.endswith("_pair") else blocks.num_nodes
            expected = (rows,) if width is None else (rows, width)
            if value.shape != expected:
                raise InputError(f"structure must hold {name} of shape {list(expected)}, got {list(value.shape)}")
        found[name] = value.to(dtype) if value.is_floating_point() else value
    return found
