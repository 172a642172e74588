"""Linear maps of rows, head by head: the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphattn.ops.cpu.products import row_products, row_sums, serves
from graphattn.ops.torch_private import is_forward_mode_active, is_functorch_active


def map_rows(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, c]. Shapes [rows, C], [heads, D, C] → [rows, heads, D]."""
    if _is_whole(x):
        return torch.einsum("nc,hdc->nhd", x, weight)
    mapped: Tensor = _Products.apply(x.unsqueeze(1), weight.flatten(0, 1).t().unsqueeze(0))
    return mapped.unflatten(2, weight.shape[:2]).squeeze(1)


def map_heads(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, h, d] = Σ_c weight[h, d, c] x[n, h, c]. Shapes [rows, heads, C], [heads, D, C] → [rows, heads, D]."""
    if _is_whole(x):
        return torch.einsum("nhc,hdc->nhd", x, weight)
    mapped: Tensor = _Products.apply(x, weight.transpose(1, 2))
    return mapped


def sum_of_head_products(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of `map_heads` for its weight, Σ_n gradient[n, h, d] x[n, h, c], [heads, D, C]."""
    if _is_whole(x) or _is_batched(gradient):
        return _sums(gradient, x)
    summed: Tensor = _Sums.apply(gradient, x)
    return summed


def _is_whole(x: Tensor) -> bool:
    """Whether torch's own product is taken: a traced graph and torch.func see through it, and a GPU has one way to sum."""
    return torch.compiler.is_compiling() or x.device.type != "cpu" or is_functorch_active() or is_forward_mode_active()


class _Products(torch.autograd.Function):
    """y[n, h] = Σ_c x[n, h, c] matrix[h, c]. Shapes [rows, heads, C], [heads, C, D] → [rows, heads, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, matrix)
        return row_products(x, matrix.unsqueeze(0)) if serves(x, matrix) else _products(x, matrix)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, matrix = ctx.saved_tensors
        of_x, of_matrix = None, None
        with torch.autocast(gradient.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                turned = matrix.transpose(1, 2)
                of_x = _products(gradient, turned) if _is_batched(gradient) else _Products.apply(gradient, turned)
            if ctx.needs_input_grad[1]:
                of_matrix = sum_of_head_products(gradient, x).transpose(1, 2)
        return of_x, of_matrix


class _Sums(torch.autograd.Function):
    """Σ_n x[n, h, c] y[n, h]. Shapes [rows, heads, C], [rows, heads, D] → [heads, C, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return row_sums(x, y)[0] if serves(x, y) else _sums(x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            of_x = map_heads(y, gradient) if ctx.needs_input_grad[0] else None
            of_y = map_heads(x, gradient.transpose(1, 2)) if ctx.needs_input_grad[1] else None
        return of_x, of_y


def _products(x: Tensor, matrix: Tensor) -> Tensor:
    """`_Products` by torch's own operators."""
    return (x.transpose(0, 1) @ matrix).transpose(0, 1)


def _sums(x: Tensor, y: Tensor) -> Tensor:
    """`_Sums` by torch's own operators."""
    return x.permute(1, 2, 0) @ y.transpose(0, 1)


def _is_batched(gradient: Tensor) -> bool:
    """Whether it is several gradients that torch shows as one (is_grads_batched), without memory of its own."""
    try:
        gradient.data_ptr()
    except RuntimeError:
        return True
    return False
