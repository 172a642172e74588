"""What a model costs: parameters and multiply-adds of each part, on given data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from graphattn.errors import InputError
from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.encoding.sign_invariant import SignInvariantEncoding
from graphattn.nn.heads import NodeHead
from graphattn.nn.linear_attention import LinearSelfAttention
from graphattn.nn.pair_attention import PairSelfAttention

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Size(NamedTuple):
    """How large the data are: numbers of nodes, of edges, of pairs of nodes of one graph, and of graphs.

    `all_nodes` and `all_edges` are those that masked attention meets, with virtual nodes and extra edges.
    """

    nodes: int
    edges: int
    pairs: int
    graphs: int
    all_nodes: int
    all_edges: int


class Part(NamedTuple):
    """A line of the summary; `cost` in multiply-adds of one forward pass."""

    name: str
    what: str
    parameters: int
    cost: int


def summary(model: Any, data: Data) -> str:
    """A table of the parts of a `GraphTransformer`, whose `summary` calls this."""
    size = _size(model, data)
    parts = list(_parts(model, size))
    total = Part("all", "", sum(part.parameters for part in parts), sum(part.cost for part in parts))
    rows = [("part", "what it is", "parameters", "multiply-adds")]
    rows += [(part.name, part.what, f"{part.parameters:,}", f"{part.cost:,}") for part in [*parts, total]]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {what:<{widths[1]}}  {parameters:>{widths[2]}}  {cost:>{widths[3]}}"
        for name, what, parameters, cost in rows
    ]
    given = f"{size.nodes:,} nodes, {size.all_edges:,} edges, {size.pairs:,} pairs of nodes, {size.graphs:,} graphs"
    return "\n".join([f"one forward pass over {given}", "", lines[0], "─" * len(lines[0]), *lines[1:]])


def _size(model: Any, data: Data) -> Size:
    nodes, edges, extra = int(data.num_nodes or 0), data.num_edges, model.extra_edges
    batch = data.get("batch")
    sizes = [nodes] if batch is None else batch.bincount().tolist()
    missing = [name for name in extra.reads if data.get(name) is None]
    if missing:
        raise InputError(
            f"data must hold {', '.join(extra.reads)}, but {missing[0]} is not there: apply the model's transforms"
        )
    more = sum(data[name].shape[1] for name in extra.reads if name.endswith("_index")) + 2 * extra.num_virtual * nodes
    pairs = sum(size**2 for size in sizes)
    return Size(nodes, edges, pairs, len(sizes), nodes + extra.num_virtual * len(sizes), edges + more)


def _parts(model: Any, size: Size) -> Iterator[Part]:
    if model.lin_in is not None:
        yield _part("features", str(model.lin_in), model.lin_in, size.nodes * model.lin_in.weight.numel())
    for name, module in model.encodings.items():
        cost = _of_maps(module, size.nodes)
        if isinstance(module, SignInvariantEncoding):  # φ is applied to every eigenvector, with both signs
            columns = model.columns[module.reads[0]] or 0
            cost += (2 * columns - 1) * _of_maps(module.phi, size.nodes)
        yield _part("encoding", name, module, cost)
    for modules, part in ((model.biases, "bias"), (model.pair_states, "state on pairs")):
        for name, module in modules.items():
            yield _part(part, name, module, _of_maps(module, size.edges if name == "edge" else size.pairs))
    if model.extra_edges.virtual is not None:
        yield _part("virtual nodes", str(model.extra_edges.num_virtual), model.extra_edges, 0)
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, EncoderLayer)
        cost = sum(_of_attention(module, size) for module in layer.attention.values())
        what = "+".join(layer.attention) + " attention, feed-forward"
        yield _part(f"layer {number}", what, layer, cost + _of_maps(layer.feed_forward, size.all_nodes))
    if isinstance(model.head, NodeHead):
        cost = _of_maps(model.head, size.nodes)
    else:  # the attention pool maps every node to a score, the rest is of graphs
        cost = _of_maps(model.head.mlp, size.graphs) + _of_maps(model.head.pool, size.nodes)
    yield _part("head", model.readout, model.head, cost)


def _part(name: str, what: str, module: nn.Module, cost: int) -> Part:
    return Part(name, what, sum(parameter.numel() for parameter in module.parameters()), cost)


def _of_maps(module: nn.Module, rows: int) -> int:
    """The linear maps inside a module, each of so many rows."""
    return rows * sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


def _of_attention(module: nn.Module, size: Size) -> int:
    if isinstance(module, MaskedSelfAttention):
        width, features = module.out_channels, module.edge_dim or 0
        edge_map = 0 if module.lin_edge is None else module.lin_edge.weight.numel()
        # A product of query and key and a sum of values for each edge; edge features meet both at their own width, and their
        # map is applied to queries and to sums, once a node each.
        on_nodes = _of_maps(module, size.all_nodes) + size.all_nodes * edge_map
        return on_nodes + size.all_edges * (2 * width + 2 * module.heads * features)
    if isinstance(module, FullSelfAttention):
        return _of_maps(module, size.nodes) + size.pairs * 2 * module.out_channels
    if isinstance(module, LinearSelfAttention):
        drawn = 0 if module.projection is None else module.projection.shape[0]
        features = drawn or module.out_channels // module.heads
        # Keys and values into the sums of a graph, queries out of them; random features of queries and keys.
        return _of_maps(module, size.nodes) + 2 * size.nodes * module.out_channels * (features + drawn)
    assert isinstance(module, PairSelfAttention)
    of_pairs = _of_maps(module.lin_pair, 1) + (0 if module.lin_pair_out is None else _of_maps(module.lin_pair_out, 1))
    on_nodes = size.nodes * (_of_maps(module, 1) - of_pairs + module.pair_value.numel())
    return on_nodes + size.pairs * (of_pairs + 4 * module.channels)
