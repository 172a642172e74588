"""Law 9: a bad input is a clear error, one sentence that names the argument, what was given and what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from graphattn.errors import InputError
from graphattn.nn import (
    AttentionContext,
    EncoderLayer,
    FullSelfAttention,
    GraphHead,
    GraphTransformer,
    MaskedSelfAttention,
    SparseLinear,
)
from graphattn.ops import Additive, AdjacencyMask, BlockDiagonalMask, EdgeFeatures, Static, attention
from graphattn.structure import STRUCTURE

EDGES = torch.tensor([[0, 1], [1, 2]])
MASK, BLOCKS = AdjacencyMask.from_edge_index(EDGES, 3), BlockDiagonalMask.single(3)
Q = torch.zeros(3, 2, 4)
X = torch.zeros(3, 8)


def op(**changes: Any) -> Any:
    return attention(**{"query": Q, "key": Q, "value": Q, "mask": MASK, **changes})


def model(**options: Any) -> GraphTransformer:
    return GraphTransformer(8, 8, 1, num_layers=2, heads=2, **options)


SHAPE = "must be floats of shape [nodes, heads, channels], got"
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    # the op
    "query-rank": (lambda: op(query=X), f"query {SHAPE} torch.float32 [3, 8]"),
    "key-type": (lambda: op(key=Q.long()), f"key {SHAPE} torch.int64 [3, 2, 4]"),
    "value-rank": (lambda: op(value=X), f"value {SHAPE} torch.float32 [3, 8]"),
    "device": (lambda: op(bias=torch.zeros(3, 2, device="meta")), "bias must be on cpu, where query is, got meta"),
    "device-mask": (lambda: op(mask=MASK.to("meta")), "mask must be on cpu, where query is, got meta"),
    "mask": (lambda: op(mask=EDGES), "mask must be an AdjacencyMask or a BlockDiagonalMask, got Tensor"),
    "query-rows": (lambda: op(query=Q[:2]), "query must have a row for each of the mask's 3 targets, got 2"),
    "key-shape": (lambda: op(key=Q[:, :1]), "key must have shape [3, 2, 4], got [3, 1, 4]"),
    "value-shape": (lambda: op(value=Q[:2]), "value must have shape [3, 2] and any channels, got [2, 2, 4]"),
    "score": (lambda: op(score="cosine"), "score must be one of dot, additive, static, or a Score, got 'cosine'"),
    "score-name": (
        lambda: op(score="additive"),
        "score='additive' has a weight: pass Additive(weight) instead of the name",
    ),
    "additive": (
        lambda: op(score=Additive(torch.zeros(2, 3))),
        "the weight of Additive must have shape [2, 4], got [2, 3]",
    ),
    "activation": (
        lambda: op(score=Additive(torch.zeros(2, 4), activation="relu")),
        "activation must be one of leaky_relu, tanh, got 'relu'",
    ),
    "static": (
        lambda: op(score=Static(torch.zeros(2, 4))),
        "the weight of Static must have shape [2, 2, 4], got [2, 4]",
    ),
    "normaliser": (
        lambda: op(normaliser="max"),
        "normaliser must be one of softmax, softmax1, sigmoid, relu, sparsemax, entmax15, got 'max'",
    ),
    "bias": (lambda: op(bias=torch.zeros(3, 2)), "bias must have shape [2, 2], got [3, 2]"),
    "block-bias": (lambda: op(mask=BLOCKS, bias=torch.zeros(3, 2)), "bias must have shape [9, 2], got [3, 2]"),
    "edge-attr-on-blocks": (
        lambda: op(mask=BLOCKS, edge_attr=EdgeFeatures(torch.zeros(9, 1))),
        "edge_attr needs an AdjacencyMask; on a BlockDiagonalMask pass a bias on pairs",
    ),
    "edge-attr": (
        lambda: op(edge_attr=EdgeFeatures(torch.zeros(3, 5))),
        "edge_attr must have shape [2 edges, edge channels], got [3, 5]",
    ),
    "key-weight": (
        lambda: op(edge_attr=EdgeFeatures(torch.zeros(2, 5), key_weight=torch.zeros(2, 4, 4))),
        "key_weight must have shape [2, 4, 5], got [2, 4, 4]",
    ),
    "value-weight": (
        lambda: op(edge_attr=EdgeFeatures(torch.zeros(2, 5), value_weight=torch.zeros(4, 5))),
        "value_weight must have shape [2, 4, 5], got [4, 5]",
    ),
    "dropout": (lambda: op(dropout=1.0), "dropout must lie in [0, 1), got 1.0"),
    # the masks
    "edge-index-type": (
        lambda: AdjacencyMask.from_edge_index([[0], [1]]),  # type: ignore[arg-type]
        "edge_index must be a tensor of shape [2, edges], got list",
    ),
    "edge-index-shape": (
        lambda: AdjacencyMask.from_edge_index(EDGES.new_zeros(4, 3)),
        "edge_index must have shape [2, edges], got [4, 3]",
    ),
    "edge-index-floats": (
        lambda: AdjacencyMask.from_edge_index(EDGES.float()),
        "edge_index must hold integers, got torch.float32",
    ),
    "edge-index-source": (
        lambda: AdjacencyMask.from_edge_index(torch.tensor([[7], [0]]), 3),
        "edge_index[0] must lie in [0, 3), got values from 7 to 7",
    ),
    "edge-index-target": (
        lambda: AdjacencyMask.from_edge_index(torch.tensor([[0], [-1]]), 3),
        "edge_index[1] must lie in [0, 3), got values from -1 to -1",
    ),
    "sparse-shape": (
        lambda: AdjacencyMask.from_edge_index(torch.eye(4).to_sparse(), 3),
        "num_nodes must match the sparse adjacency of shape (4, 4), got 3",
    ),
    "sparse-rank": (
        lambda: AdjacencyMask.from_edge_index(torch.ones(2, 2, 2).to_sparse()),
        "a sparse adjacency must have two dimensions, got 3",
    ),
    "rectangular-loops": (
        lambda: AdjacencyMask.from_edge_index(EDGES, (3, 4)).with_self_loops(),
        "self-loops need as many sources as targets, got 3 sources and 4 targets",
    ),
    "union": (
        lambda: MASK | AdjacencyMask.from_edge_index(EDGES, 4),
        "a union needs masks over the same nodes, got 3 → 3 and 4 → 4",
    ),
    "batch-type": (
        lambda: BlockDiagonalMask.from_batch(torch.zeros(3)),
        "batch must be an integer tensor of shape [nodes], got torch.float32 [3]",
    ),
    "batch-list": (
        lambda: BlockDiagonalMask.from_batch([0, 0]),  # type: ignore[arg-type]
        "batch must be an integer tensor of shape [nodes], got list",
    ),
    "batch-range": (
        lambda: BlockDiagonalMask.from_batch(torch.tensor([0, 5]), 2),
        "batch must lie in [0, 2), got values from 0 to 5",
    ),
    "ptr": (
        lambda: BlockDiagonalMask.from_ptr(torch.tensor([1, 2])),
        "ptr must be integers that start at 0 and never fall, shape [graphs + 1], got tensor([1, 2])",
    ),
    # the layers
    "heads": (
        lambda: MaskedSelfAttention(8, 8, heads=3),
        "out_channels must be a multiple of heads, got out_channels=8, heads=3",
    ),
    "layer-score": (
        lambda: FullSelfAttention(8, 8, score="cosine"),
        "score must be one of dot, additive, static, got 'cosine'",
    ),
    "layer-normaliser": (
        lambda: MaskedSelfAttention(8, 8, normaliser="max"),
        "normaliser must be one of softmax, softmax1, sigmoid, relu, sparsemax, entmax15, got 'max'",
    ),
    "layer-dropout": (lambda: MaskedSelfAttention(8, 8, dropout=-0.1), "dropout must lie in [0, 1), got -0.1"),
    "edge-attr-missing": (
        lambda: MaskedSelfAttention(8, 8, edge_dim=5)(X, EDGES),
        "edge_attr must be [edges, 5], got None",
    ),
    "edge-attr-unasked": (
        lambda: MaskedSelfAttention(8, 8)(X, EDGES, torch.zeros(2, 5)),
        "edge_attr must be None, as edge_dim is None, got [2, 5]",
    ),
    "edge-attr-shape": (
        lambda: MaskedSelfAttention(8, 8, edge_dim=5)(X, EDGES, torch.zeros(3, 5)),
        "edge_attr must have shape [2, 5], got [3, 5]",
    ),
    "x-of-another-size": (
        lambda: MaskedSelfAttention(8, 8)(X[:2], MASK),
        "edge_index must be of the 2 nodes of x, got a mask of 3",
    ),
    "x-shorter-than-edges": (
        lambda: MaskedSelfAttention(8, 8)(X[:2], EDGES),
        "edge_index[1] must lie in [0, 2), got values from 1 to 2",
    ),
    "batch-of-another-size": (
        lambda: FullSelfAttention(8, 8)(X, torch.tensor([0, 0])),
        "batch must be of the 3 nodes of x, got a mask of 2",
    ),
    "pair-bias": (
        lambda: FullSelfAttention(8, 8)(X, pair_bias=torch.zeros(3, 1)),
        "bias must have shape [9, 1], got [3, 1]",
    ),
    "encoder-attention": (
        lambda: EncoderLayer(8, 2, attention="local"),
        "attention must be 'masked', one of full, sgformer, polynormer, performer, pair, or both as in 'masked+full', "
        "got 'local'",
    ),
    "encoder-norm": (lambda: EncoderLayer(8, 2, norm="both"), "norm must be 'pre' or 'post', got 'both'"),
    "pool": (
        lambda: GraphHead(8, 1, pool="median"),
        "pool must be one or several of mean, sum, max, std, attention, such as 'mean+max', got 'median'",
    ),
    "sparse-linear": (lambda: SparseLinear(4, 2)(X), "x must have shape [nodes, 4], got [3, 8]"),
    # the model
    "readout": (
        lambda: model(readout="mean+median"),
        "readout must be node, virtual, or one or several of mean, sum, max, std, attention, got 'mean+median'",
    ),
    "readout-twice": (
        lambda: model(readout="mean+mean"),
        "pool must be one or several of mean, sum, max, std, attention, such as 'mean+max', got 'mean+mean'",
    ),
    "attention-kinds": (
        lambda: model(attention=["full"]),
        "attention must name one kind, or one for each of the 2 layers, got 1",
    ),
    "encoding-name": (
        lambda: model(encodings={"sine": 4}),
        f"encodings must be among {', '.join(STRUCTURE['encodings'])}, got 'sine'",
    ),
    "two-global-attentions": (
        lambda: EncoderLayer(8, 2, attention="full+pair"),
        "attention must be 'masked', one of full, sgformer, polynormer, performer, pair, or both as in 'masked+full', "
        "got 'full+pair'",
    ),
    "pair-without-state": (
        lambda: EncoderLayer(8, 2, attention="pair")(X, AttentionContext(MASK, BLOCKS)),
        "pair must be given for attention='pair': it is the state on pairs that the layer begins from",
    ),
    "bias-name": (
        lambda: model(biases={"angle": 1}, attention="full"),
        "biases must be among distance, relative_walk, resistance, edge, got 'angle'",
    ),
    "biases-without-pairs": (
        lambda: model(biases={"distance": 4}),
        "biases are of pairs of nodes, for full and pair attention alone, got attention='masked'",
    ),
    "pair-without-biases": (
        lambda: model(attention="pair"),
        "attention 'pair' needs biases, such as {'relative_walk': 8}: its state on pairs begins from them",
    ),
    "edge-bias-of-another-width": (
        lambda: model(biases={"edge": 4}, attention="full", edge_dim=5),
        "the bias 'edge' must have as many columns as edge_dim, got 4 and 5",
    ),
    "edge-bias-without-edges": (
        lambda: model(biases={"edge": 5}, attention="full", edge_dim=5)(X, EDGES),
        "edge_attr must be given: the bias 'edge' reads it",
    ),
    "resistance-columns": (
        lambda: model(biases={"resistance": 3}, attention="full"),
        "biases 'resistance' must be 2, the columns of AddResistance, got 3",
    ),
    "score-of-no-layer": (
        lambda: model(attention="sgformer", normaliser="relu"),
        "score and normaliser are of masked and full attention, got attention='sgformer' with score='dot' and "
        "normaliser='relu'",
    ),
    "edge-dim-that-nothing-reads": (
        lambda: model(attention="full", edge_dim=5),
        "edge_dim must be None, as masked attention and the bias 'edge' alone read edge_attr, got 5",
    ),
    "no-layers": (lambda: GraphTransformer(8, 8, 1, num_layers=0, heads=2), "num_layers must be at least 1, got 0"),
    "encoding-number": (
        lambda: model(encodings={"random_walk": -2}),
        "encodings 'random_walk' must be a whole number of at least 1, got -2",
    ),
    "bias-number": (
        lambda: model(biases={"distance": 2.5}, attention="full"),
        "biases 'distance' must be a whole number of at least 1, got 2.5",
    ),
    "structure-columns": (
        lambda: model(encodings={"random_walk": 4})(X, EDGES, structure={"random_walk_pe": torch.zeros(3, 5)}),
        "structure must hold random_walk_pe of shape [3, 4], got [3, 5]",
    ),
    "structure-rows": (
        lambda: model(biases={"distance": 4}, attention="full")(X, EDGES, structure={"distance_pair": torch.zeros(4)}),
        "structure must hold distance_pair of shape [9], got [4]",
    ),
    "extra-edges-that-were-not-computed": (
        lambda: model(extra_edges={"k_hop": 2})(X, EDGES),
        "structure must hold khop_index, khop_distance, but khop_index is not there",
    ),
    "khop-of-another-transform": (
        lambda: model(extra_edges={"k_hop": 2})(
            X, EDGES, structure={"khop_index": torch.tensor([[0], [2]]), "khop_distance": torch.tensor([3])}
        ),
        "khop_distance must lie in [2, 2], as of AddKHop(2, first=2), got values from 3 to 3",
    ),
    "edge-attr-of-extra-edges": (
        lambda: model(extra_edges={"virtual": 1}, edge_dim=5)(X, EDGES, torch.zeros(3, 5)),
        "edge_attr must have shape [2, 5], got [3, 5]",
    ),
    "extra-edges-name": (
        lambda: model(extra_edges={"hop": 2}),
        "extra_edges must be among k_hop, expander, virtual, got 'hop'",
    ),
    "extra-edges-number": (
        lambda: model(extra_edges={"k_hop": 1}),
        "extra_edges 'k_hop' must be a whole number of at least 2, got 1",
    ),
    "extra-edges-of-global-attention": (
        lambda: model(extra_edges={"k_hop": 2}, attention="full"),
        "extra_edges are for masked attention, got attention='full'",
    ),
    "virtual-nodes-and-global-attention": (
        lambda: model(extra_edges={"virtual": 1}, attention="masked+full"),
        "virtual nodes are for masked attention alone: with global attention all nodes meet anyway",
    ),
    "readout-of-no-virtual-node": (
        lambda: model(readout="virtual"),
        "readout 'virtual' needs virtual nodes: extra_edges={'virtual': 1}",
    ),
    "no-input": (
        lambda: GraphTransformer(0, 8, 1),
        "in_channels is 0 and there are no encodings: the model would see nothing of a node",
    ),
    "model-edge-attr": (
        lambda: model()(X, EDGES, torch.zeros(2, 5)),
        "edge_attr must be None: the model has no edge_dim",
    ),
    "model-no-x": (lambda: model()(None, EDGES), "x must be given"),
    "model-x": (
        lambda: GraphTransformer(0, 8, 1, encodings={"degree": 1})(X, EDGES),
        "x must be None: the model has no node features",
    ),
    "model-encodings": (
        lambda: model(encodings={"degree": 1, "laplacian": 3})(X, EDGES, structure={"degree_pe": torch.zeros(3, 1)}),
        "structure must hold degree_pe, laplacian_pe, but laplacian_pe is not there",
    ),
    "model-x-width": (lambda: model()(X[:, :7], EDGES), "x must have shape [nodes, 8], got [3, 7]"),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    call, message = CASES[name]
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()
