"""GATv2Conv of torch_geometric on the fused kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing

from graphattn.nn.conv.message_passing import (
    as_columns,
    attend,
    attention_mask,
    edge_weight,
    join_heads,
    own_steps,
    per_head,
    why_not_default,
    why_not_edge_attr,
    why_not_kernels,
    with_self_loops,
)
from graphattn.nn.projection import project_plain
from graphattn.ops import Additive, AdjacencyMask, EdgeFeatures

_STEPS = own_steps(torch_geometric.nn.GATv2Conv)


class GATv2Conv(torch_geometric.nn.GATv2Conv):
    r"""Graph attention with a dynamic score; torch_geometric's class with its arguments, parameters and numbers.

    .. math::
        o_i = \sum_{j \in N(i)} \alpha_{ij} \, W_l x_j, \qquad
        \alpha_{i\cdot} = \mathrm{softmax}_j \; a \cdot \mathrm{LeakyReLU}(W_r x_i + W_l x_j + W_e e_{ij})

    The attention goes through the fused kernels: no tensor of edges × heads × channels is made, and the edges are sorted, and
    given their self-loops, once for each `edge_index`. What the kernels do not serve runs torch_geometric's own code;
    `graphattn.why_not_fused` says why.

    Paper: Brody et al., "How attentive are graph attention networks?" (2022).

    Args:
        in_channels, out_channels, heads and all options: as of torch_geometric.nn.GATv2Conv.
    """

    # torch_geometric writes its templates from these; those it wrote for its own class would switch explain mode off.
    propagate = MessagePassing.propagate
    edge_updater = MessagePassing.edge_updater

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Runs the layer.

        Args:
            x: node vectors, [nodes, in_channels]; or those of sources and of targets, [sources, in_channels[0]] and
                [targets, in_channels[1]].
            edge_index: [2, edges], a torch_geometric `EdgeIndex`, or a sparse COO or CSR matrix [targets, sources].
            edge_attr: edge features, [edges, edge_dim], or [edges] where edge_dim is 1.
            return_attention_weights: if True, also return (edges with their self-loops, weights [edges, heads]).

        Returns:
            [targets, heads · out_channels], or [targets, out_channels] where `concat` is off.
        """
        # Its inspector finds a class's source by the class's name, and in it the types that the fallback needs:
        # edge_updater_type: (x: PairTensor, edge_attr: OptTensor)
        # propagate_type: (x: PairTensor, alpha: Tensor)
        mask = mask_or_reason(self, x, edge_index, edge_attr, return_attention_weights)
        if isinstance(mask, str):
            return super().forward(x, edge_index, edge_attr, return_attention_weights)
        residual = None if self.res is None else self.res(x if isinstance(x, Tensor) else x[1])
        tables = self._project(x)
        if self.add_self_loops:
            mask, edge_attr = with_self_loops(self, mask, edge_attr)
        out = join_heads(self, _attend(self, tables, mask, edge_attr))
        if residual is not None:
            out = out + residual
        return out if self.bias is None else out + self.bias

    def _project(self, x: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """W_l x of sources and W_r x of targets, [nodes, heads, channels]."""
        if not isinstance(x, Tensor):
            return per_head(self, self.lin_l(x[0])), per_head(self, self.lin_r(x[1]))
        if self.share_weights:
            table = per_head(self, self.lin_l(x))
            return table, table
        together = project_plain(x, (self.lin_l, self.lin_r))
        if together is None:
            return per_head(self, self.lin_l(x)), per_head(self, self.lin_r(x))
        left, right = together.view(-1, 2, self.heads, self.out_channels).unbind(1)
        return left, right


def mask_or_reason(
    layer: GATv2Conv,
    x: Tensor | tuple[Tensor, Tensor],
    edge_index: Tensor,
    edge_attr: Tensor | None = None,
    return_attention_weights: bool | None = None,
) -> AdjacencyMask | str:
    """Who attends to whom before self-loops are added, or why torch_geometric's own code must serve the call."""
    if return_attention_weights:
        return "the attention weights are wanted"
    left, right = (x, x) if isinstance(x, Tensor) else (x[0], x[1])
    reason = why_not_default(layer, _STEPS) or why_not_kernels(layer, (left, right), edge_attr)
    if reason is not None:
        return reason
    if right is None:
        return "there are no vectors of targets"
    if edge_attr is not None and layer.lin_edge is None:
        return "edge_attr is given, and the layer has no edge_dim"
    sizes = (left.shape[0], right.shape[0])
    if layer.flow == "target_to_source" and sizes[0] != sizes[1]:
        return f"flow is target_to_source between {sizes[0]} and {sizes[1]} nodes"
    mask = attention_mask(layer, edge_index, sizes, left.device, layer.add_self_loops)
    if isinstance(mask, str):
        return mask
    return why_not_edge_attr(layer, edge_attr, edge_index, mask.num_edges) or mask


def _attend(layer: GATv2Conv, tables: tuple[Tensor, Tensor], mask: AdjacencyMask, edge_attr: Tensor | None) -> Tensor:
    """The heads' outputs, [targets, heads, channels], in the type that torch_geometric would give."""
    dtype = torch.promote_types(tables[0].dtype, layer.att.dtype)
    source, target = tables  # what x gives first and second, whatever the flow
    features = None if edge_attr is None else EdgeFeatures(as_columns(edge_attr), key_weight=edge_weight(layer))
    score = Additive(layer.att.squeeze(0).to(torch.promote_types(dtype, torch.float32)), "leaky_relu", layer.negative_slope)
    return attend(layer, target.to(dtype), source.to(dtype), None, mask, score, features)
