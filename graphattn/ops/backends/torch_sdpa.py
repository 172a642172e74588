"""Full attention by `torch.nn.functional.scaled_dot_product_attention`: never a pair across two graphs, never padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.ops.backends.base import Backend, Call
from graphattn.ops.mask import BlockDiagonalMask
from graphattn.ops.score import Dot

# Nodes from which on torch's kernel is the fastest one for a single graph.
LARGE = 512


class TorchSDPA(Backend):
    """torch's own kernel, for dot products under softmax inside graphs.

    Args:
        single_from: take only single graphs, of so many nodes or more; None takes every batch.
    """

    name = "torch"

    def __init__(self, single_from: int | None = None) -> None:
        self.single_from = single_from

    def why_not(self, call: Call) -> str | None:
        mask = call.mask
        if not isinstance(mask, BlockDiagonalMask) or mask.num_nodes == 0:
            return "torch's kernel is for full attention, on one node or more"
        if type(call.score) is not Dot or not call.normaliser.is_torch_sdpa:
            return "torch's kernel is for dot products under softmax"
        if call.dropout or call.return_attention:
            return "torch's kernel draws another dropout mask than ours, and returns no weights"
        if not _is_single(mask):
            # Block sizes are data, which a traced graph cannot loop over.
            return "there are several graphs" if self.single_from is not None or torch.compiler.is_compiling() else None
        return "the graph is small" if self.single_from is not None and mask.num_nodes < self.single_from else None

    def storage_type(self, dtype: torch.dtype) -> torch.dtype:
        return torch.promote_types(dtype, torch.float32)

    def run(self, call: Call) -> tuple[Tensor, Tensor | None]:
        query, key, value = call.tensors
        mask = call.mask
        assert isinstance(mask, BlockDiagonalMask)
        if _is_single(mask):
            return _on_blocks(query, key, value, mask.num_nodes, call.bias), None
        return _by_size(query, key, value, mask, call.bias), None


def _is_single(mask: BlockDiagonalMask) -> bool:
    return mask.ptr.shape[0] == 2 and mask.order is None


def _on_blocks(query: Tensor, key: Tensor, value: Tensor, size: int, bias: Tensor | None) -> Tensor:
    """torch's own kernel on blocks of one size, one after the other: a large graph never meets its whole score matrix."""
    q, k, v = (rows.unflatten(0, (-1, size)).transpose(1, 2) for rows in (query, key, value))
    block_bias = None if bias is None else bias.unflatten(0, (-1, size, size)).permute(0, 3, 1, 2)
    # With values of another width than keys torch would form the whole score matrix; zeros change neither scores nor sums.
    missing, scale = k.shape[-1] - v.shape[-1], k.shape[-1] ** -0.5
    if missing > 0:
        v = F.pad(v, (0, missing))
    elif missing < 0:
        q, k = F.pad(q, (0, -missing)), F.pad(k, (0, -missing))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=block_bias, scale=scale)
    return out[..., : value.shape[-1]].transpose(1, 2).flatten(0, 1)


def _by_size(query: Tensor, key: Tensor, value: Tensor, mask: BlockDiagonalMask, bias: Tensor | None) -> Tensor:
    """All graphs of one size at a time, so that nothing is padded."""
    sizes = mask.ptr.diff()
    first_pair = sizes.square().cumsum(0) - sizes.square()
    outputs, places = [], []
    for size in sizes[sizes > 0].unique().tolist():
        graphs = (sizes == size).nonzero()
        place = (mask.ptr[graphs] + torch.arange(size, device=sizes.device)).flatten()
        place = place if mask.order is None else mask.order[place]
        pair = (first_pair[graphs] + torch.arange(size * size, device=sizes.device)).flatten()
        q, k, v = (rows.index_select(0, place) for rows in (query, key, value))
        outputs.append(_on_blocks(q, k, v, size, None if bias is None else bias.index_select(0, pair)))
        places.append(place)
    return torch.cat(outputs).index_select(0, torch.cat(places).argsort())
