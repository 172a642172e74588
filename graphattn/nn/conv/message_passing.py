"""What the layers of torch_geometric's message passing share: when the fused path serves one, and its edges as a mask.

Each check returns a reason, as text, where torch_geometric's own code must do the work: it then serves, or refuses with its
own message.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.aggr import SumAggregation
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.utils.loop import compute_loop_attr

from graphattn.errors import InputError
from graphattn.nn.projection import has_hooks, is_plain
from graphattn.ops import AdjacencyMask, EdgeFeatures, Score, normaliser_of
from graphattn.ops.backends import Call, choose_fused, why_not_fused

_METHODS = ("message", "aggregate", "message_and_aggregate", "update", "edge_update")
_FILLS = ("add", "mean", "min", "max", "mul")
_TEMPLATES = ("propagate", "edge_updater")
_HOOKS = tuple(
    f"_{step}_forward_{kind}s"
    for step in ("propagate", "message", "aggregate", "message_and_aggregate", "edge_update")
    for kind in ("pre_hook", "hook")
)


def own_steps(kind: type[MessagePassing]) -> dict[str, object]:
    """The steps of message passing as torch_geometric's class has them; where a layer has others, they must run."""
    return {name: getattr(kind, name) for name in _METHODS}


def why_not_default(layer: MessagePassing, steps: dict[str, object]) -> str | None:
    """What was asked of the layer's message passing that only torch_geometric's own code does."""
    for name in _HOOKS:
        if getattr(layer, name):
            return f"a {name[1:-1]} is set"
    if layer.explain:
        return "explain mode is on"
    if layer.node_dim != 0:
        return f"node_dim is {layer.node_dim}"
    if layer.decomposed_layers > 1:
        return f"decomposed_layers is {layer.decomposed_layers}"
    if type(layer.aggr_module) is not SumAggregation or has_hooks(layer.aggr_module):
        return f"the aggregation is not the default: {layer.aggr_module}"
    for name, step in steps.items():
        if name in layer.__dict__ or getattr(type(layer), name) is not step:
            return f"{type(layer).__name__} has its own {name}"
    for name in _TEMPLATES:
        # torch_geometric generates these two for each class, in modules that it names after them.
        if not getattr(layer, name).__module__.endswith((f"_{name}", "torch_geometric.nn.conv.message_passing")):
            return f"{type(layer).__name__} has its own {name}"
    if not 0.0 <= layer.dropout <= 1.0 or (layer.training and layer.dropout == 1.0):
        return f"dropout is {layer.dropout}"
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        return "torch.jit.trace is at work"
    return None


def why_not_kernels(layer: MessagePassing, x: tuple[Tensor, Tensor | None], edge_attr: Tensor | None) -> str | None:
    """Why the kernels do not serve the vectors of sources and targets, with the layer's heads and channels."""
    source, target = x
    for vectors in (source,) if target is source or target is None else (source, target):
        if not isinstance(vectors, Tensor) or vectors.layout != torch.strided or vectors.dim() != 2:
            return "x must be a dense tensor of shape [nodes, channels], or a pair of them"
        if vectors.device != source.device:
            return f"the vectors of sources are on {source.device}, those of targets on {vectors.device}"
    rows = torch.empty((1, layer.heads, layer.out_channels), device=source.device)
    features = EdgeFeatures(torch.empty(0, _width(edge_attr))) if isinstance(edge_attr, Tensor) else None
    return why_not_fused(rows, rows, edge_attr=features)


