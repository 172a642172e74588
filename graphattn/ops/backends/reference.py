"""The plain formula, which serves every call."""

from __future__ import annotations

import torch
from torch import Tensor

from graphattn.errors import InputError
from graphattn.ops.backends.base import Backend, Call
from graphattn.ops.mask import AdjacencyMask, BlockDiagonalMask
from graphattn.ops.memory import total_memory
from graphattn.ops.reference import attention_reference


class Reference(Backend):
    """`graphattn.ops.reference`, in float32 at least. It forms tensors of the size of edges × heads × channels."""

    name = "reference"

    def why_not(self, call: Call) -> str | None:
        return None

    def storage_type(self, dtype: torch.dtype) -> torch.dtype:
        return torch.promote_types(dtype, torch.float32)

    def run(self, call: Call) -> tuple[Tensor, Tensor | None]:
        query, key, value = call.tensors
        mask = call.mask
        if isinstance(mask, BlockDiagonalMask):
            _refuse_too_large(query, value, mask)
            mask = mask.pairs()
        assert isinstance(mask, AdjacencyMask)
        return attention_reference(
            query, key, value, mask, call.score, call.normaliser.name, call.bias, call.edge_attr, call.dropout, call.seed
        )


def _refuse_too_large(query: Tensor, value: Tensor, mask: BlockDiagonalMask) -> None:
    """Full attention is formed pair by pair here; a graph too large for that is refused."""
    if torch.compiler.is_compiling():
        return
    heads, channels = query.shape[1], query.shape[2] + value.shape[2]
    # Gathered queries, keys and values, their products, the scores and weights, and the pairs themselves.
    needed = mask.num_pairs * (heads * (2 * channels + 4) * query.element_size() + 40)
    memory = total_memory(query.device)
    if needed > memory // 2:
        raise InputError(
            f"full attention over {mask.num_pairs:,} pairs of nodes would take about {needed:,} bytes, more than half of the "
            f"{memory:,} here; use score='dot' with normaliser='softmax' and without dropout or returned weights (which "
            "needs no such table), or adjacency-masked attention"
        )
