"""Kernels get their arguments by name, in any order."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from graphattn.ops.triton.start import start, with_stride


@triton.jit
def subtract(x, y, out, out_stride, SIZE: tl.constexpr):
    place = tl.arange(0, SIZE)
    tl.store(out + place * out_stride, tl.load(x + place) - tl.load(y + place))


def test_by_name() -> None:
    x, y, out = torch.arange(4.0), torch.ones(4), torch.zeros(4, 2)
    start(subtract, (1,), {"SIZE": 4, "y": y, "unread": None, "x": x} | with_stride("out", out), num_warps=1)
    assert out.tolist() == [[-1, 0], [0, 0], [1, 0], [2, 0]]


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(TypeError, match=r"^subtract takes y, out_stride, which its launch does not give$"):
        start(subtract, (1,), {"x": None, "out": None, "SIZE": 4})


def test_no_tensor_has_no_stride() -> None:
    assert with_stride("of_value", None) == {"of_value": None, "of_value_stride": 0}