def why_not_edge_attr(layer: MessagePassing, edge_attr: Tensor | None, edge_index: Tensor, num_edges: int) -> str | None:
    """Why the edge features do not fit the edges, or do not enter through a plain map `lin_edge`."""
    if edge_attr is None:
        return None
    if not isinstance(edge_attr, Tensor) or edge_attr.layout != torch.strided or edge_attr.dim() not in (1, 2):
        return "edge_attr must be a dense tensor of shape [edges, edge channels]"
    if edge_index.layout != torch.strided and getattr(layer, "add_self_loops", False):
        return "edge_attr goes with a sparse edge_index to which self-loops are added"
    if edge_attr.shape[0] != num_edges:
        return f"edge_attr has {edge_attr.shape[0]} rows for {num_edges} edges"
    if layer.lin_edge is None:
        # torch_geometric fills in the features of self-loops even where no map takes them, and refuses what it cannot.
        fill = getattr(layer, "fill_value", None) if getattr(layer, "add_self_loops", False) else None
        return f"fill_value is {fill!r}" if isinstance(fill, Tensor) or (isinstance(fill, str) and fill not in _FILLS) else None
    if not is_plain(layer.lin_edge) or layer.lin_edge.bias is not None:
        return "lin_edge is not a plain linear map"
    weight, width = layer.lin_edge.weight, _width(edge_attr)
    if weight.shape != (layer.heads * layer.out_channels, width):
        return f"edge_attr has {width} channels, and the weight of lin_edge the shape {list(weight.shape)}"
    if edge_attr.device != weight.device:
        return f"edge_attr is on {edge_attr.device}, and lin_edge on {weight.device}"
    # Autocast brings all floats but these to one type.
    lowered = torch.is_autocast_enabled(edge_attr.device.type) and edge_attr.is_floating_point()
    if edge_attr.dtype != weight.dtype and not (lowered and torch.float64 not in (edge_attr.dtype, weight.dtype)):
        return f"edge_attr is {edge_attr.dtype}, and lin_edge {weight.dtype}"
    return None


def _width(edge_attr: Tensor) -> int:
    return edge_attr.shape[1] if edge_attr.dim() > 1 else 1


def attention_mask(
    layer: MessagePassing, edge_index: Tensor, sizes: tuple[int, int], device: torch.device, add_self_loops: bool = False
) -> AdjacencyMask | str:
    """Who attends to whom, in the direction of the layer's `flow`; or why torch_geometric's code must read the edges.

    Args:
        layer: whose `flow` counts.
        edge_index: what torch_geometric takes for it.
        sizes: number of nodes that its row 0 and its row 1 number.
        device: where the node vectors are.
        add_self_loops: whether the layer will add them, to the mask that is returned.
    """
    if not isinstance(edge_index, Tensor):
        return f"edge_index is a {type(edge_index).__name__}"
    if edge_index.device != device:
        return f"edge_index is on {edge_index.device}, and x on {device}"
    if edge_index.layout == torch.strided:
        if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.dtype not in (torch.int32, torch.int64):
            return f"edge_index must be integers of shape [2, edges], got {edge_index.dtype} {list(edge_index.shape)}"
        if isinstance(edge_index, EdgeIndex) and (reason := _why_not_its_size(layer, edge_index, sizes, add_self_loops)):
            return reason
    elif edge_index.layout not in (torch.sparse_coo, torch.sparse_csr):
        return f"edge_index has the layout {edge_index.layout}"
    elif edge_index.layout == torch.sparse_coo and not edge_index.is_coalesced():
        return "edge_index is not coalesced"
    elif layer.flow == "target_to_source":
        return "flow is target_to_source, and edge_index a sparse matrix"
    try:
        mask = AdjacencyMask.from_edge_index(edge_index, sizes[0] if sizes[0] == sizes[1] else sizes)
    except InputError as error:
        return str(error)
    if edge_index.layout != torch.strided and add_self_loops and mask.has_multi_edges:
        return "added self-loops merge the entries that the sparse edge_index has more than once"
    return mask if layer.flow == "source_to_target" else mask.reversed()


