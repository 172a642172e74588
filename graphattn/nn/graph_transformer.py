from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.encoding import ENCODINGS
from graphattn.nn.heads import GraphHead, NodeHead
from graphattn.nn.linear import SparseLinear
from graphattn.ops import AdjacencyMask, BlockDiagonalMask


class GraphTransformer(nn.Module):
    """A whole model: node features and structural encodings, an encoder of attention layers, and a head.

    Args:
        in_channels: width of the node features; 0 for a network that has structure alone.
        channels: width of the node vectors inside the model.
        out_channels: width of the output.
        num_layers: number of encoder layers.
        heads: attention heads of each layer.
        readout: "node" for one output per node; "mean", "sum" or "attention" for one output per graph, pooled so.
        attention: "masked" or "full" for all layers, or one of the two for each layer.
        score, normaliser, norm, ff_channels, dropout, attention_dropout: as in `EncoderLayer`.
        edge_dim: channels of the edge features, if there are any; masked layers read them.
        encodings: the structural encodings to add, name → number of columns; names are those of `graphattn.nn.ENCODINGS`.
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
        norm: str = "pre",
        ff_channels: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kinds = [attention] * num_layers if isinstance(attention, str) else list(attention)
        if len(kinds) != num_layers:
            raise InputError(f"attention must name one kind, or one for each of the {num_layers} layers, got {len(kinds)}")
        if readout not in ("node", "mean", "sum", "attention"):
            raise InputError(f"readout must be 'node', 'mean', 'sum' or 'attention', got {readout!r}")
        encodings = dict(encodings or {})
        for name in encodings:
            if name not in ENCODINGS:
                raise InputError(f"encodings must be among {', '.join(ENCODINGS)}, got {name!r}")
        if in_channels == 0 and not encodings:
            raise InputError("in_channels is 0 and there are no encodings: the model would see nothing of a node")
        self.edge_dim = edge_dim
        self.lin_in = SparseLinear(in_channels, channels) if in_channels else None
        self.encodings = nn.ModuleDict({name: ENCODINGS[name](width, channels) for name, width in encodings.items()})
        self.input_dropout = nn.Dropout(input_dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                channels,
                heads,
                attention=kind,
                score=score,
                normaliser=normaliser,
                edge_dim=edge_dim if kind == "masked" else None,
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
            self.head = GraphHead(channels, out_channels, pool=readout, dropout=dropout)

    def forward(
        self,
        x: Tensor | None,
        edge_index: Tensor | AdjacencyMask,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        *,
        encodings: Mapping[str, Tensor] | None = None,
        batch_size: int | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Runs the model.

        Args:
            x: node features, [nodes, in_channels], dense or sparse CSR; None where in_channels is 0.
            edge_index: as in `MaskedSelfAttention`; the mask is made once and shared by all layers.
            edge_attr: edge features, [edges, edge_dim].
            batch: graph number of each node, [nodes]; None for one graph.
            encodings: the columns of each structural encoding, name → [nodes, columns].
            batch_size: number of graphs; default: read from `batch`, which a traced graph cannot do.
            return_attention: also return the weights of each layer, as the layers give them.

        Returns:
            [nodes, out_channels] or [graphs, out_channels]; with `return_attention=True` (output, one tensor a layer).
        """
        hidden = self._embed(x, encodings or {})
        num_nodes = hidden.shape[0]
        if edge_attr is not None and self.edge_dim is None:
            raise InputError("edge_attr must be None: the model has no edge_dim")
        if not isinstance(edge_index, AdjacencyMask):
            edge_index = AdjacencyMask.from_edge_index(edge_index, num_nodes)
        if batch is None:
            batch = torch.zeros(num_nodes, dtype=torch.long, device=hidden.device)
            blocks = BlockDiagonalMask.single(num_nodes, hidden.device)
            batch_size = 1
        else:
            if batch.shape[0] != num_nodes:
                raise InputError(f"batch must have one entry for each of the {num_nodes} nodes, got {batch.shape[0]}")
            if batch_size is None and torch.compiler.is_compiling() and isinstance(self.head, GraphHead):
                raise InputError("batch_size must be given under torch.compile and torch.export: it is the shape of the output")
            blocks = BlockDiagonalMask.from_batch(batch, batch_size)

        weights = []
        for layer in self.layers:
            result = layer(hidden, edge_index, blocks, edge_attr, return_attention=return_attention)
            if return_attention:
                hidden, of_layer = result
                weights.append(of_layer)
            else:
                hidden = result
        if isinstance(self.head, NodeHead):
            out = self.head(hidden)
        else:
            out = self.head(hidden, batch, blocks.ptr.shape[0] - 1 if batch_size is None else batch_size)
        return (out, weights) if return_attention else out

    def _embed(self, x: Tensor | None, encodings: Mapping[str, Tensor]) -> Tensor:
        """The node vectors before the first layer: projected features and embedded encodings, added."""
        if (self.lin_in is None) != (x is None):
            raise InputError("x must be " + ("None: the model has no node features" if x is not None else "given"))
        vectors = [] if self.lin_in is None or x is None else [self.lin_in(x)]
        for name, module in self.encodings.items():
            if name not in encodings:
                raise InputError(f"encodings must hold {', '.join(self.encodings)}, got {', '.join(encodings) or 'none'}")
            vectors.append(module(encodings[name]))
        return self.input_dropout(torch.stack(vectors).sum(0) if len(vectors) > 1 else vectors[0])
