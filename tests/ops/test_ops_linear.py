"""Linear maps of rows: one formula, whether the rows are fewer than a piece, whole pieces, or pieces and some more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradgradcheck

from graphattn.ops.linear import _AT_ONCE, PIECE, map_heads, map_rows

Map = Callable[[Tensor, Tensor], Tensor]
ROWS = (0, 1, PIECE, PIECE + 1, 3 * PIECE, _AT_ONCE + PIECE + 7)


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


@pytest.mark.parametrize("rows", [20, PIECE + 20])
@pytest.mark.parametrize("maps", [map_rows, map_heads])
def test_gradients_of_gradients(maps: Map, rows: int) -> None:
    x, weight, _ = draw(maps, rows)
    assert gradgradcheck(lambda weight: maps(x.detach(), weight).tanh(), weight)
    assert gradgradcheck(
        lambda few: maps(torch.cat([few, x[2:].detach()]), weight.detach()).tanh(), x[:2].detach().requires_grad_()
    )


@pytest.mark.parametrize("rows", [20, 3 * PIECE + 20])
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
    x, weight, direction = draw(maps, PIECE + 5)
    _, found = torch.func.jvp(lambda x: maps(x, weight.detach()), (x.detach(),), (x.detach(),))
    torch.testing.assert_close(found, formula(maps, x, weight).detach())
    of_weight = torch.func.grad(lambda weight: (maps(x.detach(), weight) * direction).sum())(weight.detach())
    torch.testing.assert_close(of_weight, torch.autograd.grad(formula(maps, x, weight), weight, direction)[0])
