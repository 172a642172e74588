from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.nn.bias import BIASES
from graphattn.nn.encoder import EncoderLayer, Surroundings, attention_parts
from graphattn.nn.encoding import ENCODINGS
from graphattn.nn.extra_edges import ExtraEdges
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.linear import SparseLinear
from graphattn.nn.summary import summary
from graphattn.ops import AdjacencyMask, BlockDiagonalMask

READOUTS = ("node", "mean", "sum", "attention", "virtual")


class GraphTransformer(nn.Module):
    """A whole model: node features and structural encodings, an encoder of attention layers, and a head.

    What it knows of structure is named in four options; a transform of `graphattn.transforms` computes each once per graph,
    all of them together `graphattn.transforms.structure_transform`, and the model takes them by the names in `reads`.

    Args:
        in_channels: width of the node features; 0 for a network that has structure alone.
        channels: width of the node vectors inside the model.
        out_channels: width of the output.
        num_layers: number of encoder layers.
        heads: attention heads of each layer.
        readout: "node" for one output per node; "mean", "sum" or "attention" for one output per graph, pooled so; "virtual"
            for one output per graph, read from its virtual nodes.
        attention: one kind for all layers, or one for each: "masked" (along edges), "full", "sgformer", "polynormer",
            "performer" or "pair" (all nodes of the graph), or both in parallel, such as "masked+full"; see `EncoderLayer`.
        score, normaliser, norm, ff_channels, dropout, attention_dropout: as in `EncoderLayer`.
        edge_dim: channels of the edge features, if there are any; masked layers and the bias "edge" read them.
        encodings: the structural encodings to add to the node vectors, name → number of columns; names are those of
            `graphattn.nn.ENCODINGS`.
        biases: what pairs of nodes are known by, name → number of columns; names are those of `graphattn.nn.BIASES`. Full
            attention adds them to its scores, the same in all layers (Ying et al., "Do transformers really perform badly for
            graph representation?", 2021); "pair" attention begins from them.
        extra_edges: edges of masked attention beside those of the graph, each kind with a learned bias: {"k_hop": k} to nodes
            2 … k steps away, {"expander": degree}, {"virtual": nodes a graph}; see `ExtraEdges`.
        input_dropout: probability of dropping a channel of the first layer's input in training.

    Raises:
        InputError: on an unknown name, or options that contradict each other.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        num_layers: int = 4,
        heads: int = 8,
        readout: str = "node",
        attention: str | Sequence[str] = "masked",
        score: str = "dot",
        normaliser: str = "softmax",
        edge_dim: int | None = None,
        encodings: Mapping[str, int] | None = None,
        biases: Mapping[str, int] | None = None,
        extra_edges: Mapping[str, int] | None = None,
        norm: str = "pre",
        ff_channels: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kinds = [attention] * num_layers if isinstance(attention, str) else list(attention)
        encodings, biases = dict(encodings or {}), dict(biases or {})
        self.extra_edges = ExtraEdges(channels, extra_edges or {})
        parts = {part for kind in kinds for part in attention_parts(kind)}
        _check(in_channels, num_layers, readout, kinds, parts, edge_dim, encodings, biases, self.extra_edges)
        self.edge_dim, self.readout = edge_dim, readout
        self.lin_in = SparseLinear(in_channels, channels) if in_channels else None
        self.encodings = nn.ModuleDict({name: ENCODINGS[name](width, channels) for name, width in encodings.items()})
        made = {name: BIASES[name] for name in biases}
        full, pair = "full" in parts, "pair" in parts
        self.biases = nn.ModuleDict({name: kind(biases[name], heads) for name, kind in made.items() if full})
        self.pair_states = nn.ModuleDict({name: kind(biases[name], channels) for name, kind in made.items() if pair})
        self.input_dropout = nn.Dropout(input_dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                channels,
                heads,
                attention=kind,
                score=score,
                normaliser=normaliser,
                edge_dim=edge_dim,
                edge_types=self.extra_edges.num_types if extra_edges else None,
                norm=norm,
                ff_channels=ff_channels,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for kind in kinds
        )
        self.head: NodeHead | GraphHead
        if readout == "node":
            self.head = NodeHead(channels, out_channels)
        else:
            self.head = GraphHead(channels, out_channels, pool="mean" if readout == "virtual" else readout, dropout=dropout)

    @property
    def reads(self) -> tuple[str, ...]:
        """The attributes of the data that `structure` must hold, as transforms name them."""
        modules = [*self.encodings.values(), *self.biases.values(), *self.pair_states.values(), self.extra_edges]
        names = [name for module in modules for name in cast(Any, module).reads]
        return tuple(dict.fromkeys(name for name in names if name not in ("edge_attr", "edge_index", "batch")))

    def forward(
        self,
        x: Tensor | None,
        edge_index: Tensor | AdjacencyMask,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        structure: Mapping[str, Tensor] | None = None,
        batch_size: int | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor | tuple[Tensor, ...]]]:
        """Runs the model.

        Args:
            x: node features, [nodes, in_channels], dense or sparse CSR; None where in_channels is 0.
            edge_index: as in `MaskedSelfAttention`; the mask is made once and shared by all layers.
            edge_attr: edge features, [edges, edge_dim].
            batch: graph number of each node, [nodes]; None for one graph.
            structure: what the transforms computed, by the names in `reads`: `structure=data.to_dict()` will do.
            batch_size: number of graphs; default: read from `batch`, which a traced graph cannot do.
            return_attention: also return the weights of each layer, as the layers give them; linear attention has none.

        Returns:
            [nodes, out_channels] or [graphs, out_channels]; with `return_attention=True` (output, one entry a layer).
        """
        if (self.lin_in is None) != (x is None):
            raise InputError("x must be " + ("None: the model has no node features" if x is not None else "given"))
        structure = structure or {}
        missing = [name for name in self.reads if structure.get(name) is None]
        if missing:
            raise InputError(f"structure must hold {', '.join(self.reads)}, but {', '.join(missing)} is not there")
        if edge_attr is not None and self.edge_dim is None:
            raise InputError("edge_attr must be None: the model has no edge_dim")
        hidden = self._embed(x, structure)
        num_nodes = hidden.shape[0]
        edges = edge_index
        if not isinstance(edges, AdjacencyMask):
            edges = AdjacencyMask.from_edge_index(edges, num_nodes)
        blocks = self._blocks(batch, batch_size, hidden)
        around = Surroundings(edges, blocks, edge_attr, _on_pairs(self.biases, structure, edge_attr, edges, blocks))
        pair = _on_pairs(self.pair_states, structure, edge_attr, edges, blocks)
        hidden, around.adjacency, of_virtual = self.extra_edges(hidden, edges, blocks, structure)

        weights = []
        for layer in self.layers:
            result = layer(hidden, around, pair, return_attention=return_attention)
            hidden, *others = result if isinstance(result, tuple) else (result,)
            if return_attention:
                weights.append(others.pop())
            if others:
                (pair,) = others
        if self.readout == "virtual":
            out = self.head(hidden[num_nodes:], of_virtual, blocks.num_graphs)
        elif isinstance(self.head, NodeHead):
            out = self.head(hidden[:num_nodes])
        else:
            out = self.head(hidden[:num_nodes], blocks.batch if batch is None else batch, blocks.num_graphs)
        return (out, weights) if return_attention else out

    def summary(self, data: Data) -> str:
        """A table of parameters and cost, part by part and layer by layer: `print(model.summary(data))`.

        Cost is in multiply-adds of one forward pass, counted from the formulas: matrix products, scores and weighted sums, with
        the edges that `extra_edges` adds; norms, activations and softmax are left out, and sparse features count as dense.

        Args:
            data: a graph or a batch, after the transforms that the model needs.
        """
        return summary(self, data)

    def _embed(self, x: Tensor | None, structure: Mapping[str, Tensor]) -> Tensor:
        """The node vectors before the first layer: projected features and embedded encodings, added."""
        vectors = [] if self.lin_in is None or x is None else [self.lin_in(x)]
        vectors += [module(*(structure[name] for name in cast(Any, module).reads)) for module in self.encodings.values()]
        return self.input_dropout(torch.stack(vectors).sum(0) if len(vectors) > 1 else vectors[0])

    def _blocks(self, batch: Tensor | None, batch_size: int | None, hidden: Tensor) -> BlockDiagonalMask:
        if batch is None:
            return BlockDiagonalMask.single(hidden.shape[0], hidden.device)
        if batch.shape[0] != hidden.shape[0]:
            raise InputError(f"batch must have one entry for each of the {hidden.shape[0]} nodes, got {batch.shape[0]}")
        if batch_size is None and torch.compiler.is_compiling() and isinstance(self.head, GraphHead):
            raise InputError("batch_size must be given under torch.compile and torch.export: it is the shape of the output")
        return BlockDiagonalMask.from_batch(batch, batch_size)


def _on_pairs(
    modules: nn.ModuleDict,
    structure: Mapping[str, Tensor],
    edge_attr: Tensor | None,
    edges: AdjacencyMask,
    blocks: BlockDiagonalMask,
) -> Tensor | None:
    """The sum of what modules say of each pair, flat, [pairs, width]; None where there are none."""
    total = None
    for name, module in modules.items():
        if name == "edge":
            if edge_attr is None:
                raise InputError("edge_attr must be given: the bias 'edge' reads it")
            values = module(edge_attr, edges, blocks)
        else:
            values = module(*(structure[attribute] for attribute in cast(Any, module).reads))
        total = values if total is None else total + values
    return total


def _check(
    in_channels: int,
    num_layers: int,
    readout: str,
    kinds: Sequence[str],
    parts: set[str],
    edge_dim: int | None,
    encodings: Mapping[str, int],
    biases: Mapping[str, int],
    extra_edges: ExtraEdges,
) -> None:
    """Refuses options that contradict each other, in one sentence."""
    if len(kinds) != num_layers:
        raise InputError(f"attention must name one kind, or one for each of the {num_layers} layers, got {len(kinds)}")
    if readout not in READOUTS:
        raise InputError(f"readout must be one of {', '.join(READOUTS)}, got {readout!r}")
    for option, given, known in (("encodings", encodings, ENCODINGS), ("biases", biases, BIASES)):
        for name in given:
            if name not in known:
                raise InputError(f"{option} must be among {', '.join(known)}, got {name!r}")
    if in_channels == 0 and not encodings:
        raise InputError("in_channels is 0 and there are no encodings: the model would see nothing of a node")
    if biases and not parts & {"full", "pair"}:
        raise InputError(
            f"biases are of pairs of nodes, which only full and pair attention look at, got attention={kinds[0]!r}"
        )
    if "pair" in parts and not biases:
        raise InputError("attention 'pair' needs biases, such as {'relative_walk': 8}: its state on pairs begins from them")
    if biases.get("edge", edge_dim) != edge_dim:
        raise InputError(f"the bias 'edge' must have as many columns as edge_dim, got {biases['edge']} and {edge_dim}")
    if biases.get("resistance", 2) != 2:
        raise InputError(f"the bias 'resistance' has 2 columns, got {biases['resistance']}")
    if extra_edges.num_types > 1 and "masked" not in parts:
        raise InputError(f"extra_edges are for masked attention, got attention={kinds[0]!r}")
    if extra_edges.num_virtual and parts != {"masked"}:
        raise InputError("virtual nodes are for masked attention alone: with global attention all nodes meet anyway")
    if readout == "virtual" and not extra_edges.num_virtual:
        raise InputError("readout 'virtual' needs virtual nodes: extra_edges={'virtual': 1}")
