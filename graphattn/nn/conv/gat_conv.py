"""GATConv of torch_geometric on the fused kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing

from graphattn.nn.conv.message_passing import (
    as_columns,
    attend,
    attention_mask,
    edge_weight,
    join_heads,
    no_autocast,
    own_steps,
    per_head,
    why_not_default,
    why_not_edge_attr,
    why_not_kernels,
    with_self_loops,
)
from graphattn.ops import Additive, AdjacencyMask, EdgeFeatures
from graphattn.ops.backends import head_products

_STEPS = own_steps(torch_geometric.nn.GATConv)


class GATConv(torch_geometric.nn.GATConv):
    r"""Graph attention with a static score; torch_geometric's class with its arguments, parameters and numbers.

    .. math::
        o_i = \sum_{j \in N(i)} \alpha_{ij} \, W x_j, \qquad
        \alpha_{i\cdot} = \mathrm{softmax}_j \; \mathrm{LeakyReLU}(a_d \cdot W x_i + a_s \cdot W x_j + a_e \cdot W_e e_{ij})

    The attention goes through the fused kernels: no tensor of edges × heads × channels is made, and the edges are sorted, and
    given their self-loops, once for each `edge_index`. What the kernels do not serve runs torch_geometric's own code;
    `graphattn.why_not_fused` says why.

    Paper: Veličković et al., "Graph attention networks" (2018).

    Args:
        in_channels, out_channels, heads and all options: as of torch_geometric.nn.GATConv.
    """

    # torch_geometric writes its templates from these; those it wrote for its own class would switch explain mode off.
    propagate = MessagePassing.propagate
    edge_updater = MessagePassing.edge_updater

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor | None],
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Runs the layer.

        Args:
            x: node vectors, [nodes, in_channels]; or those of sources and of targets, [sources, in_channels[0]] and
                [targets, in_channels[1]] or None.
            edge_index: [2, edges], a torch_geometric `EdgeIndex`, or a sparse COO or CSR matrix [targets, sources].
            edge_attr: edge features, [edges, edge_dim], or [edges] where edge_dim is 1.
            size: number of sources and of targets.
            return_attention_weights: if True, also return (edges with their self-loops, weights [edges, heads]).

        Returns:
            [targets, heads · out_channels], or [targets, out_channels] where `concat` is off.
        """
        # Its inspector finds a class's source by the class's name, and in it the types that the fallback needs:
        # edge_updater_type: (alpha: OptPairTensor, edge_attr: OptTensor)
        # propagate_type: (x: OptPairTensor, alpha: Tensor)
        mask = mask_or_reason(self, x, edge_index, edge_attr, size, return_attention_weights)
        if isinstance(mask, str):
            return super().forward(x, edge_index, edge_attr, size, return_attention_weights)
        target = x if isinstance(x, Tensor) else x[1]
        residual = None if self.res is None or target is None else self.res(target)
        tables = self._project(x)
        edge_attr = None if self.lin_edge is None else edge_attr
        if self.add_self_loops:
            mask, edge_attr = with_self_loops(self, mask, edge_attr)
        if not torch.compiler.is_compiling() and mask.num_edges == 0:
            edge_attr = None  # as in torch_geometric, the map of edge features then gets no gradient, not zero
        out = join_heads(self, _attend(self, tables, mask, edge_attr))
        if residual is not None:
            out = out + residual
        return out if self.bias is None else out + self.bias

    def _project(self, x: Tensor | tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """W x of sources and of targets, [nodes, heads, channels]; one object where they are one."""
        if isinstance(x, Tensor) and self.lin is not None:
            table = per_head(self, self.lin(x))
            return table, table
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        lin_src, lin_dst = (self.lin_src, self.lin_dst) if self.lin is None else (self.lin, self.lin)
        return per_head(self, lin_src(x_src)), None if x_dst is None else per_head(self, lin_dst(x_dst))


def mask_or_reason(
    layer: GATConv,
    x: Tensor | tuple[Tensor, Tensor | None],
    edge_index: Tensor,
    edge_attr: Tensor | None = None,
    size: tuple[int, int] | None = None,
    return_attention_weights: bool | None = None,
) -> AdjacencyMask | str:
    """Who attends to whom before self-loops are added, or why torch_geometric's own code must serve the call."""
    if return_attention_weights:
        return "the attention weights are wanted"
    x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
    features = edge_attr if layer.lin_edge is not None else None
    reason = why_not_default(layer, _STEPS) or why_not_kernels(layer, (x_src, x_dst), features)
    if reason is not None:
        return reason
    if size is not None and None in size:
        return f"size is {size}, with a number left open"
    if x_dst is not None:
        num_targets = x_dst.shape[0]
    elif isinstance(edge_index, EdgeIndex):
        return "an EdgeIndex goes with no vectors of targets"
    else:
        num_targets = x_src.shape[0] if size is None else size[1]
    sizes = (x_src.shape[0], num_targets)
    if size is not None and tuple(size) != sizes:
        return f"size is {size}, and x has {sizes} nodes"
    if layer.flow == "target_to_source" and sizes[0] != sizes[1]:
        return f"flow is target_to_source between {sizes[0]} and {sizes[1]} nodes"
    mask = attention_mask(layer, edge_index, sizes, x_src.device, layer.add_self_loops)
    if isinstance(mask, str):
        return mask
    return why_not_edge_attr(layer, edge_attr, edge_index, mask.num_edges) or mask


def _attend(layer: GATConv, tables: tuple[Tensor, Tensor | None], mask: AdjacencyMask, edge_attr: Tensor | None) -> Tensor:
    """The heads' outputs, [targets, heads, channels], in the type that torch_geometric would give."""
    source, target = tables  # what x gives first and second, whatever the flow
    dtype = torch.promote_types(source.dtype, layer.att_src.dtype)
    # Scores would not bear rounding: they decide on which side of the leaky ReLU's kink they lie.
    compute = torch.promote_types(dtype, torch.float32)
    with no_autocast(source.device):
        value = source.to(compute)
        of_target, of_source = layer.att_dst.to(compute), layer.att_src.to(compute)
        if target is source:
            query, key = head_products(value, torch.cat([of_target, of_source]))
        else:
            (key,) = head_products(value, of_source)
            if target is None:
                query = key.new_zeros(mask.num_targets, layer.heads, 1)
            else:
                (query,) = head_products(target.to(compute), of_target)
        features = None
        if edge_attr is not None:
            # a_e · W_e e: one number a head, like those of the ends.
            weight = (edge_weight(layer) * layer.att_edge.squeeze(0).unsqueeze(-1)).sum(1, keepdim=True)
            features = EdgeFeatures(as_columns(edge_attr), key_weight=weight)
    score = Additive(value.new_ones(layer.heads, 1), "leaky_relu", layer.negative_slope)
    return attend(layer, query, key, value, mask, score, features).to(dtype)
