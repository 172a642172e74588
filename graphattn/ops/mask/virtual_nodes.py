"""Virtual nodes, connected to every node of their graph."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.recall import recall_with


def with_virtual_nodes(mask: AdjacencyMask, blocks: BlockDiagonalMask, count: int = 1) -> tuple[AdjacencyMask, Tensor]:
    """Appends virtual nodes to every graph: any two nodes of a graph are then two steps apart.

    The virtual nodes come after all others, graph by graph: virtual node c of graph g is node `nodes + g * count + c`. So a
    model appends rows of its own to the node vectors, `torch.cat([x, learned.repeat(graphs, 1)])` with `learned` of shape
    [count, channels], and reads them off again as `out[nodes:].unflatten(0, (graphs, count))`.

    Edges are those of `mask`, with their types; then one from each node to each virtual node of its graph, of type
    `mask.num_types`; then one from each virtual node to each node of its graph, of the type after that. Virtual nodes are
    not connected to each other. Those of an empty graph have no edges, and attention gives them zero.

    It is made once, and the next call with the same arguments returns the same objects. Gilmer et al., "Neural message passing
    for quantum chemistry" (2017), section 5.2.

    Args:
        mask: the edges between nodes, with as many sources as targets.
        blocks: the graphs that the nodes belong to.
        count: virtual nodes of each graph.

    Returns:
        the mask of `nodes + graphs * count` nodes, and the graph number of each of these, int64.

    Raises:
        InputError: where `count` is below 1, or `mask` and `blocks` are not of the same nodes.
    """
    if count < 1:
        raise InputError(f"count must be at least 1 virtual node a graph, got {count}")
    if (mask.num_sources, mask.num_targets) != (blocks.num_nodes, blocks.num_nodes):
        raise InputError(
            f"mask must be of the {blocks.num_nodes} nodes of blocks, got {mask.num_sources} → {mask.num_targets} nodes"
        )
    return recall_with(mask, "_virtual", (blocks, count), lambda: _append(mask, blocks, count))


def _append(mask: AdjacencyMask, blocks: BlockDiagonalMask, count: int) -> tuple[AdjacencyMask, Tensor]:
    nodes, graphs, device = blocks.num_nodes, blocks.num_graphs, blocks.ptr.device
    first = nodes + blocks.batch * count
    virtual = (first.unsqueeze(1) + torch.arange(count, device=device)).flatten()
    real = torch.arange(nodes, device=device).unsqueeze(1).expand(-1, count).flatten()
    size = nodes + graphs * count
    edges = AdjacencyMask(mask.source, mask.target, size, size, mask.edge_type, mask.num_types)
    to_virtual = AdjacencyMask(real, virtual, size, size)
    own_graph = torch.arange(graphs, device=device).unsqueeze(1).expand(-1, count).flatten()
    return edges | to_virtual | to_virtual.reversed(), torch.cat([blocks.batch, own_graph])
