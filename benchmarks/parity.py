"""A case is timed only if all sides compute the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.families import Contender, Inputs
from benchmarks.graphs import GRAPHS, Graph

TOLERANCE, HALF_TOLERANCE = 1e-5, 1e-2
# At full size there is no float64 side. Where the leaky ReLU's argument is within rounding of zero, two float32 sides may take
# different slopes, which changes a few gradients wholly: there the norms of difference and value are compared.
NORM_TOLERANCE = 1e-4
SAMPLED = 1000  # targets of a check at full size where no other side fits


class ParityError(Exception):
    """Two sides of a case that must agree and do not."""


def draw_inputs(case: Case, graph: Graph, dtype: torch.dtype = torch.float32) -> Inputs:
    """The inputs that all sides share, on torch's default device."""
    torch.manual_seed(0)
    inputs = case.family.make_inputs(graph, case.heads, case.channels)
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in inputs.items()}


def check_against_float64(case: Case, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Ours against the baseline in float64, on the same inputs, output and every gradient, on the small graph.

    Returns:
        The largest error, max|a − b| / max|b| of one tensor.

    Raises:
        ParityError: where it is above the tolerance of `dtype`.
    """
    with torch.device(device):
        graph = GRAPHS[case.graph].small()
        inputs = draw_inputs(case, graph, dtype)
        ours = case.family.contenders["ours"](graph, case.heads, inputs)
        oracle = case.family.contenders[case.baseline](graph, case.heads, _exact(inputs))
    out_grad = random_like(oracle).to(dtype)
    errors = {}
    for (name, value), expected in zip(
        results(ours, out_grad).items(), results(oracle, out_grad.double()).values(), strict=True
    ):
        expected = _as_shaped(expected, value)
        errors[name] = float((value - expected).abs().max() / expected.abs().max())
    _refuse(errors, tolerance(dtype), f"ours and {case.baseline} in float64 differ")
    return max(errors.values())


def tolerance(dtype: torch.dtype) -> float:
    """How far ours may be from float64 where its inputs and outputs are stored in `dtype`."""
    return TOLERANCE if dtype in (torch.float32, torch.float64) else HALF_TOLERANCE


def check_on_a_sample(case: Case, graph: Graph, inputs: Inputs, ours: Contender) -> None:
    """Ours on a large graph against the baseline in float64 on the edges to some targets alone, a hub among them, by norm.

    The gradient to begin with is zero at all others, which then have no part in any gradient.

    Raises:
        ParityError: where ‖a − b‖ / ‖b‖ of a tensor is above the tolerance of the inputs' type.
    """
    target = graph.edge_index[1]
    device, dtype = target.device, next(iter(inputs.values())).dtype
    chosen = torch.zeros(graph.num_nodes, dtype=torch.bool, device=device)
    chosen[torch.randperm(graph.num_nodes, device=device)[:SAMPLED]] = True
    chosen[torch.bincount(target, minlength=graph.num_nodes).argmax()] = True
    alone = replace(graph, edge_index=graph.edge_index[:, chosen[target]])
    with torch.device(device):
        oracle = case.family.contenders[case.baseline](alone, case.heads, _exact(inputs))
    out_grad = random_like(ours)
    out_grad[~chosen] = 0
    found, expected = results(ours, out_grad), results(oracle, out_grad.double())
    found["output"], expected["output"] = found["output"][chosen], expected["output"][chosen]
    errors = {name: float((found[name] - value).norm() / value.norm()) for name, value in expected.items()}
    allowed = NORM_TOLERANCE if tolerance(dtype) == TOLERANCE else HALF_TOLERANCE
    _refuse(errors, allowed, f"ours and {case.baseline} in float64 differ on a sample of targets")


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
    return torch.randn(out.shape, generator=torch.Generator(out.device).manual_seed(1), device=out.device).to(out.dtype)


def results(contender: Contender, out_grad: Tensor) -> dict[str, Tensor]:
    """Output and gradients by name, sorted."""
    with torch.no_grad():
        out = contender.forward()
    return {"output": out, **dict(sorted(contender.gradients(out_grad).items()))}


def _exact(inputs: Inputs) -> Inputs:
    return {name: tensor.detach().double().requires_grad_() for name, tensor in inputs.items()}


def _as_shaped(value: Tensor, like: Tensor) -> Tensor:
    """A map that is held transposed, or a vector with another leading dimension, as the other side holds it."""
    return value.t() if value.dim() == 2 and value.shape == like.shape[::-1] != like.shape else value.reshape(like.shape)


def _refuse(errors: dict[str, float], tolerance: float, sentence: str) -> None:
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}  # a NaN is wrong, too
    if wrong:
        found = ", ".join(f"{name} by {error:.1e}" for name, error in wrong.items())
        raise ParityError(f"{sentence}: {found}; allowed is {tolerance:.0e}")
