"""TransformerConv of torch_geometric on the fused kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing

from graphattn.nn.conv.message_passing import (
    attend,
    attention_mask,
    edge_weight,
    join_heads,
    own_steps,
    per_head,
    why_not_default,
    why_not_edge_attr,
    why_not_kernels,
)
from graphattn.nn.projection import project_plain
from graphattn.ops import AdjacencyMask, Dot, EdgeFeatures

_STEPS = own_steps(torch_geometric.nn.TransformerConv)


class TransformerConv(torch_geometric.nn.TransformerConv):
    r"""Graph attention with scaled dot products; torch_geometric's class with its arguments, parameters and numbers.

    .. math::
        o_i = W_s x_i + \sum_{j \in N(i)} \alpha_{ij} \, (W_v x_j + W_e e_{ij}), \qquad
        \alpha_{i\cdot} = \mathrm{softmax}_j \; \frac{W_q x_i \cdot (W_k x_j + W_e e_{ij})}{\sqrt{d}}

    The attention goes through the fused kernels: no tensor of edges × heads × channels is made, and the edges are sorted once
    for each `edge_index`. What the kernels do not serve runs torch_geometric's own code; `graphattn.why_not_fused` says why.

    Paper: Shi et al., "Masked label prediction: unified message passing model for semi-supervised classification" (2021).

    Args:
        in_channels, out_channels, heads and all options: as of torch_geometric.nn.TransformerConv.
    """

    # torch_geometric writes its template from this; the one it wrote for its own class would switch explain mode off.
    propagate = MessagePassing.propagate

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
            edge_attr: edge features, [edges, edge_dim].
            return_attention_weights: if True or False, also return (edge_index, weights [edges, heads]).

        Returns:
            [targets, heads · out_channels], or [targets, out_channels] where `concat` is off.
        """
        # Its inspector finds a class's source by the class's name, and in it the types that the fallback needs:
        # propagate_type: (query: Tensor, key: Tensor, value: Tensor, edge_attr: OptTensor)
        mask = mask_or_reason(self, x, edge_index, edge_attr, return_attention_weights)
        if isinstance(mask, str):
            return super().forward(x, edge_index, edge_attr, return_attention_weights)
        features = None
        if edge_attr is not None:
            weight = edge_weight(self)
            features = EdgeFeatures(edge_attr, key_weight=weight, value_weight=weight)
        out = join_heads(self, attend(self, *self._project(x, features is None), mask, Dot(), features))
        if not self.root_weight:
            return out
        skip = self.lin_skip(x if isinstance(x, Tensor) else x[1])
        if self.lin_beta is None:
            return out + skip
        beta = self.lin_beta(torch.cat([out, skip, out - skip], dim=-1)).sigmoid()
        return beta * skip + (1 - beta) * out

    def _project(self, x: Tensor | tuple[Tensor, Tensor], pack: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Queries, keys and values, [nodes, heads, channels]; or all three as one table [nodes, 3, heads, channels]."""
        if pack and isinstance(x, Tensor):
            together = project_plain(x, (self.lin_query, self.lin_key, self.lin_value))
            if together is not None:
                return together.view(-1, 3, self.heads, self.out_channels), None, None
        source, target = (x, x) if isinstance(x, Tensor) else (x[0], x[1])
        query, key, value = self.lin_query(target), self.lin_key(source), self.lin_value(source)
        return per_head(self, query), per_head(self, key), per_head(self, value)


def mask_or_reason(
    layer: TransformerConv,
    x: Tensor | tuple[Tensor, Tensor],
    edge_index: Tensor,
    edge_attr: Tensor | None = None,
    return_attention_weights: bool | None = None,
) -> AdjacencyMask | str:
    """Who attends to whom, or why torch_geometric's own code must serve the call."""
    if isinstance(return_attention_weights, bool):
        return "the attention weights are wanted"
    source, target = (x, x) if isinstance(x, Tensor) else (x[0], x[1])
    reason = why_not_default(layer, _STEPS) or why_not_kernels(layer, (source, target), edge_attr)
    if reason is not None:
        return reason
    if target is None:
        return "there are no vectors of targets"
    if (edge_attr is None) != (layer.lin_edge is None) or (edge_attr is not None and edge_attr.dim() != 2):
        return "edge_attr must be of shape [edges, edge_dim] where the layer has an edge_dim, and None where it has none"
    sizes = (source.shape[0], target.shape[0])
    mask = attention_mask(layer, edge_index, sizes if layer.flow == "source_to_target" else sizes[::-1], source.device)
    if isinstance(mask, str):
        return mask
    return why_not_edge_attr(layer, edge_attr, edge_index, mask.num_edges) or mask
