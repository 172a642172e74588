from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graphattn.errors import InputError
from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.graph_extension import GraphExtension
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.layers import ATTENTION, AttentionContext, attention_parts
from graphattn.nn.linear import SparseLinear
from graphattn.nn.options import check_options
from graphattn.nn.structure_inputs import attributes_of, read_structure
from graphattn.nn.summary import summary
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.recall import recall_with
from graphattn.structure.registry import structure_of


class GraphTransformer(nn.Module):
    """A whole model: node features and structural encodings, an encoder of attention layers, and a head.

    What it knows of structure is named in three options, by the names in `graphattn.structure.STRUCTURE`;
    `graphattn.structure.structure_transform` computes it, once per graph, and the model takes it by the names in `reads`.

    Args:
        in_channels: width of the node features; 0 for a network that has structure alone.
        channels: width of the node vectors inside the model.
        out_channels: width of the output.
        num_layers: number of encoder layers.
        heads: attention heads of each layer.
        readout: "node" for one output per node; "mean", "sum", "max", "std" or "attention" for one output per graph, pooled
            so, or several joined as in "mean+max", see `GraphHead`; "virtual" for one output per graph, read from its virtual
            nodes.
        attention: one kind for all layers, or one for each: "masked" (along edges), "full", "sgformer", "polynormer",
            "performer" or "pair" (all nodes of the graph), or both in parallel, such as "masked+full"; see `EncoderLayer`.
        score, normaliser, norm, ff_channels, dropout, attention_dropout: as in `EncoderLayer`.
        edge_dim: channels of the edge features, if there are any; masked layers and the bias "edge" read them.
        encodings: the positional encodings to add to the node vectors, name → number of columns.
        biases: what is known of pairs of nodes, name → number of columns. Full attention adds them to its scores, the same
            in all layers (Ying et al., "Do transformers really perform badly for graph representation?", 2021); "pair"
            attention begins from them.
        extra_edges: edges of masked attention besides those of the graph, each kind with a learned bias: {"k_hop": k} to
            nodes 2 … k steps away, {"expander": degree} of a random regular graph on the nodes (Shirzad et al., "Exphormer:
            sparse transformers for graphs", 2023), {"virtual": n} nodes that are added to each graph and connected to all of
            its nodes, with learned vectors.
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
        self.extra_edges = GraphExtension(channels, extra_edges or {})
        if len(kinds) != num_layers:
            raise InputError(f"attention must name one kind, or one for each of the {num_layers} layers, got {len(kinds)}")
        check_options(in_channels, readout, kinds, score, normaliser, edge_dim, encodings, biases, self.extra_edges)
        self.edge_dim, self.readout = edge_dim, readout
        self.attributes = attributes_of(encodings, biases)
        self.lin_in = SparseLinear(in_channels, channels) if in_channels else None
        parts = [[ATTENTION[part] for part in attention_parts(kind)] for kind in kinds]
        with_state = [number for number, layers in enumerate(parts) if any(layer.has_pair_state for layer in layers)]
        has_bias = any(layer.has_pair_bias for layers in parts for layer in layers)
        self.encodings = _modules("encodings", encodings, channels)
        self.biases = _modules("biases", biases if has_bias else {}, heads)
        self.pair_states = _modules("biases", biases if with_state else {}, channels)
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
                update_pair=number != max(with_state, default=None),
                norm=norm,
                ff_channels=ff_channels,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for number, kind in enumerate(kinds)
        )
        self.head: NodeHead | GraphHead
        if readout == "node":
            self.head = NodeHead(channels, out_channels)
        else:
            self.head = GraphHead(channels, out_channels, pool="mean" if readout == "virtual" else readout, dropout=dropout)

    @property
    def reads(self) -> tuple[str, ...]:
        """The attributes of the data that `structure` must hold, as transforms name them."""
        return (*self.attributes, *self.extra_edges.reads)

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
            return_attention: also return the weights of each layer, as the layers give them; refused where a layer has linear
                attention, which never forms them.

        Returns:
            [nodes, out_channels] or [graphs, out_channels]; with `return_attention=True` (output, one entry a layer).
        """
        hidden, pools, weights = self._encode(x, edge_index, edge_attr, batch, structure, batch_size, return_attention)
        out = self.head(hidden, *pools)
        return (out, weights) if return_attention else out

    def embed(
        self,
        x: Tensor | None,
        edge_index: Tensor | AdjacencyMask,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        structure: Mapping[str, Tensor] | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The vectors from which the head makes its output: of each node, or of each graph, pooled.

        Args:
            x, edge_index, edge_attr, batch, structure, batch_size: as in `forward`.

        Returns:
            [nodes, channels], or [graphs, pools × channels] with the pools of a joined readout side by side.
        """
        hidden, pools, _ = self._encode(x, edge_index, edge_attr, batch, structure, batch_size, False)
        return self.head.embed(hidden, *pools)

    def summary(self, data: Data) -> str:
        """A table of parameters and cost, part by part and layer by layer: `print(model.summary(data))`.

        Cost is in multiply-adds of one forward pass, counted from the formulas: matrix products, scores and weighted sums, with
        the edges that `extra_edges` adds; norms, activations and softmax are left out, and sparse features count as dense.

        Args:
            data: a graph or a batch, after the transforms that the model needs.
        """
        return summary(self, data)

    def _encode(
        self,
        x: Tensor | None,
        edge_index: Tensor | AdjacencyMask,
        edge_attr: Tensor | None,
        batch: Tensor | None,
        structure: Mapping[str, Tensor] | None,
        batch_size: int | None,
        return_attention: bool,
    ) -> tuple[Tensor, tuple[Any, ...], list[Any]]:
        """The node vectors that the head reads, what else it takes, and the weights of each layer."""
        if (self.lin_in is None) != (x is None):
            raise InputError("x must be " + ("None: the model has no node features" if x is not None else "given"))
        structure = structure or {}
        edges = edge_index
        if not isinstance(edges, AdjacencyMask):
            edges = AdjacencyMask.from_edge_index(edges, self._num_nodes(x, structure))
        num_nodes = edges.num_targets
        self._check_edge_attr(edge_attr, edges)
        blocks = self._blocks(batch, batch_size, edges)
        known = read_structure(structure, self.attributes, blocks, next(self.parameters()).dtype)
        hidden = self._embed(x, known)
        call = {"edge_attr": edge_attr, "edge_index": edges, "batch": blocks}
        pair_bias, pair = (_on_pairs(modules, {**known, **call}) for modules in (self.biases, self.pair_states))
        hidden, adjacency, of_virtual = self.extra_edges(hidden, edges, blocks, structure)
        context = AttentionContext(adjacency, blocks, edge_attr, pair_bias, pair)

        weights = []
        for layer in self.layers:
            hidden, pair, layer_weights = layer(hidden, context, return_attention=return_attention)
            context = replace(context, pair=pair)
            weights.append(layer_weights)
        if self.readout == "virtual":
            return hidden[num_nodes:], (of_virtual, blocks.num_graphs), weights
        if isinstance(self.head, NodeHead):
            return hidden[:num_nodes], (), weights
        return hidden[:num_nodes], (blocks.batch if batch is None else batch, blocks.num_graphs), weights

    def _embed(self, x: Tensor | None, structure: Mapping[str, Tensor]) -> Tensor:
        """The node vectors before the first layer: projected features and embedded encodings, added."""
        vectors = [] if self.lin_in is None or x is None else [self.lin_in(x)]
        vectors += [module(*(structure[name] for name in cast(Any, module).reads)) for module in self.encodings.values()]
        return self.input_dropout(torch.stack(vectors).sum(0) if len(vectors) > 1 else vectors[0])

    def _num_nodes(self, x: Tensor | None, structure: Mapping[str, Tensor]) -> int:
        values = [x, *(structure.get(name) for name, attribute in self.attributes.items() if attribute.of_nodes)]
        given = [value for value in values if value is not None]
        if not given:
            raise InputError(f"structure must hold {', '.join(self.attributes)}, but none of them is there")
        return given[0].shape[0]

    def _check_edge_attr(self, edge_attr: Tensor | None, edges: AdjacencyMask) -> None:
        """Edge features are of all edges of the graph, also where the layers meet more."""
        if edge_attr is not None and self.edge_dim is None:
            raise InputError("edge_attr must be None: the model has no edge_dim")
        if edge_attr is not None and edge_attr.shape != (edges.num_edges, self.edge_dim):
            raise InputError(f"edge_attr must have shape [{edges.num_edges}, {self.edge_dim}], got {list(edge_attr.shape)}")

    def _blocks(self, batch: Tensor | None, batch_size: int | None, edges: AdjacencyMask) -> BlockDiagonalMask:
        num_nodes = edges.num_targets
        if batch is None:  # kept with the edges, so that what is made of both is made once
            return recall_with(edges, "_single", (), lambda: BlockDiagonalMask.single(num_nodes, edges.source.device))
        if batch.shape[0] != num_nodes:
            raise InputError(f"batch must have one entry for each of the {num_nodes} nodes, got {batch.shape[0]}")
        if batch_size is None and torch.compiler.is_compiling() and isinstance(self.head, GraphHead):
            raise InputError("batch_size must be given under torch.compile and torch.export: it is the shape of the output")
        return BlockDiagonalMask.from_batch(batch, batch_size)


def _modules(option: str, numbers: Mapping[str, int], width: int) -> nn.ModuleDict:
    """The modules of the encodings or biases that an option names."""
    return nn.ModuleDict({name: cast(Any, structure_of(option, name))(number, width) for name, number in numbers.items()})


def _on_pairs(modules: nn.ModuleDict, values: Mapping[str, Any]) -> Tensor | None:
    """The sum of what modules say of each pair, flat, [pairs, width]; None where there are none."""
    total = None
    for name, module in modules.items():
        read = cast(Any, module).reads
        if "edge_attr" in read and values["edge_attr"] is None:
            raise InputError(f"edge_attr must be given: the bias {name!r} reads it")
        bias = module(*(values[attribute] for attribute in read))
        total = bias if total is None else total + bias
    return total
