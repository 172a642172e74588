"""What we ask of torch beneath its public interface is still there, and still answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

from graphattn.ops.torch_private import (
    is_dispatch_mode_active,
    is_forward_mode_active,
    is_functorch_active,
    size_of_data,
)


def test_transforms_of_torch_func() -> None:
    seen: list[bool] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(is_functorch_active())
        return x.sum()

    watched(torch.ones(2))
    torch.func.grad(watched)(torch.ones(2))
    torch.vmap(watched)(torch.ones(2, 2))
    assert seen == [False, True, True]


def test_forward_mode() -> None:
    assert not is_forward_mode_active()
    with forward_ad.dual_level():
        assert is_forward_mode_active()
    assert not is_forward_mode_active()


def test_dispatch_modes() -> None:
    assert not is_dispatch_mode_active()
    with TorchDispatchMode():
        assert is_dispatch_mode_active()
    assert not is_dispatch_mode_active()


@torch.library.custom_op("graphattn_tests::positives", mutates_args=())
def positives(x: Tensor) -> Tensor:
    return x[x > 0]


@positives.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(size_of_data())


def test_a_size_that_only_the_data_tell() -> None:
    """Also where torch's own `new_dynamic_size` refuses, as in torch.compile without fullgraph."""
    for mode in (ShapeEnv(allow_dynamic_output_shape_ops=False), ShapeEnv()):
        with FakeTensorMode(shape_env=mode) as fake:
            size = positives(fake.from_tensor(torch.ones(3))).shape[0]
            assert isinstance(size, torch.SymInt)
    with FakeTensorMode() as fake, pytest.raises(DynamicOutputShapeException):
        positives(fake.from_tensor(torch.ones(3)))
