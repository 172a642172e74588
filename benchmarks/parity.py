"""A case is timed only if all sides compute the same."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.families import Contender, Inputs
from benchmarks.graphs import GRAPHS, Graph

TOLERANCE = 1e-5
# At full size there is no float64 side. Where the leaky ReLU's argument is within rounding of zero, two float32 sides may take
# different slopes, which changes a few gradients wholly: there the norms of difference and value are compared.
NORM_TOLERANCE = 1e-4


class ParityError(Exception):
    """Two sides of a case that must agree and do not."""


def draw_inputs(case: Case, graph: Graph) -> Inputs:
    """The inputs that all sides share, float32."""
    torch.manual_seed(0)
    inputs = case.family.make_inputs(graph, case.heads, case.channels)
    return {name: tensor.requires_grad_() for name, tensor in inputs.items()}


def check_against_float64(case: Case) -> float:
    """Ours in float32 against the baseline in float64, on the same inputs, output and every gradient, on the small graph.

    Returns:
        The largest error, max|a − b| / max|b| of one tensor.

    Raises:
        ParityError: where it is above `TOLERANCE`.
    """
    graph = GRAPHS[case.graph].small()
    inputs = draw_inputs(case, graph)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in inputs.items()}
    ours = case.family.contenders["ours"](graph, case.heads, inputs)
    oracle = case.family.contenders[case.baseline](graph, case.heads, exact)
    out_grad = random_like(oracle)
    errors = {}
    for (name, value), expected in zip(
        results(ours, out_grad.float()).items(), results(oracle, out_grad).values(), strict=True
    ):
        expected = _as_shaped(expected, value)
        errors[name] = float((value - expected).abs().max() / expected.abs().max())
    _refuse(errors, TOLERANCE, f"ours and {case.baseline} in float64 differ")
    return max(errors.values())


def check_at_full_size(rival: str, contender: Contender, expected: dict[str, Tensor], out_grad: Tensor) -> None:
    """A rival against ours, both in float32, by norm.

    Raises:
        ParityError: where ‖a − b‖ / ‖b‖ of a tensor is above `NORM_TOLERANCE`.
    """
    actual = results(contender, out_grad)
    errors = {}
    for name, value in expected.items():
        errors[name] = float((_as_shaped(actual[name], value) - value).norm() / value.norm())
    _refuse(errors, NORM_TOLERANCE, f"{rival} and ours differ")


def random_like(contender: Contender) -> Tensor:
    """A gradient to begin a backward pass with, the same for all sides."""
    with torch.no_grad():
        out = contender.forward()
    return torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)


def results(contender: Contender, out_grad: Tensor) -> dict[str, Tensor]:
    """Output and gradients by name, sorted."""
    with torch.no_grad():
        out = contender.forward()
    return {"output": out, **dict(sorted(contender.gradients(out_grad).items()))}


def _as_shaped(value: Tensor, like: Tensor) -> Tensor:
    """A map that is held transposed, or a vector with another leading dimension, as the other side holds it."""
    return value.t() if value.dim() == 2 and value.shape == like.shape[::-1] != like.shape else value.reshape(like.shape)


def _refuse(errors: dict[str, float], tolerance: float, sentence: str) -> None:
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}  # a NaN is wrong, too
    if wrong:
        found = ", ".join(f"{name} by {error:.1e}" for name, error in wrong.items())
        raise ParityError(f"{sentence}: {found}; allowed is {tolerance:.0e}")
