"""What a model costs: parameters and multiply-adds of each part, on given data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from graphattn.nn.attention import FullSelfAttention, MaskedSelfAttention
from graphattn.nn.encoder import EncoderLayer
from graphattn.nn.linear_attention import LinearSelfAttention
from graphattn.nn.pair_attention import PairSelfAttention

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphattn.nn.graph_transformer import GraphTransformer


class Size(NamedTuple):
    """How large the data are: numbers of nodes, edges, pairs of nodes of one graph, and graphs."""

    nodes: int
    edges: int
    pairs: int
    graphs: int


class Part(NamedTuple):
    """A line of the summary; `cost` in multiply-adds of one forward pass."""

    name: str
    what: str
    parameters: int
    cost: int


def summary(model: GraphTransformer, data: Data) -> str:
    """A table of the model's parts, see `GraphTransformer.summary`."""
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
    given = f"{size.nodes:,} nodes, {size.edges:,} edges, {size.pairs:,} pairs of nodes, {size.graphs:,} graphs"
    return "\n".join([f"one forward pass over {given}", "", lines[0], "─" * len(lines[0]), *lines[1:]])


def _size(model: GraphTransformer, data: Data) -> Size:
    """Sizes as the layers meet them: with the extra edges and the virtual nodes of the model."""
    nodes, edges, extra = int(data.num_nodes or 0), data.num_edges, model.extra_edges
    ptr = data.get("ptr")
    sizes = [nodes] if ptr is None else ptr.diff().tolist()
    edges += sum(data[name].shape[1] for name in extra.reads if name.endswith("_index"))
    edges += 2 * extra.num_virtual * nodes
    return Size(nodes + extra.num_virtual * len(sizes), edges, sum(size**2 for size in sizes), len(sizes))


def _parts(model: GraphTransformer, size: Size) -> Iterator[Part]:
    if model.lin_in is not None:
        yield _part("features", str(model.lin_in), model.lin_in, _of_maps(model.lin_in, size.nodes))
    for name, module in model.encodings.items():
        yield _part("encoding", name, module, _of_maps(module, size.nodes))
    for modules, part in ((model.biases, "bias"), (model.pair_states, "state on pairs")):
        for name, module in modules.items():
            yield _part(part, name, module, _of_maps(module, size.edges if name == "edge" else size.pairs))
    if model.extra_edges.virtual is not None:
        yield _part("virtual nodes", str(model.extra_edges.num_virtual), model.extra_edges, 0)
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, EncoderLayer)
        cost = sum(_of_attention(module, size) for module in layer.attention.values())
        what = "+".join(layer.attention) + " attention, feed-forward"
        yield _part(f"layer {number}", what, layer, cost + _of_maps(layer.feed_forward, size.nodes))
    yield _part("head", model.readout, model.head, _of_maps(model.head, size.nodes if model.readout == "node" else size.graphs))


def _part(name: str, what: str, module: nn.Module, cost: int) -> Part:
    return Part(name, what, sum(parameter.numel() for parameter in module.parameters()), cost)


def _of_maps(module: nn.Module, rows: int) -> int:
    """The matrices of a module, each with so many rows."""
    return rows * sum(parameter.numel() for parameter in module.parameters() if parameter.dim() > 1)


def _of_attention(module: nn.Module, size: Size) -> int:
    maps = size.nodes * sum(linear.weight.numel() for linear in module.children() if isinstance(linear, nn.Linear))
    if isinstance(module, MaskedSelfAttention):
        # A product of query and key and a sum of values for each edge; edge features meet both at their own width.
        features = 2 * module.heads * (module.edge_dim or 0)
        on_nodes = size.nodes * 2 * (module.edge_dim or 0) * module.out_channels
        of_edges = 0 if module.lin_edge is None else size.nodes * module.lin_edge.weight.numel()
        return maps - of_edges + on_nodes + size.edges * (2 * module.out_channels + features)
    if isinstance(module, FullSelfAttention):
        return maps + size.pairs * 2 * module.out_channels
    if isinstance(module, LinearSelfAttention):
        features = module.out_channels // module.heads if module.projection is None else module.projection.shape[0]
        drawn = 0 if module.projection is None else 2 * size.nodes * module.out_channels * features
        return maps + drawn + 2 * size.nodes * module.out_channels * features
    assert isinstance(module, PairSelfAttention)
    of_pairs = module.lin_pair.weight.numel() + module.lin_pair_out.weight.numel()
    maps -= size.nodes * of_pairs
    return maps + size.nodes * module.pair_value.numel() + size.pairs * (of_pairs + 4 * module.channels)
