"""Law 4: the same input and seed give bitwise the same output and gradients; the op for any number of threads."""

from __future__ import annotations

import pytest
import torch
from law_cases import LAYER_CASES, OP_CASES, LayerCase, LayerInputs, OpCase, gradients, large_graphs, layer_gradients, same_bits, threads
from torch import Tensor

GRAPHS = large_graphs()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("case", OP_CASES, ids=str)
def test_op(case: OpCase, dropout: float) -> None:
    tensors, mask = case.of(GRAPHS, heads=4, channels=8), GRAPHS.mask(case.mask)
    tensors = {name: tensor.detach().float().requires_grad_() for name, tensor in tensors.items()}

    def run(number: int) -> list[Tensor]:
        with threads(number):
            out = case(mask, tensors, dropout=dropout, seed=5)
            return [out.detach(), *gradients(out, list(tensors.values()))]

    first = run(1)
    for number in (1, 2, 4):
        for name, once, again in zip(["out", *tensors], first, run(number), strict=True):
            assert torch.equal(once, again), f"{name} differs with {number} threads"


@pytest.mark.parametrize("case", LAYER_CASES, ids=str)
def test_layer(case: LayerCase) -> None:
    module, inputs = case.make(torch.float32), LayerInputs.draw(GRAPHS).to(torch.float32)
    assert same_bits(layer_gradients(case, module, inputs), layer_gradients(case, module, inputs))


@pytest.mark.parametrize("case", LAYER_CASES, ids=str)
def test_layer_in_training(case: LayerCase) -> None:
    module, inputs = case.make(torch.float32).train(), LayerInputs.draw(GRAPHS).to(torch.float32)
    for part in module.modules():
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.2
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.2
    runs = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            runs.append(layer_gradients(case, module, inputs))
    assert same_bits(*runs)
