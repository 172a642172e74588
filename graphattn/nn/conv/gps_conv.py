"""GPSConv of torch_geometric, with the global attention on each graph's own block."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch_geometric.nn.attention import PerformerAttention
from torch_geometric.utils import to_dense_batch

from graphattn.errors import InputError
from graphattn.nn.projection import has_hooks
from graphattn.ops import BlockDiagonalMask, Dot, attention, normaliser_of
from graphattn.ops.backends import Call, choose_as_torch, why_not_fused


class GPSConv(torch_geometric.nn.GPSConv):
    r"""The layer of general, powerful, scalable graph transformers: local message passing and global attention in parallel.

    .. math::
        h = \mathrm{norm}_1(x + \mathrm{conv}(x, E)) + \mathrm{norm}_2(x + \mathrm{attention}(x)), \qquad
        o = \mathrm{norm}_3(h + \mathrm{mlp}(h))

    torch_geometric's class with its arguments, parameters and numbers. There, multi-head attention pads all graphs of a batch
    to the largest; here every node attends to the nodes of its own graph, and nothing is padded. `attn_type="performer"` is
    torch_geometric's own, and so is the attention in the cases that `graphattn.why_not_fused` names. One difference: a `batch`
    that is not sorted gives the right answer, where torch_geometric mixes nodes of different graphs up, or raises an error.

    Paper: Rampášek et al., "Recipe for a general, powerful, scalable graph transformer" (2022).

    Shapes:
        x [nodes, channels], batch [nodes] → [nodes, channels].
    """

    def forward(self, x: Tensor, edge_index: Any, batch: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Runs the layer.

        Args:
            x: node vectors, [nodes, channels].
            edge_index: the edges, as `conv` takes them.
            batch: graph number of each node, [nodes], sorted or not; None for one graph.
            **kwargs: passed to `conv`.
        """
        local = None if self.conv is None else self._joined(self.norm1, self.conv(x, edge_index, **kwargs), x, batch)
        mask = mask_or_reason(self, x, edge_index, batch)
        attended = _padded(self.attn, x, batch) if isinstance(mask, str) else _on_blocks(self.attn, x, mask)
        out = self._joined(self.norm2, attended, x, batch)
        out = out if local is None else local + out
        return self._normed(self.norm3, out + self.mlp(out), batch)

    def _joined(self, norm: nn.Module | None, part: Tensor, x: Tensor, batch: Tensor | None) -> Tensor:
        """A part after dropout, skip connection and norm."""
        return self._normed(norm, F.dropout(part, self.dropout, self.training) + x, batch)

    def _normed(self, norm: nn.Module | None, x: Tensor, batch: Tensor | None) -> Tensor:
        if norm is None:
            return x
        return norm(x, batch=batch) if self.norm_with_batch else norm(x)


def mask_or_reason(
    layer: torch_geometric.nn.GPSConv, x: Tensor, edge_index: Any, batch: Tensor | None = None, **kwargs: Any
) -> BlockDiagonalMask | str:
    """The blocks of the batch, or why the global attention cannot be computed on them; arguments as of `forward`."""
    attn = layer.attn
    if not _is_as_made(attn, nn.MultiheadAttention) or not _is_as_made(attn.out_proj, NonDynamicallyQuantizableLinear):
        return f"the global attention, {type(attn).__name__}, is not torch's MultiheadAttention as it was made"
    if attn.in_proj_weight is None or attn.bias_k is not None or attn.add_zero_attn or not attn.batch_first:
        return "the MultiheadAttention has kdim, vdim, add_bias_kv or add_zero_attn, or not batch_first"
    if not torch.compiler.is_compiling() and not all(
        type(weight) in (nn.Parameter, Tensor) for weight in (attn.in_proj_weight, attn.out_proj.weight)
    ):
        return "the weights of the MultiheadAttention are no plain tensors"
    if attn.training and not 0.0 <= attn.dropout < 1.0:
        return f"dropout of the MultiheadAttention is {attn.dropout}"
    if x.dim() != 2 or x.shape[0] == 0 or x.shape[1] != attn.embed_dim or not x.is_floating_point():
        return f"x must be floats of shape [nodes, {attn.embed_dim}] with one node at least, got {x.dtype} {list(x.shape)}"
    if x.dtype != attn.in_proj_weight.dtype and not torch.is_autocast_enabled(x.device.type):
        return f"x is {x.dtype}, and the MultiheadAttention {attn.in_proj_weight.dtype}"
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        return "torch.jit.trace is at work"
    rows = x.new_empty(1, attn.num_heads, attn.head_dim)
    if reason := why_not_fused(rows, rows):
        return reason
    if batch is None:
        return BlockDiagonalMask.single(x.shape[0], x.device)
    try:
        mask = BlockDiagonalMask.from_batch(batch)
    except InputError as error:
        return str(error)
    return mask if mask.num_nodes == x.shape[0] else f"batch has {mask.num_nodes} nodes, and x has {x.shape[0]}"


def _is_as_made(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module was not replaced, adapted, parametrised or hooked."""
    return type(module) is kind and not has_hooks(module) and "forward" not in module.__dict__


def _on_blocks(attn: nn.MultiheadAttention, x: Tensor, mask: BlockDiagonalMask) -> Tensor:
    packed = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).unflatten(-1, (3, attn.num_heads, -1))
    dropout = attn.dropout if attn.training else 0.0
    call = Call(packed, None, None, mask, Dot(), normaliser_of("softmax"), dropout=dropout)
    if choose_as_torch(call).name == "torch":
        # It takes [1, heads, nodes, channels], and under autocast half precision, as torch_geometric gives it.
        query, key, value = packed.permute(1, 2, 0, 3).unsqueeze(1).unbind(0)
        out = F.scaled_dot_product_attention(query, key, value).squeeze(0).transpose(0, 1)
    else:
        result = attention(packed, None, None, mask, dropout=dropout)
        assert isinstance(result, Tensor)
        out = result
    return F.linear(out.flatten(1), attn.out_proj.weight, attn.out_proj.bias)


def _padded(attn: nn.Module, x: Tensor, batch: Tensor | None) -> Tensor:
    """The attention as torch_geometric computes it, but of nodes that were sorted by graph, as its padding needs them."""
    order = None
    if batch is not None and batch.shape == x.shape[:1]:  # another shape is for `to_dense_batch` to refuse
        order = batch.argsort(stable=True)
        x, batch = x[order], batch[order]
    dense, present = to_dense_batch(x, batch)
    if isinstance(attn, nn.MultiheadAttention):
        dense, _ = attn(dense, dense, dense, key_padding_mask=~present, need_weights=False)
    elif isinstance(attn, PerformerAttention):
        dense = attn(dense, mask=present)
    out = dense[present]
    return out if order is None else torch.empty_like(out).index_copy(0, order, out)
