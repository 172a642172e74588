"""What a model knows of structure: attentions in parallel, biases, states on pairs, extra edges, virtual nodes; its summary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from graphattn.nn import AttentionContext, EncoderLayer, GraphTransformer, MaskedSelfAttention
from graphattn.ops import AdjacencyMask, BlockDiagonalMask
from graphattn.structure import structure_transform

OPTIONS: dict[str, dict[str, Any]] = {
    "hybrid": {"attention": "masked+full", "biases": {"distance": 3, "edge": 2}, "edge_dim": 2},
    "pair": {"attention": ["pair", "masked+pair"], "biases": {"relative_walk": 4, "resistance": 2}},
    "linear": {"attention": ["sgformer", "masked+performer"]},
    "edges": {"extra_edges": {"k_hop": 3, "expander": 3, "virtual": 2}, "edge_dim": 2, "readout": "virtual"},
    "encodings": {"encodings": {"laplacian": 3, "cycles": 4, "degree_bucket": 2}, "readout": "sum"},
}

# Where the virtual nodes alone are read, the last layer's edges are not; and a path has no cycles.
UNREAD = {
    "layers.1.attention.masked.lin_edge.weight",
    "encodings.cycles.embed.0.weight",
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def path(nodes: int) -> Data:
    """A path with a node and an edge vector for each, both directions."""
    one_way = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    edges = torch.cat([one_way, one_way.flip(0)], 1)
    return Data(x=normal(nodes, 6), edge_index=edges, edge_attr=normal(edges.shape[1], 2), num_nodes=nodes)


def transform(options: dict[str, Any]) -> Any:
    return structure_transform(*(options.get(name) for name in ("encodings", "biases", "extra_edges")))


def model(**options: Any) -> GraphTransformer:
    torch.manual_seed(0)
    net = GraphTransformer(6, 8, 3, **{"num_layers": 2, "heads": 2, **options}).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return net


def run(net: GraphTransformer, data: Data, **options: Any) -> Any:
    structure = {name: value.double() if value.is_floating_point() else value for name, value in data if name in net.reads}
    attr = data.edge_attr if net.edge_dim else None
    return net(data.x, data.edge_index, attr, data.get("batch"), structure=structure, **options)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    options = OPTIONS[name]
    graphs = [transform(options)(path(nodes)) for nodes in (5, 1, 7)]
    net = model(**options)
    run(net, Batch.from_data_list(graphs)).square().sum().backward()
    dead = {name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert dead <= UNREAD


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_made_after_the_transform_or_before(name: str) -> None:
    options = OPTIONS[name]
    graphs, net = [path(nodes) for nodes in (5, 1, 7)], model(**options)
    after = run(net, Batch.from_data_list([transform(options)(graph.clone()) for graph in graphs]))
    before = run(net, transform(options)(Batch.from_data_list(graphs)))
    if "laplacian" in options.get("encodings", {}):
        assert after.shape == before.shape
    else:
        torch.testing.assert_close(after, before)


def test_two_attentions_in_parallel_add_up() -> None:
    torch.manual_seed(0)
    both = EncoderLayer(8, 2, attention="masked+full").double().eval()
    data = path(5)
    around = AttentionContext(AdjacencyMask.from_edge_index(data.edge_index, 5), BlockDiagonalMask.single(5))
    x = normal(5, 8)
    read = both.norm_attention(x)
    middle = x + both.attention["masked"](read, data.edge_index) + both.attention["full"](read)
    torch.testing.assert_close(both(x, around).x, middle + both.feed_forward(both.norm_feed_forward(middle)))
    out, pair, (local, full) = both(x, around, return_attention=True)
    assert pair is None
    assert local.shape == (8, 2)
    assert full.shape == (25, 2)
    torch.testing.assert_close(out, both(x, around).x)
    assert both(x, around).weights is None


def test_biases_reach_the_scores_of_all_full_layers() -> None:
    """A bias against all but the node itself leaves every node alone: what others are no longer matters."""
    net = model(attention="full", biases={"distance": 3})
    data = transform({"biases": {"distance": 3}})(path(5))
    other = data.clone()
    other.x = data.x.clone()
    other.x[1:] += 1
    assert not torch.allclose(run(net, data)[0], run(net, other)[0])
    with torch.no_grad():
        net.biases["distance"].table[1:] = -1e4
    torch.testing.assert_close(run(net, data)[0], run(net, other)[0])


def test_the_state_on_pairs_goes_from_layer_to_layer() -> None:
    """What the first layer writes into the state, the second reads: without that map the weights of the second change."""
    options = {"attention": "pair", "biases": {"relative_walk": 4}}
    net, data = model(**options), transform(options)(path(5))
    _, (first, second) = run(net, data, return_attention=True)
    with torch.no_grad():
        net.layers[0].attention["pair"].lin_pair_out.weight.zero_()
        net.layers[0].attention["pair"].lin_pair_out.bias.zero_()
    _, (first_again, second_again) = run(net, data, return_attention=True)
    torch.testing.assert_close(first_again, first)
    assert not torch.allclose(second_again, second)


def test_extra_edges_are_types_after_those_of_the_graph() -> None:
    net, data = model(**OPTIONS["edges"]), transform(OPTIONS["edges"])(path(6))
    edges, blocks = AdjacencyMask.from_edge_index(data.edge_index, 6), BlockDiagonalMask.single(6)
    x, mask, of_virtual = net.extra_edges(normal(6, 8), edges, blocks, data.to_dict())
    far, drawn = data.khop_index.shape[1], data.expander_index.shape[1]
    assert far == 2 * (4 + 3)  # on a path of six: four pairs two steps apart and three three steps apart
    assert mask.num_types == net.extra_edges.num_types == 6
    assert mask.edge_type.bincount().tolist() == [10, 8, 6, drawn, 12, 12]
    assert x.shape == (8, 8)
    assert of_virtual.tolist() == [0, 0]


def test_a_virtual_node_joins_two_nodes_in_two_steps() -> None:
    far, data = path(9), path(9)
    far.x = data.x.clone()
    far.x[8] += 1
    alone, joined = model(), model(extra_edges={"virtual": 1})
    assert torch.equal(run(alone, data)[0], run(alone, far)[0])
    assert not torch.allclose(run(joined, data)[0], run(joined, far)[0])


def test_weights_of_extra_edges_come_after_the_edges() -> None:
    net, data = model(extra_edges={"k_hop": 2}), transform({"extra_edges": {"k_hop": 2}})(path(5))
    _, weights = run(net, data, return_attention=True)
    target = torch.cat([data.edge_index[1], data.khop_index[1]])
    for of_layer in weights:
        sums = torch.zeros(5, 2, dtype=torch.float64).index_add(0, target, of_layer)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_summary_by_hand() -> None:
    """One masked layer of 8 channels on a path of 3 nodes and 4 edges: 4 maps of 8 × 8, and 2 · 8 for each edge."""
    net = GraphTransformer(6, 8, 3, num_layers=1, heads=2)
    text = net.summary(path(3))
    lines = {line.split("  ")[0]: line for line in text.splitlines() if line}
    assert text.startswith("one forward pass over 3 nodes, 4 edges, 9 pairs of nodes, 1 graphs")
    assert lines["layer 0"].split()[-1].replace(",", "") == str(3 * 4 * 64 + 4 * 16 + 3 * 2 * 8 * 16)
    layer = sum(parameter.numel() for parameter in net.layers[0].parameters())
    assert lines["layer 0"].split()[-2].replace(",", "") == str(layer)
    total = sum(parameter.numel() for parameter in net.parameters())
    assert lines["all"].split()[-2].replace(",", "") == str(total)


@pytest.mark.parametrize("name", OPTIONS)
def test_summary_counts_every_parameter(name: str) -> None:
    net, data = model(**OPTIONS[name]), transform(OPTIONS[name])(path(6))
    last = net.summary(data).splitlines()[-1].split()
    assert last[0] == "all"
    assert int(last[-2].replace(",", "")) == sum(parameter.numel() for parameter in net.parameters())
    assert int(last[-1].replace(",", "")) > 0


def test_a_layer_with_types_is_a_layer() -> None:
    """`edge_types` of the encoder reach its masked attention."""
    layer = EncoderLayer(8, 2, attention="masked+full", edge_types=4)
    masked = layer.attention["masked"]
    assert isinstance(masked, MaskedSelfAttention)
    assert masked.type_bias is not None
    assert masked.type_bias.shape == (4, 2)


def test_a_network_that_trains_on_one_graph_sorts_its_edges_once(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"extra_edges": {"k_hop": 3, "expander": 3, "virtual": 2}, "edge_dim": 2}
    net, data = model(**options), transform(options)(path(6))
    run(net, data)
    monkeypatch.setattr("graphattn.ops.mask.adjacency.group_edges", lambda *_: pytest.fail("sorted again"))
    run(net, data)


def test_batches_made_in_inference_mode() -> None:
    options = OPTIONS["edges"]
    net, graphs = model(**options), [transform(options)(path(nodes)) for nodes in (5, 7)]
    expected = run(net, Batch.from_data_list(graphs))
    with torch.inference_mode():
        torch.testing.assert_close(run(net, next(iter(DataLoader(graphs, batch_size=2)))), expected)


def test_structure_comes_in_the_models_type() -> None:
    """Transforms give float32, whatever the model is."""
    options = {"encodings": {"random_walk": 4}, "biases": {"resistance": 2}, "attention": "full"}
    net, data = model(**options), transform(options)(path(5))
    torch.testing.assert_close(net(data.x, data.edge_index, structure=data.to_dict()), run(net, data))


def test_batches_can_be_taken_apart() -> None:
    """torch_geometric's collation of pairs and of edges beyond the graph's own, and back."""
    every = structure_transform({"cycles": 3}, {"distance": 3, "relative_walk": 2}, {"k_hop": 3, "expander": 3})
    graphs = [every(path(nodes)) for nodes in (5, 1, 7)]
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    whole = every(Batch.from_data_list([path(nodes) for nodes in (5, 1, 7)]))
    for name in ("cycles_pe", "distance_pair", "rrwp_pair", "khop_distance"):
        assert torch.equal(batch[name], whole[name])
    for apart, graph in zip(batch.to_data_list(), graphs, strict=True):
        assert all(torch.equal(apart[name], value) for name, value in graph if isinstance(value, Tensor))
    assert torch.equal(batch[2].expander_index, graphs[2].expander_index)


def test_summary_of_look_up_tables_and_signs() -> None:
    """A table costs nothing; φ of 2 → 16 → 16 runs for both signs of each eigenvector, ρ of 3 · 16 → 8 → 8 once."""
    options = {"encodings": {"sign_invariant": 3, "degree_bucket": 1}, "biases": {"distance": 4}, "attention": "full"}
    lines = model(**options).summary(transform(options)(path(5))).splitlines()
    cost = {line.split()[1]: int(line.split()[-1].replace(",", "")) for line in lines if line.startswith(("encoding", "bias"))}
    assert cost == {"sign_invariant": 5 * (6 * (2 * 16 + 16 * 16) + 48 * 8 + 8 * 8), "degree_bucket": 0, "distance": 0}
