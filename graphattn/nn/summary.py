"""What a model costs: parameters and multiply-adds of each part, on given data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from graphattn.errors import InputError
from graphattn.nn.heads import NodeHead
from graphattn.structure.kind import Size, weights_of_maps
from graphattn.structure.registry import attributes_at

if TYPE_CHECKING:
    from torch_geometric.data import Data


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
    indices = set(extra.reads) & attributes_at("edge_index")
    more = sum(data[name].shape[1] for name in indices) + 2 * extra.num_virtual * nodes
    pairs = sum(size**2 for size in sizes)
    return Size(nodes, edges, pairs, len(sizes), nodes + extra.num_virtual * len(sizes), edges + more)


def _parts(model: Any, size: Size) -> Iterator[Part]:
    if model.lin_in is not None:
        yield _part("features", str(model.lin_in), model.lin_in, size.nodes * model.lin_in.weight.numel())
    for modules, part in ((model.encodings, "encoding"), (model.biases, "bias"), (model.pair_states, "state on pairs")):
        for name, module in modules.items():
            yield _part(part, name, module, module.multiply_adds(size))
    if model.extra_edges.virtual is not None:
        yield _part("virtual nodes", str(model.extra_edges.num_virtual), model.extra_edges, 0)
    for number, layer in enumerate(model.layers):
        cost = sum(module.multiply_adds(size) for module in layer.attention.values())
        what = "+".join(layer.attention) + " attention, feed-forward"
        yield _part(f"layer {number}", what, layer, cost + size.all_nodes * weights_of_maps(layer.feed_forward))
    if isinstance(model.head, NodeHead):
        cost = size.nodes * weights_of_maps(model.head)
    else:  # the attention pool maps every node to a score, the rest is of graphs
        cost = size.graphs * weights_of_maps(model.head.mlp) + size.nodes * weights_of_maps(model.head.pool)
    yield _part("head", model.readout, model.head, cost)


def _part(name: str, what: str, module: nn.Module, cost: int) -> Part:
    return Part(name, what, sum(parameter.numel() for parameter in module.parameters()), cost)
