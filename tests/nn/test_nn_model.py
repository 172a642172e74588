"""The encoder layer, the heads, the encodings, the sparse first map, and the whole model."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphattn.nn import (
    AttentionContext,
    BlockDiagonalMask,
    EncoderLayer,
    FullSelfAttention,
    GraphHead,
    GraphTransformer,
    LinearSelfAttention,
    MaskedSelfAttention,
    NodeHead,
    SparseLinear,
)
from graphattn.ops import AdjacencyMask
from graphattn.structure import STRUCTURE, DegreeEncoding, LaplacianEncoding, RandomWalkEncoding

EDGES = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]])
BATCH = torch.tensor([0, 0, 0, 1])
COLUMNS = {"degree": 1, "random_walk": 4, "laplacian": 2}


def close(actual: Tensor, expected: Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=1e-10, atol=1e-12)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_encoder_equals_torch_transformer_encoder_layer(norm: str) -> None:
    ours = EncoderLayer(6, 3, attention="full", norm=norm, ff_channels=10).double().eval()
    theirs = nn.TransformerEncoderLayer(6, 3, 10, 0.0, "gelu", norm_first=norm == "pre").double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        attention = ours.attention["full"]
        projections = (attention.lin_query, attention.lin_key, attention.lin_value)
        weights, biases = theirs.self_attn.in_proj_weight.chunk(3), theirs.self_attn.in_proj_bias.chunk(3)
        for lin, weight, bias in zip(projections, weights, biases, strict=True):
            lin.weight.copy_(weight)
            lin.bias.copy_(bias)
    for lin, other in (
        (attention.lin_out, theirs.self_attn.out_proj),
        (ours.feed_forward[0], theirs.linear1),
        (ours.feed_forward[3], theirs.linear2),
        (ours.norm_attention, theirs.norm1),
        (ours.norm_feed_forward, theirs.norm2),
    ):
        lin.load_state_dict(other.state_dict())
    x = normal(7, 6)
    adjacency = AdjacencyMask.from_edge_index(EDGES, 7)
    assert close(ours(x, AttentionContext(adjacency, BlockDiagonalMask.single(7))).x, theirs(x))


def test_encoder_dropout_in_training_only() -> None:
    layer = EncoderLayer(6, 3, dropout=0.5).double()
    call = (normal(4, 6), AttentionContext(AdjacencyMask.from_edge_index(EDGES, 4), BlockDiagonalMask.from_batch(BATCH)))
    assert not torch.equal(layer(*call).x, layer(*call).x)
    layer.eval()
    assert torch.equal(layer(*call).x, layer(*call).x)


def test_encoder_width_of_the_feed_forward_part() -> None:
    assert EncoderLayer(6, 3).feed_forward[0].out_features == 12
    assert EncoderLayer(6, 3, ff_channels=5).feed_forward[0].out_features == 5


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "std", "attention", "sum+max"])
def test_graph_head_pools_by_hand(pool: str) -> None:
    """Rows (±1, ∓1) are their own layer norm; the score of the attention pool is log 3 · the first channel."""
    head = GraphHead(2, 1, pool=pool).double().eval()
    head.norm.eps = 0.0
    if pool == "attention":
        with torch.no_grad():
            gate = head.pool["attention"].gate_nn
            gate.weight.copy_(torch.tensor([[math.log(3), 0.0]]))
            gate.bias.zero_()
    x = torch.tensor([[1.0, -1], [1, -1], [-1, 1], [-1, 1]], dtype=torch.float64)
    # Each of graphs 0 and 2 has one node of either sign, with scores ±log 3: weights 9/10 and 1/10. Graph 1 is empty.
    expected = {"mean": [0, 0], "sum": [0, 0], "max": [1, 1], "std": [1, 1], "attention": [0.8, -0.8], "sum+max": [0, 0, 1, 1]}
    out = head.embed(x, torch.tensor([2, 0, 0, 2]), 3)
    assert out.tolist() == [pytest.approx(expected[pool]), [0] * out.shape[1], pytest.approx(expected[pool])]
    twice = {"sum": [2, -2], "std": [0, 0], "sum+max": [2, -2, 1, -1]}.get(pool, [1, -1])
    assert head.embed(x[:2], torch.tensor([0, 0]), 1).tolist() == [pytest.approx(twice)]
    assert close(head(x, torch.tensor([2, 0, 0, 2]), 3), head.mlp(out))


def test_graph_head_reads_its_pool() -> None:
    head = GraphHead(4, 3).double().eval()
    pooled = head.norm(normal(2, 4)).mean(0, keepdim=True)
    expected = head.mlp[3](nn.functional.gelu(head.mlp[1](pooled)))
    assert close(head(normal(2, 4), torch.zeros(2, dtype=torch.long), 1), expected)


def test_node_head() -> None:
    head = NodeHead(4, 3).double()
    assert close(head(normal(2, 4)), head.lin(nn.functional.layer_norm(normal(2, 4), (4,))))


def test_sparse_linear_by_hand() -> None:
    lin = SparseLinear(3, 2)
    with torch.no_grad():
        lin.weight.copy_(torch.tensor([[1.0, 2], [10, 20], [100, 200]]))
        lin.bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 2, 0]])
    expected = [[101.5, 202], [0.5, 0], [20.5, 40]]
    assert lin(x).tolist() == expected
    assert lin(x.to_sparse_csr()).tolist() == expected
    assert lin(x.long().to_sparse_csr()).tolist() == expected


def test_sparse_linear_gradients_are_those_of_the_dense_one() -> None:
    lin = SparseLinear(7, 4).double()
    x = normal(9, 7).relu()
    x[3] = 0
    direction = normal(9, 4)
    dense, sparse = (torch.autograd.grad(lin(each), list(lin.parameters()), direction) for each in (x, x.to_sparse_csr()))
    assert all(close(a, b) for a, b in zip(sparse, dense, strict=True))


def test_sparse_linear_begins_as_torch_linear_does() -> None:
    lin = SparseLinear(16, 2000)
    weight = lin.weight.detach()
    assert weight.abs().max() <= 0.25
    assert float(weight.std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.05)
    assert repr(lin) == "SparseLinear(16, 2000)"


@pytest.mark.parametrize("name", COLUMNS)
def test_encodings_give_node_vectors(name: str) -> None:
    module = STRUCTURE["encodings"][name](COLUMNS[name], 5).double().eval()
    assert module(normal(3, COLUMNS[name])).shape == (3, 5)
    assert module.reads == (f"{name}_pe",)
    assert {"degree": DegreeEncoding, "random_walk": RandomWalkEncoding, "laplacian": LaplacianEncoding}[name] is type(module)


def test_laplacian_signs_are_taken_as_they_come() -> None:
    """Flipping them is for the training loop to do, with `graphattn.structure.flip_signs`."""
    module, encoding = LaplacianEncoding(2, 2).double().train(), normal(4, 2)
    assert close(module(encoding), encoding @ module.embed.weight.t() + module.embed.bias)


def model(**options: Any) -> GraphTransformer:
    options = {"num_layers": 2, "heads": 2, **options}
    return GraphTransformer(6, 8, 3, **options).double().eval()


def test_kinds_of_attention_alternate() -> None:
    def kinds(attention: str | list[str]) -> list[list[type]]:
        return [[type(part) for part in layer.attention.values()] for layer in model(attention=attention).layers]

    assert kinds(["masked", "full"]) == [[MaskedSelfAttention], [FullSelfAttention]]
    assert kinds("full") == [[FullSelfAttention]] * 2
    assert kinds(["full+masked", "polynormer"]) == [[MaskedSelfAttention, FullSelfAttention], [LinearSelfAttention]]


@pytest.mark.parametrize(("readout", "rows"), [("node", 4), ("mean", 2), ("sum", 2), ("attention", 2), ("mean+max", 2)])
def test_shapes(readout: str, rows: int) -> None:
    net = model(readout=readout, edge_dim=5, encodings=COLUMNS)
    structure = {f"{name}_pe": normal(4, columns) for name, columns in COLUMNS.items()}
    arguments = (normal(4, 6), EDGES, normal(5, 5), BATCH)
    out = net(*arguments, structure=structure)
    assert out.shape == (rows, 3)
    if readout != "node":
        longer = net(*arguments, structure=structure, batch_size=3)
        assert longer.shape == (3, 3)
        assert close(longer[:2], out)
        assert net(*arguments[:3], structure=structure).shape == (1, 3)


def test_embedding_adds_features_and_encodings() -> None:
    net = model(encodings={"random_walk": 4})
    x, encoding = normal(4, 6), normal(4, 4)
    seen = []
    net.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(x, EDGES, structure={"random_walk_pe": encoding})
    assert close(seen[0], net.lin_in(x) + net.encodings["random_walk"](encoding))


def test_structure_alone() -> None:
    net = GraphTransformer(0, 8, 3, num_layers=1, heads=2, encodings={"degree": 1}).double().eval()
    assert net(None, EDGES, structure={"degree_pe": normal(4, 1)}).shape == (4, 3)


def test_sparse_features_and_a_prepared_mask() -> None:
    net, x = model(), normal(4, 6).relu()
    expected = net(x, EDGES)
    assert close(net(x.to_sparse_csr(), EDGES), expected)
    assert close(net(x, AdjacencyMask.from_edge_index(EDGES, 4)), expected)


def test_edges_and_their_features_matter() -> None:
    net, x, attr = model(edge_dim=5), normal(4, 6), normal(5, 5)
    expected = net(x, EDGES, attr)
    assert not close(net(x, EDGES, -attr), expected)
    assert not close(net(x, EDGES.flip(0)[:, [0, 2, 1, 4, 3]], attr), expected)


@pytest.mark.parametrize("option", ["dropout", "attention_dropout", "input_dropout"])
def test_dropout_in_training_only(option: str) -> None:
    net, x = model(**{option: 0.5}), normal(4, 6)
    assert torch.equal(net(x, EDGES), net(x, EDGES))
    net.train()
    assert not torch.equal(net(x, EDGES), net(x, EDGES))


def test_copies() -> None:
    net, x = model(score="additive", readout="attention"), normal(4, 6)
    expected = net(x, EDGES, batch=BATCH)
    fresh = model(score="additive", readout="attention")
    assert not close(fresh(x, EDGES, batch=BATCH), expected)
    fresh.load_state_dict(net.state_dict())
    for copied in (fresh, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(copied(x, EDGES, batch=BATCH), expected)


def test_float32_and_float64_agree() -> None:
    net, x = model(attention=["masked", "full"]), normal(4, 6)
    expected = net(x, EDGES)
    out = net.to(torch.float32)(x.float(), EDGES)
    assert out.dtype == torch.float32
    assert (out - expected).abs().max() < 1e-5 * expected.abs().max()


def test_every_parameter_gets_a_gradient() -> None:
    # A static score's query has no gradient where all of a row's scores lie on one side of the leaky ReLU's kink.
    torch.manual_seed(0)
    net = model(score="static", readout="attention", edge_dim=5, encodings=COLUMNS, attention=["masked", "full"])
    structure = {f"{name}_pe": normal(4, columns) for name, columns in COLUMNS.items()}
    net(normal(4, 6), EDGES, normal(5, 5), BATCH, structure=structure).square().sum().backward()
    dead = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert set(dead) <= {"head.pool.gate_nn.bias"}  # a softmax does not see what is added to all scores


def test_a_traced_graph_needs_the_number_of_graphs() -> None:
    model = GraphTransformer(3, 4, 2, num_layers=1, heads=1, readout="mean").eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    x = normal(4, 3).float()
    torch.testing.assert_close(compiled(x, EDGES, None, BATCH, batch_size=2), model(x, EDGES, None, BATCH))
    torch._dynamo.reset()
    with pytest.raises(Exception, match="batch_size must be given under"):
        compiled(x, EDGES, None, BATCH)


@pytest.mark.parametrize("readout", ["node", "mean+max"])
def test_the_head_reads_what_embed_gives(readout: str) -> None:
    net, x = model(readout=readout), normal(4, 6)
    vectors = net.embed(x, EDGES, batch=BATCH)
    last = net.head.lin if readout == "node" else net.head.mlp
    assert vectors.shape == ((4, 8) if readout == "node" else (2, 16))
    assert close(last(vectors), net(x, EDGES, batch=BATCH))
