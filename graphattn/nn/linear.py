from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphattn.errors import InputError
from graphattn.ops.layout import group_edges
from graphattn.ops.torch_private import is_forward_mode_active


class SparseLinear(nn.Module):
    """A linear map, y = x W + b, for dense inputs and for sparse ones that stay sparse (multi-hot, bag of words).

    A row of a sparse input sums the rows of W that its stored entries name (`embedding_bag`): the cost is the number of
    entries, not nodes × features.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.

    Shapes:
        x [nodes, in_channels], dense or `torch.sparse_csr`, → [nodes, out_channels].

    Raises:
        InputError: where the input's width is another.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises the weights: uniform in ±1/√in_channels, as torch.nn.Linear does."""
        bound = 1 / math.sqrt(self.in_channels) if self.in_channels else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or x.shape[1] != self.in_channels:
            raise InputError(f"x must have shape [nodes, {self.in_channels}], got {list(x.shape)}")
        if x.layout != torch.sparse_csr:
            return F.linear(x, self.weight.t(), self.bias)
        column, row = x.col_indices(), x.crow_indices()
        values = x.values().to(self.weight.dtype)
        if self.weight.device.type == "cpu" and not (values.requires_grad or is_forward_mode_active()):
            out: Tensor = _BagSum.apply(self.weight, column, row, values)
        else:
            out = _bag_sum(self.weight, column, row, values)
        out = out + self.bias
        device = out.device.type
        return out.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else out

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"


def _bag_sum(weight: Tensor, column: Tensor, pointers: Tensor, values: Tensor) -> Tensor:
    """The product of a sparse matrix and a dense one: Σ values[e] · weight[column[e]] over the entries e of each row."""
    return F.embedding_bag(column, weight, pointers, mode="sum", per_sample_weights=values, include_last_offset=True)


class _BagSum(torch.autograd.Function):
    """`_bag_sum` whose gradient is the same sum over the transposed matrix, row by row of the weight.

    On a CPU torch's own sorts the entries and adds them one by one, which takes as long as the dense product would.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, column: Tensor, pointers: Tensor, values: Tensor) -> Tensor:
        ctx.num_columns = weight.shape[0]
        ctx.save_for_backward(column, pointers, values)
        return _bag_sum(weight, column, pointers, values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        column, pointers, values = ctx.saved_tensors
        rows = torch.arange(gradient.shape[0]).repeat_interleave(pointers.diff(), output_size=column.shape[0])
        entries = group_edges(column.long(), rows, ctx.num_columns, gradient.shape[0], "cpu")
        return _bag_sum(gradient.contiguous(), entries.neighbours, entries.pointers, values[entries.edges]), None, None, None
