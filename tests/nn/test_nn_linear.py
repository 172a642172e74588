from __future__ import annotations

import torch
from torch import Tensor

from graphattn.nn import SparseLinear


def sparse(dense: list[list[float]]) -> Tensor:
    return torch.tensor(dense, dtype=torch.float64).to_sparse_csr()


def test_gradient_worked_out_by_hand() -> None:
    """∂L/∂W = xᵀ g: column 0 meets rows 0 and 2, column 1 meets none, column 2 meets row 0 with 3."""
    linear = SparseLinear(3, 2).double()
    linear(sparse([[1, 0, 3], [0, 0, 0], [2, 0, 0]])).backward(torch.tensor([[1.0, 10.0], [7.0, 7.0], [5.0, 50.0]]).double())
    assert linear.weight.grad is not None
    assert linear.weight.grad.tolist() == [[11.0, 110.0], [0.0, 0.0], [3.0, 30.0]]
    assert linear.bias.grad is not None
    assert linear.bias.grad.tolist() == [13.0, 67.0]


def test_gradients_of_gradients() -> None:
    linear, x = SparseLinear(4, 2).double(), sparse([[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 1, 0]])

    def call(weight: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(linear, {"weight": weight}, (x,))
        return out

    assert torch.autograd.gradcheck(call, (linear.weight,))
    assert torch.autograd.gradgradcheck(call, (linear.weight,))


def test_no_rows_and_no_entries() -> None:
    for rows in ([], [[0.0, 0.0, 0.0]]):
        linear = SparseLinear(3, 2).double()
        x = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3).to_sparse_csr()
        linear(x).sum().backward()
        assert linear.weight.grad is not None
        assert torch.equal(linear.weight.grad, torch.zeros(3, 2).double())
