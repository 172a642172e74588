"""Law 4: the same input and seed give bitwise the same output and gradients; the op for any number of threads."""

from __future__ import annotations

import pytest
import torch
from cases.compare import gradients, same_bits
from cases.forms import COVERING_CASES, OP_CASES
from cases.graphs import large_graphs
from cases.layer_grid import COVERING_LAYER_CASES, DROPIN_CASES, LAYER_CASES, types
from cases.layers import LayerCase, LayerInputs, layer_gradients
from cases.op import OpCase
from cases.settings import items_of
from helpers import machine, threads
from torch import Tensor

from graphattn.ops import BlockDiagonalMask

GRAPHS = large_graphs()


@pytest.mark.parametrize(
    ("case", "dropout"), [*((case, 0.0) for case in OP_CASES), *((case, 0.3) for case in COVERING_CASES)], ids=str
)
def test_op(case: OpCase, dropout: float) -> None:
    """In items so small that the rows of hubs are cut; in a type that law 3 has compiled the same kernels for."""
    tensors, mask = case.of(GRAPHS), GRAPHS.mask(case.mask)
    dtype = torch.float64 if dropout else types(case)[-1]
    tensors = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in tensors.items()}

    def run(number: int) -> list[Tensor]:
        with threads(number), case.kernels(), items_of(64):
            out = case(mask, tensors, dropout=dropout, seed=5)
            return [out.detach(), *gradients(out, list(tensors.values()))]

    first = run(1)
    # Torch's own gathers and sums, which the plain version is made of, are cut by the number of threads beyond some ten.
    for number in (1, 2, 16 if case.fused else 4):
        for name, once, again in zip(["out", *tensors], first, run(number), strict=True):
            assert torch.equal(once, again), f"{name} differs with {number} threads: {machine()}"


# A graph beyond some 500 nodes goes to torch's own scaled dot product, which adds the gradients of keys, values and bias in an
# order that depends on the number of threads. It is exempt from that half of the law; the other half, the same bits at one
# number of threads, holds.
@pytest.mark.parametrize("bias", [False, True])
def test_scaled_dot_product_of_a_large_graph(bias: bool) -> None:
    case = OpCase("block", "dot", "softmax", bias=bias, edge_attr=False)
    tensors = case.tensors(600 * 600, 600, 600, shape=(4, 8, 8))
    tensors = {name: tensor.detach().float().requires_grad_() for name, tensor in tensors.items()}
    mask = BlockDiagonalMask.single(600)

    def run() -> list[Tensor]:
        out = case(mask, tensors)
        return [out.detach(), *gradients(out, list(tensors.values()))]

    with threads(2):
        assert same_bits(run(), run())


@pytest.mark.parametrize("case", [*LAYER_CASES, *DROPIN_CASES], ids=str)
def test_layer(case: LayerCase) -> None:
    dtype = types(case)[-1]
    module, inputs = case.make(dtype), LayerInputs.draw(GRAPHS).to(dtype)
    assert same_bits(layer_gradients(case, module, inputs), layer_gradients(case, module, inputs))


@pytest.mark.parametrize("case", [*COVERING_LAYER_CASES, *DROPIN_CASES], ids=str)
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
