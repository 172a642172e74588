"""The options of a model, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphattn.errors import InputError
from graphattn.nn.graph_extension import GraphExtension
from graphattn.nn.heads.graph import POOLS
from graphattn.nn.layers import ATTENTION, attention_parts
from graphattn.structure.registry import kinds_of, structure_of

# Beside those of `graphattn.nn.heads.graph.POOLS`, which may be joined.
READOUTS = ("node", "virtual")


def check_options(
    in_channels: int,
    readout: str,
    kinds: Sequence[str],
    score: str,
    normaliser: str,
    edge_dim: int | None,
    encodings: Mapping[str, int],
    biases: Mapping[str, int],
    extra_edges: GraphExtension,
) -> None:
    """Refuses options of a `GraphTransformer` that contradict each other.

    Raises:
        InputError: in one sentence.
    """
    if not kinds:
        raise InputError("num_layers must be at least 1, got 0")
    if readout not in READOUTS and not (isinstance(readout, str) and set(readout.split("+")) <= POOLS.keys()):
        raise InputError(f"readout must be {', '.join(READOUTS)}, or one or several of {', '.join(POOLS)}, got {readout!r}")
    parts = {part for kind in kinds for part in attention_parts(kind)}
    layers = [ATTENTION[part] for part in parts]
    for kind, number in kinds_of({"encodings": encodings, "biases": biases}):
        if "edge_attr" in kind.reads and number != edge_dim:
            raise InputError(f"the bias {kind.name!r} must have as many columns as edge_dim, got {number} and {edge_dim}")
    if in_channels == 0 and not encodings:
        raise InputError("in_channels is 0 and there are no encodings: the model would see nothing of a node")
    if biases and not any(layer.has_pair_bias or layer.has_pair_state for layer in layers):
        raise InputError(f"biases are of pairs of nodes, for full and pair attention alone, got attention={kinds[0]!r}")
    if any(layer.has_pair_state for layer in layers) and not biases:
        raise InputError("attention 'pair' needs biases, such as {'relative_walk': 8}: its state on pairs begins from them")
    if not any(layer.has_score for layer in layers) and (score, normaliser) != ("dot", "softmax"):
        raise InputError(
            f"score and normaliser are of masked and full attention, got attention={kinds[0]!r} with score={score!r} and "
            f"normaliser={normaliser!r}"
        )
    if edge_dim is not None and not reads_edge_attr(kinds, biases):
        raise InputError(f"edge_dim must be None, as masked attention and the bias 'edge' alone read edge_attr, got {edge_dim}")
    if extra_edges.num_types > 1 and not any(layer.local for layer in layers):
        raise InputError(f"extra_edges are for masked attention, got attention={kinds[0]!r}")
    if extra_edges.num_virtual and not all(layer.local for layer in layers):
        raise InputError("virtual nodes are for masked attention alone: with global attention all nodes meet anyway")
    if readout == "virtual" and not extra_edges.num_virtual:
        raise InputError("readout 'virtual' needs virtual nodes: extra_edges={'virtual': 1}")


def reads_edge_attr(kinds: Sequence[str], biases: Mapping[str, int]) -> bool:
    """Whether a model of these kinds of attention and these biases looks at edge features."""
    local = any(ATTENTION[part].local for kind in kinds for part in attention_parts(kind))
    return local or any("edge_attr" in structure_of("biases", name).reads for name in biases)
