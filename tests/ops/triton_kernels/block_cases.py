"""What the tests of full attention by matrix products share: batches of graphs, and the answer of the plain version."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphattn.ops import BlockDiagonalMask, attention
from graphattn.ops.reference import attention_reference
from graphattn.ops.score import Dot

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}

Tensors = dict[str, Tensor]


def blocks(sizes: list[int], in_order: bool = True) -> BlockDiagonalMask:
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if not in_order:
        batch = batch[torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))]
    return BlockDiagonalMask.from_batch(batch, len(sizes))


def draw(
    mask: BlockDiagonalMask, shape: tuple[int, int, int], dtype: torch.dtype = torch.float32, bias: bool = True
) -> Tensors:
    """Standard normal; `shape` is heads, channels, value channels."""
    heads, channels, value_channels = shape
    shapes = {"query": (mask.num_nodes, heads, channels), "key": (mask.num_nodes, heads, channels)}
    shapes |= {"value": (mask.num_nodes, heads, value_channels)}
    shapes |= {"bias": (mask.num_pairs, heads)} if bias else {}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(size, generator=generator).to(dtype) for name, size in shapes.items()}


def step(tensors: Tensors, mask: BlockDiagonalMask, reference: bool = False, **options: Any) -> Tensors:
    """The output, as "out", and the gradients of all tensors, by name, of a fixed random projection of it.

    Without "value" the values are the keys, and "qkv" is a packed table. The plain version runs in float64.
    """
    leaves = {name: (tensor.double() if reference else tensor.detach()).requires_grad_() for name, tensor in tensors.items()}
    if "qkv" in leaves:
        tables: tuple[Tensor, Tensor | None, Tensor | None] = leaves["qkv"], None, None
    else:
        tables = leaves["query"], leaves["key"], leaves.get("value", leaves["key"])
    if reference:
        q, k, v = leaves["qkv"].unbind(1) if "qkv" in leaves else tables
        normaliser, dropout = options.get("normaliser", "softmax"), options.get("dropout", 0.0)
        seed = torch.tensor(options["seed"]) if dropout else None
        assert k is not None
        assert v is not None
        out, _ = attention_reference(q, k, v, mask.pairs(), Dot(), normaliser, leaves.get("bias"), None, dropout, seed)
    else:
        made = attention(*tables, mask, bias=leaves.get("bias"), **options)
        assert isinstance(made, Tensor)
        out = made
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(out.dtype)
    return {"out": out.detach(), **dict(zip(leaves, torch.autograd.grad(out, list(leaves.values()), direction), strict=True))}


def assert_parity(tensors: Tensors, mask: BlockDiagonalMask, **options: Any) -> None:
    """The kernels equal the plain version in float64 on the same rounded inputs, as law 3 says it."""
    actual, expected = step(tensors, mask, **options), step(tensors, mask, reference=True, **options)
    for name, wanted in expected.items():
        assert actual[name].dtype == tensors[next(iter(tensors))].dtype, name
        assert actual[name].isfinite().all(), name
        error = float((actual[name].double() - wanted).abs().max())
        allowed = max(TOLERANCE[actual[name].dtype] * float(wanted.abs().max()), 1e-6)
        assert error <= allowed, f"{name}: {error:.3g} apart, {allowed:.3g} allowed"
