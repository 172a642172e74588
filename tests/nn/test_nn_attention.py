"""The two attention layers: numbers by hand, their parameters, and the layers of torch and torch_geometric where they meet."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, TransformerConv

from graphattn.errors import InputError
from graphattn.nn import AdjacencyMask, BlockDiagonalMask, FullSelfAttention, MaskedSelfAttention

E = math.e
PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def random_graph(nodes: int = 12, edges: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(nodes, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(nodes, (2, edges), generator=generator)


def close(actual: Tensor, expected: Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [MaskedSelfAttention, FullSelfAttention])
def test_the_bare_layer_has_three_matrices(kind: type[nn.Module]) -> None:
    layer = kind(5, 4, heads=1, bias=False, out_proj=False)
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    assert shapes == {"lin_query.weight": (4, 5), "lin_key.weight": (4, 5), "lin_value.weight": (4, 5)}


def test_parameter_names() -> None:
    layer = MaskedSelfAttention(5, 4, heads=2, score="static", edge_dim=3)
    maps = ("lin_query", "lin_key", "lin_value", "lin_out")
    expected = {f"{name}.{part}" for name in maps for part in ("weight", "bias")} | {"lin_edge.weight", "att"}
    assert {name for name, _ in layer.named_parameters()} == expected
    assert layer.att.shape == (2, 2, 2)
    assert MaskedSelfAttention(5, 4, heads=2, score="additive").att.shape == (2, 2)
    assert all((parameter == 0).all() for name, parameter in layer.named_parameters() if name.endswith("bias"))


def test_path_by_hand() -> None:
    """Identity maps on x = 1, 2, 3: the ends take the middle, the middle weighs 1 and 3 by e² and e⁶."""
    layer = MaskedSelfAttention(1, 1, bias=False, out_proj=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    x = torch.tensor([[1.0], [2.0], [3.0]])
    out, weights = layer(x, PATH, return_attention=True)
    middle = [E**2 / (E**2 + E**6), E**6 / (E**2 + E**6)]
    assert out.flatten().tolist() == pytest.approx([2, middle[0] + 3 * middle[1], 2])
    assert weights.flatten().tolist() == pytest.approx([middle[0], 1, 1, middle[1]])


def test_full_by_hand_with_an_output_map() -> None:
    """x = 0 and 1, identity maps: row 0 gives 1/2, row 1 gives e / (1 + e); then W_o = 2 and b_o = 1."""
    layer = FullSelfAttention(1, 1)
    with torch.no_grad():
        for lin in (layer.lin_query, layer.lin_key, layer.lin_value):
            lin.weight.fill_(1)
        layer.lin_out.weight.fill_(2)
        layer.lin_out.bias.fill_(1)
    out = layer(torch.tensor([[0.0], [1.0]]))
    assert out.flatten().tolist() == pytest.approx([2, 1 + 2 * E / (1 + E)])


def test_added_self_loops_have_zero_edge_features() -> None:
    """All keys equal but for the edge's: scores 0 + e on the edge and 0 on the loops."""
    layer = MaskedSelfAttention(1, 1, edge_dim=1, add_self_loops=True, bias=False, out_proj=False)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    nn.init.zeros_(layer.lin_key.weight)
    _, weights = layer(torch.ones(2, 1), torch.tensor([[0], [1]]), torch.tensor([[1.0]]), return_attention=True)
    assert weights.flatten().tolist() == pytest.approx([E / (1 + E), 1, 1 / (1 + E)])


def test_every_kind_of_edge_index_is_the_same() -> None:
    x, _ = random_graph(3)
    layer = MaskedSelfAttention(6, 4, heads=2).double()
    expected = layer(x, PATH)
    adjacency = torch.sparse_coo_tensor(PATH.flip(0), torch.ones(4), (3, 3), check_invariants=True)
    for edge_index in (AdjacencyMask.from_edge_index(PATH, 3), adjacency, adjacency.to_sparse_csr()):
        assert close(layer(x, edge_index), expected)
    full = FullSelfAttention(6, 4).double()
    batch = torch.tensor([1, 0, 1])
    assert torch.equal(full(x, BlockDiagonalMask.from_batch(batch)), full(x, batch))
    assert close(full(x), full(x, torch.zeros(3, dtype=torch.long)))


