"""The drop-in layers on a GPU against torch_geometric's on the same GPU: outputs and all gradients, with shared weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn
from conv_cases import OPTIONS, Case, assert_same, draw, edge_feature_cases, option_cases, outcome
from torch import nn

from graphattn.nn import conv

# Said by torch_geometric where a package of its own would be faster.
pytestmark = [pytest.mark.filterwarnings("ignore:The usage of `scatter:UserWarning"), pytest.mark.usefixtures("through_triton")]
CASES = [case for case in (*option_cases(), *edge_feature_cases()) if case.fused]
DTYPES = [torch.float32, torch.float64]


def places(cases: list[Case], interpreted: list[Case]) -> list[Any]:
    on_gpu = [pytest.param(case, "cuda", marks=pytest.mark.cuda, id=f"cuda-{case}") for case in cases]
    return on_gpu + [pytest.param(case, "cpu", id=f"interpreter-{case}") for case in interpreted]


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize(("case", "device"), places(CASES, OPTIONS))
def test_numbers(case: Case, device: str, dtype: torch.dtype) -> None:
    theirs, ours = (case.make(module, dtype).to(device) for module in (torch_geometric.nn, conv))
    ours.load_state_dict(theirs.state_dict())
    assert_same(outcome(ours, case, dtype, device), outcome(theirs, case, dtype, device), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("local", ["none", "TransformerConv", "GATConv"])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.cuda), pytest.param("cpu", id="interpreter")])
def test_gps(device: str, local: str, dtype: torch.dtype) -> None:
    width, sizes = 8, (5, 1, 9, 3)
    batch = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    atom = torch.arange(sum(sizes) - 1)
    bonds = torch.stack([atom, atom + 1])[:, batch[:-1] == batch[1:]]
    edge_index = torch.cat([bonds, bonds.flip(0)], 1)
    layers = []
    for module in (torch_geometric.nn, conv):
        torch.manual_seed(0)
        inner: nn.Module | None = None if local == "none" else getattr(module, local)(width, width // 2, heads=2)
        layers.append(module.GPSConv(width, inner, heads=2, norm="layer_norm").to(device, dtype))
    theirs, ours = layers
    ours.load_state_dict(theirs.state_dict())
    case = Case("GPSConv", local, (draw(sum(sizes), width), edge_index, batch))
    assert_same(outcome(ours, case, dtype, device), outcome(theirs, case, dtype, device), dtype)
