"""Linear maps of rows, cut by the data: the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphattn.ops.cpu.memory import empty

# The gradient of a map is a sum over all rows, which one matrix product would cut by the number of threads.
PIECE = 256


def map_rows(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, c]. Shapes [rows, C], [heads, D, C] → [rows, heads, D]."""
    # A traced graph cannot count pieces; there the compiler decides how it sums. Transforms see through torch's own operators.
    transformed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if transformed or torch.autograd.forward_ad._current_level >= 0:
        return torch.einsum("nc,hdc->nhd", x, weight)
    mapped: Tensor = _MapRows.apply(x, weight.flatten(0, 1))
    return mapped.unflatten(1, weight.shape[:2])


def map_heads(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, h, c]. Shapes [rows, heads, C], [heads, D, C] → [rows, heads, D]."""
    if torch.compiler.is_compiling():
        return torch.einsum("nhc,hdc->nhd", x, weight)
    if x.shape[0] <= PIECE:  # one piece, as it is
        return torch.bmm(x.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)
    pieces = F.pad(x, (0, 0, 0, 0, 0, -x.shape[0] % PIECE)).unflatten(0, (-1, PIECE)).transpose(1, 2)
    mapped = torch.matmul(pieces, weight.transpose(1, 2).expand(pieces.shape[0], -1, -1, -1))
    return mapped.transpose(1, 2).flatten(0, 1)[: x.shape[0]]


class _MapRows(torch.autograd.Function):
    """y = x · weightᵀ for [rows, C] and [K, C], without the copy of x that padding it to whole pieces would take."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        y = empty((x.shape[0], weight.shape[0]), x.dtype, x.device)
        whole = x.shape[0] // PIECE * PIECE
        if whole:
            pieces = x[:whole].unflatten(0, (-1, PIECE))
            columns = weight.t().expand(pieces.shape[0], -1, -1)
            torch.bmm(pieces, columns, out=y[:whole].unflatten(0, (-1, PIECE)))
        torch.mm(x[whole:], weight.t(), out=y[whole:])
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = None, None
        with torch.autocast(gradient.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                of_x = gradient @ weight if _is_batched(gradient) else _MapRows.apply(gradient, weight.t())
            if ctx.needs_input_grad[1]:
                of_weight = gradient.t() @ x if _is_batched(gradient) else _sum_of_pieces(gradient, x)
        return of_x, of_weight


def _sum_of_pieces(gradient: Tensor, x: Tensor) -> Tensor:
    """gradientᵀ · x, piece by piece of the rows."""
    whole = x.shape[0] // PIECE * PIECE
    rest = gradient[whole:].t() @ x[whole:]
    if not whole:
        return rest
    of_pieces, pieces = (rows[:whole].unflatten(0, (-1, PIECE)) for rows in (gradient, x))
    return rest + torch.bmm(of_pieces.transpose(1, 2), pieces).sum(0)


def _is_batched(gradient: Tensor) -> bool:
    """Whether it is several gradients that torch shows as one (is_grads_batched), without memory of its own."""
    try:
        gradient.data_ptr()
    except RuntimeError:
        return True
    return False