@pytest.mark.parametrize("edge_dim", [None, 3])
def test_additive_equals_gatv2(edge_dim: int | None) -> None:
    """GATv2Conv takes keys for values, without their edge features; so the values here are the keys."""
    x, edge_index = random_graph()
    ours = MaskedSelfAttention(6, 8, heads=2, score="additive", edge_dim=edge_dim, out_proj=False).double()
    theirs = GATv2Conv(6, 4, heads=2, edge_dim=edge_dim, add_self_loops=False).double()
    with torch.no_grad():
        for bias in (theirs.lin_l.bias, theirs.lin_r.bias):
            nn.init.normal_(bias)
        for lin, other in ((ours.lin_query, theirs.lin_r), (ours.lin_key, theirs.lin_l), (ours.lin_value, theirs.lin_l)):
            lin.load_state_dict(other.state_dict())
        ours.att.copy_(theirs.att[0])
        if edge_dim:
            ours.lin_edge.load_state_dict(theirs.lin_edge.state_dict())
    attr = None if edge_dim is None else torch.randn(40, edge_dim, dtype=torch.float64)
    out, weights = ours(x, edge_index, attr, return_attention=True)
    expected, (_, expected_weights) = theirs(x, edge_index, attr, return_attention_weights=True)
    assert close(weights, expected_weights)
    if edge_dim is None:
        assert close(out, expected)


@pytest.mark.parametrize("edge_dim", [None, 3])
def test_dot_equals_transformer_conv(edge_dim: int | None) -> None:
    x, edge_index = random_graph()
    ours = MaskedSelfAttention(6, 8, heads=2, edge_dim=edge_dim, out_proj=False).double()
    theirs = TransformerConv(6, 4, heads=2, edge_dim=edge_dim, root_weight=False).double()
    names = ["lin_query", "lin_key", "lin_value"] + ["lin_edge"] * (edge_dim is not None)
    for name in names:
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    attr = None if edge_dim is None else torch.randn(40, edge_dim, dtype=torch.float64)
    out, weights = ours(x, edge_index, attr, return_attention=True)
    expected, (_, expected_weights) = theirs(x, edge_index, attr, return_attention_weights=True)
    assert close(weights, expected_weights)
    assert close(out, expected)


def test_full_equals_torch_multihead_attention() -> None:
    x, _ = random_graph()
    ours, theirs = FullSelfAttention(6, 6, heads=3).double(), nn.MultiheadAttention(6, 3).double()
    with torch.no_grad():
        nn.init.normal_(theirs.in_proj_bias)
        maps = (ours.lin_query, ours.lin_key, ours.lin_value)
        for lin, weight, bias in zip(maps, theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True):
            lin.weight.copy_(weight)
            lin.bias.copy_(bias)
    ours.lin_out.load_state_dict(theirs.out_proj.state_dict())
    expected, expected_weights = theirs(x, x, x, average_attn_weights=False)
    out, weights = ours(x, return_attention=True)
    assert close(out, expected)
    assert close(ours(x), expected)
    assert close(weights.reshape(12, 12, 3).permute(2, 0, 1), expected_weights)


def test_pair_bias_can_forbid_a_pair() -> None:
    x, _ = random_graph(3)
    bias = torch.zeros(9, 1, dtype=torch.float64)
    bias[[1, 2]] = float("-inf")  # node 0 attends to itself alone
    layer = FullSelfAttention(6, 4, out_proj=False).double()
    assert close(layer(x, pair_bias=bias)[0], layer.lin_value(x)[0])


def test_dropout_in_training_only() -> None:
    x, edge_index = random_graph()
    layer = MaskedSelfAttention(6, 4, dropout=0.5).double()
    assert not torch.equal(layer(x, edge_index), layer(x, edge_index))
    layer.eval()
    assert torch.equal(layer(x, edge_index), layer(x, edge_index))


@pytest.mark.parametrize("score", ["dot", "additive", "static"])
def test_copies(score: str) -> None:
    x, edge_index = random_graph()
    layer = MaskedSelfAttention(6, 4, heads=2, score=score).to(torch.float64)
    expected = layer(x, edge_index)
    assert expected.dtype == torch.float64
    fresh = MaskedSelfAttention(6, 4, heads=2, score=score).double()
    assert not close(fresh(x, edge_index), expected)
    fresh.load_state_dict(layer.state_dict())
    for copied in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied(x, edge_index), expected)
    layer.reset_parameters()
    assert not close(layer(x, edge_index), expected)


def test_repr() -> None:
    text = repr(MaskedSelfAttention(6, 4, heads=2, score="additive", normaliser="relu", dropout=0.1))
    assert "6, 4, heads=2, score='additive', normaliser='relu', dropout=0.1" in text


@pytest.mark.parametrize("shape", [(), (5,), (6, 5), (5, 6, 1)], ids=str)
@pytest.mark.parametrize("layer", [MaskedSelfAttention, FullSelfAttention])
def test_a_wrong_x_is_named_before_a_mask_that_does_not_fit_it(layer: type[nn.Module], shape: tuple[int, ...]) -> None:
    edges = torch.tensor([[0, 1], [1, 4]])
    graphs = AdjacencyMask.from_edge_index(edges, 5) if layer is MaskedSelfAttention else BlockDiagonalMask.single(5)
    with pytest.raises(InputError, match=r"x must be floats of shape \[nodes, 6\], got torch.float32 \["):
        layer(6, 4)(torch.ones(shape), graphs)
