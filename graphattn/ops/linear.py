"""Linear maps of rows, cut by the data: the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphattn.ops.memory import empty

# The gradient of a map is a sum over all rows, which one matrix product would cut by the number of threads.
PIECE = 256
# Rows that are copied head by head at a time: enough that a call is nothing, few enough to stay in a core's cache.
_AT_ONCE = 16 * PIECE


def map_rows(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, c]. Shapes [rows, C], [heads, D, C] → [rows, heads, D]."""
    if _is_whole(x):
        return torch.einsum("nc,hdc->nhd", x, weight)
    mapped: Tensor = _MapRows.apply(x, weight.flatten(0, 1))
    return mapped.unflatten(1, weight.shape[:2])


def map_heads(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, h, c]. Shapes [rows, heads, C], [heads, D, C] → [rows, heads, D]."""
    if _is_whole(x):
        return torch.einsum("nhc,hdc->nhd", x, weight)
    if x.shape[0] <= PIECE:  # one piece, as it is
        return _map_at_once(x, weight)
    mapped: Tensor = _MapHeads.apply(x, weight)
    return mapped


def sum_of_head_products(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of `map_heads` for its weight, Σ_n gradient[n, h, d] x[n, h, c], [heads, D, C]."""
    if x.shape[0] <= PIECE or x.device.type != "cpu" or _is_batched(gradient):
        return gradient.permute(1, 2, 0) @ x.transpose(0, 1)
    products = [(_in_pieces(gradient[s]).transpose(2, 3) @ _in_pieces(x[s])).sum(0) for s in _some_pieces(x.shape[0])]
    return torch.stack(products).sum(0)


def _is_whole(x: Tensor) -> bool:
    """A traced graph cannot count pieces; there the compiler decides how it sums. Transforms see through torch's operators.

    A GPU has one way to sum, whatever the number of threads.
    """
    return (
        torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


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


class _MapHeads(torch.autograd.Function):
    """The map of heads, some pieces at a time: they are copied head by head, and all at once would be as large as x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        y = empty((*x.shape[:2], weight.shape[1]), x.dtype, x.device)
        for rows in _some_pieces(x.shape[0]):
            y[rows] = (_in_pieces(x[rows]) @ weight.transpose(1, 2)).transpose(1, 2).flatten(0, 1)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = None, None
        with torch.autocast(gradient.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                turned = weight.transpose(1, 2)
                of_x = _map_at_once(gradient, turned) if _is_batched(gradient) else _MapHeads.apply(gradient, turned)
            if ctx.needs_input_grad[1]:
                of_weight = sum_of_head_products(gradient, x)
        return of_x, of_weight


def _map_at_once(x: Tensor, weight: Tensor) -> Tensor:
    return (x.transpose(0, 1) @ weight.transpose(1, 2)).transpose(0, 1)


def _some_pieces(rows: int) -> list[slice]:
    """Slices of rows: whole pieces, some at a time, then what is left."""
    whole = rows // PIECE * PIECE
    slices = [slice(start, min(start + _AT_ONCE, whole)) for start in range(0, whole, _AT_ONCE)]
    return slices if whole == rows else [*slices, slice(whole, rows)]


def _in_pieces(x: Tensor) -> Tensor:
    """[rows, heads, C] → [pieces, heads, rows of a piece, C]; of whole pieces, or of fewer rows than one takes."""
    return x.unflatten(0, (-1, min(PIECE, x.shape[0]))).transpose(1, 2)


def _is_batched(gradient: Tensor) -> bool:
    """Whether it is several gradients that torch shows as one (is_grads_batched), without memory of its own."""
    try:
        gradient.data_ptr()
    except RuntimeError:
        return True
    return False
