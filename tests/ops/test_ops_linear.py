"""Linear maps of rows: one formula, whether the rows are fewer than a chunk, whole chunks, or chunks and some more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import machine, threads
from torch import Tensor
from torch.autograd import gradgradcheck

from graphattn.ops.cpu.products import _ROWS as CHUNK
from graphattn.ops.cpu.products import _SUMMED_ROWS
from graphattn.ops.linear import map_heads, map_rows, sum_of_head_products

Map = Callable[[Tensor, Tensor], Tensor]
ROWS = (0, 1, 5, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * _SUMMED_ROWS + CHUNK + 7)


def draw(maps: Map, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and the direction of a gradient, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, 3) if maps is map_rows else (rows, 2, 3), (2, 4, 3), (rows, 2, 4))
    x, weight, direction = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return x.requires_grad_(), weight.requires_grad_(), direction


def formula(maps: Map, x: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("nc,hdc->nhd" if maps is map_rows else "nhc,hdc->nhd", x, weight)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("maps", [map_rows, map_heads])
def test_as_the_formula(maps: Map, rows: int) -> None:
    x, weight, direction = draw(maps, rows)
    mapped, expected = maps(x, weight), formula(maps, x, weight)
    torch.testing.assert_close(mapped, expected)
    found = torch.autograd.grad(mapped, (x, weight), direction)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (x, weight), direction))


@pytest.mark.parametrize("shape", [(5, 1, 3, 4), (40, 8, 40, 5), (CHUNK + 7, 1, 32, 33), (3001, 1, 300, 17)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_same_bits_for_any_number_of_threads(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Sizes at which torch's own products have other bits for other numbers of threads, on one processor or another."""
    rows, heads, channels, width = shape
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=dtype).requires_grad_()

    x, weight, shared, direction = (
        *(draw(rows, heads, channels), draw(heads, width, channels)),
        *(draw(rows, channels), draw(rows, heads, width).detach()),
    )
    runs = []
    for number in (1, 2, 3, 4, 16):
        with threads(number):
            outputs = map_heads(x, weight), map_rows(shared, weight)
            found = [
                torch.autograd.grad(out, given, direction)
                for out, given in zip(outputs, ((x, weight), (shared, weight)), strict=True)
            ]
            runs.append([*outputs, *found[0], *found[1], sum_of_head_products(direction, x)])
    for number, other in enumerate(runs[1:]):
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True)), (number, machine())


def test_half_precision_goes_through_torch() -> None:
    x, weight, direction = (tensor.detach().bfloat16().requires_grad_() for tensor in draw(map_heads, CHUNK + 1))
    mapped = map_heads(x, weight)
    assert mapped.dtype == torch.bfloat16
    for found, expected in zip(
        torch.autograd.grad(mapped, (x, weight), direction),
        torch.autograd.grad(formula(map_heads, x, weight), (x, weight), direction),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rows", [20, CHUNK + 20])
@pytest.mark.parametrize("maps", [map_rows, map_heads])
def test_gradients_of_gradients(maps: Map, rows: int) -> None:
    x, weight, _ = draw(maps, rows)
    assert gradgradcheck(lambda weight: maps(x.detach(), weight).tanh(), weight)
    assert gradgradcheck(
        lambda few: maps(torch.cat([few, x[2:].detach()]), weight.detach()).tanh(), x[:2].detach().requires_grad_()
    )


@pytest.mark.parametrize("rows", [20, 3 * CHUNK + 20])
@pytest.mark.parametrize("maps", [map_rows, map_heads])
def test_several_gradients_at_once(maps: Map, rows: int) -> None:
    """`is_grads_batched`, by which torch makes Jacobians."""
    x, weight, direction = draw(maps, rows)
    mapped, directions = maps(x, weight), torch.stack([direction, -2 * direction])
    found = torch.autograd.grad(mapped, (x, weight), directions, is_grads_batched=True, retain_graph=True)
    for k, one in enumerate(directions):
        expected = torch.autograd.grad(mapped, (x, weight), one, retain_graph=True)
        for together, alone in zip(found, expected, strict=True):
            torch.testing.assert_close(together[k], alone)


@pytest.mark.parametrize("maps", [map_rows, map_heads])
def test_under_transforms(maps: Map) -> None:
    x, weight, direction = draw(maps, CHUNK + 5)
    _, found = torch.func.jvp(lambda x: maps(x, weight.detach()), (x.detach(),), (x.detach(),))
    torch.testing.assert_close(found, formula(maps, x, weight).detach())
    of_weight = torch.func.grad(lambda weight: (maps(x.detach(), weight) * direction).sum())(weight.detach())
    torch.testing.assert_close(of_weight, torch.autograd.grad(formula(maps, x, weight), weight, direction)[0])