def _why_not_its_size(layer: MessagePassing, edge_index: EdgeIndex, sizes: tuple[int, int], add_self_loops: bool) -> str | None:
    """Where torch_geometric refuses an EdgeIndex whose own size is not that of x."""
    own = list(edge_index.sparse_size())
    target = 1 if layer.flow == "source_to_target" else 0
    if add_self_loops:
        own = [None if size is None else max(size, min(sizes)) for size in own]
    elif edge_index.sort_order == ("row", "col")[target]:
        own[target] = edge_index.get_sparse_size(target)  # which it finds out, where nobody said, for the pointers
    if all(of_index in (None, of_x) for of_index, of_x in zip(own, sizes, strict=True)):
        return None
    return f"the EdgeIndex has the size {own}, and x {list(sizes)} nodes"


def edge_weight(layer: MessagePassing) -> Tensor:
    """The weight of `lin_edge` by heads, [heads, channels, edge channels]."""
    return layer.lin_edge.weight.view(layer.heads, layer.out_channels, -1)


def as_columns(edge_attr: Tensor) -> Tensor:
    """One number an edge is one channel."""
    return edge_attr if edge_attr.dim() > 1 else edge_attr.unsqueeze(-1)


def with_self_loops(
    layer: MessagePassing, mask: AdjacencyMask, edge_attr: Tensor | None
) -> tuple[AdjacencyMask, Tensor | None]:
    """The mask with its self-loops renewed, and the edge features with those that `fill_value` gives the loops."""
    looped, stay = mask.with_self_loops_renewed()
    if edge_attr is None:
        return looped, None
    edge_attr = edge_attr if stay is None else edge_attr.index_select(0, stay)
    # For loops, torch_geometric gathers features at row 1 of edge_index, whatever the flow.
    row = (looped.target if layer.flow == "source_to_target" else looped.source)[: edge_attr.shape[0]]
    num_loops = min(mask.num_sources, mask.num_targets)
    return looped, torch.cat([edge_attr, compute_loop_attr((row, row), edge_attr, num_loops, False, layer.fill_value)])


def attend(
    layer: MessagePassing,
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    mask: AdjacencyMask,
    score: Score,
    features: EdgeFeatures | None,
) -> Tensor:
    """`graphattn.ops.attention` with the dropout of the layer and outside autocast, for a call that passed all checks.

    Query, key and value are as `graphattn.ops.backends.Call` has them, and give the output their type; `score` has the type
    that they are computed in.

    Raises:
        InputError: where a map of the layer, by an adapter or a hook, gave another number of rows than there are nodes.
    """
    for table, size in ((query, mask.num_targets), (key, mask.num_sources), (value, mask.num_sources)):
        if table is not None and table.shape[0] != size:
            raise InputError(f"a linear map of the layer must give a row of heads and channels for each of {size} nodes")
    dropout = layer.dropout if layer.training else 0.0
    seed = torch.randint(2**63 - 1, (), device=query.device) if dropout else None
    dtype, compute = query.dtype, torch.promote_types(query.dtype, torch.float32)
    backend = choose_fused(query.device)
    storage = backend.storage_type(dtype)
    query, key, value = (None if table is None else table.to(storage) for table in (query, key, value))  # type: ignore[assignment]
    if features is not None:
        features = EdgeFeatures(*(None if part is None else part.to(compute) for part in features))  # type: ignore[arg-type]
    with no_autocast(query.device):
        out, _ = backend.run(Call(query, key, value, mask, score, normaliser_of("softmax"), None, features, dropout, seed))
    return out.to(dtype)


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """torch_geometric multiplies rows with parameters that autocast leaves as they are, so the result has their type."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def per_head(layer: MessagePassing, rows: Tensor) -> Tensor:
    """[nodes, heads · channels] → [nodes, heads, channels]."""
    return rows.view(-1, layer.heads, layer.out_channels)


def join_heads(layer: MessagePassing, out: Tensor) -> Tensor:
    """The heads' outputs side by side, or their mean where `concat` is off."""
    return out.flatten(1) if layer.concat else out.mean(dim=1)
