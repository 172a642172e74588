"""What the tests of the fused kernels share: a problem of every form, and its answer by the plain version in float64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from graphattn.ops import Additive, AdjacencyMask, EdgeFeatures, Mask, Static, attention

# Each shape costs seconds of compiling. These are the ones of the laws, whose kernels most tests here use, too.
HEADS, CHANNELS, VALUE_CHANNELS, EDGE_CHANNELS = 2, 3, 4, 2
TARGETS, SOURCES, EDGES = 9, 7, 60

Tensors = dict[str, Tensor]


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Runs with GRAPHATTN_BACKEND: "cpu" raises where the fused kernels cannot serve, "reference" is the plain version."""
    before = os.environ.get("GRAPHATTN_BACKEND")
    os.environ["GRAPHATTN_BACKEND"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["GRAPHATTN_BACKEND"]
        else:
            os.environ["GRAPHATTN_BACKEND"] = before


def graph(targets: int = TARGETS, sources: int = SOURCES, edges: int = EDGES) -> AdjacencyMask:
    """A third of the edges go to target 0, a sixth come from source 0; edges are unsorted, and some stand twice.

    The last target has no edges, nor has the last source, where there are others.
    """
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(max(1, sources - 1), (edges,), generator=generator)
    target = torch.randint(max(1, targets - 1), (edges,), generator=generator)
    target[: edges // 3] = 0
    source[edges // 3 : edges // 2] = 0
    return AdjacencyMask(source, target, sources, targets)


def draw(
    mask: AdjacencyMask,
    score: str = "dot",
    *,
    shape: tuple[int, int, int] = (HEADS, CHANNELS, VALUE_CHANNELS),
    bias: bool = True,
    edge_attr: bool = False,
    seed: int = 0,
) -> Tensors:
    """Every tensor that a form takes, by name, standard normal in float64; `shape` is heads, channels, value channels."""
    heads, channels, value_channels = shape
    shapes: dict[str, tuple[int, ...]] = {
        "query": (mask.num_targets, heads, channels),
        "key": (mask.num_sources, heads, channels),
        "value": (mask.num_sources, heads, value_channels),
    }
    if score != "dot":
        shapes["weight"] = (2, heads, channels) if score == "static" else (heads, channels)
    if bias:
        shapes["bias"] = (mask.num_edges, heads)
    if edge_attr:
        shapes["attr"] = (mask.num_edges, EDGE_CHANNELS)
        shapes["key_weight"] = (heads, channels, EDGE_CHANNELS)
        shapes["value_weight"] = (heads, value_channels, EDGE_CHANNELS)
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in shapes.items()}


def attend(tensors: Tensors, mask: Mask, score: str = "dot", **options: Any) -> Tensor:
    """`attention` of tensors by name; "qkv" is a packed table, and without "value" the values are the keys."""
    spec: Any = "dot"
    if score == "static":
        spec = Static(tensors["weight"])
    elif score != "dot":
        spec = Additive(tensors["weight"], activation="tanh" if score == "tanh" else "leaky_relu")
    features = EdgeFeatures(*(tensors[n] for n in ("attr", "key_weight", "value_weight"))) if "attr" in tensors else None
    if "qkv" in tensors:
        tables = tensors["qkv"], None, None
    else:
        tables = tensors["query"], tensors["key"], tensors.get("value", tensors["key"])
    out = attention(*tables, mask, score=spec, bias=tensors.get("bias"), edge_attr=features, **options)
    assert isinstance(out, Tensor)
    return out


def step(tensors: Tensors, mask: Mask, **options: Any) -> Tensors:
    """The output, as "out", and the gradients of all tensors, by name, of a fixed random projection of it."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    out = attend(leaves, mask, **options)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16().to(out.dtype)
    of_leaves = torch.autograd.grad(out, list(leaves.values()), direction)
    return {"out": out.detach(), **dict(zip(leaves, of_leaves, strict=True))}


def expected_step(tensors: Tensors, mask: Mask, **options: Any) -> Tensors:
    """The same by the plain version in float64."""
    with backend("reference"):
        return step({name: tensor.double() for name, tensor in tensors.items()}, mask, **options)


TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def assert_close(actual: Tensor, expected: Tensor, name: str = "", tolerance: float | None = None) -> None:
    """max|a - b| / max|b| within the tolerance of `actual`'s type; NaN only where NaN is expected.

    What is zero but for rounding has no relative error: 7e-15 in float64 and 1e-6 in float32 pass as well.
    """
    assert actual.shape == expected.shape, name
    assert torch.equal(actual.isnan(), expected.isnan()), f"{name}: NaN in other places"
    if actual.numel() == 0:
        return
    a, b = actual.double().nan_to_num(0.0), expected.double().nan_to_num(0.0)
    error, rounding = float((a - b).abs().max()), 7e-15 if actual.dtype == torch.float64 else 1e-6
    allowed = max((tolerance or TOLERANCE[actual.dtype]) * float(b.abs().max()), rounding)
    assert error <= allowed, f"{name}: {error:.3g} apart, {allowed:.3g} allowed"


def assert_parity(tensors: Tensors, mask: Mask, dtype: torch.dtype = torch.float64, **options: Any) -> None:
    """The fused kernels in `dtype` equal the plain version in float64 on the same rounded inputs."""
    rounded = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    with backend("cpu"):
        actual = step(rounded, mask, **options)
    for name, expected in expected_step(rounded, mask, **options).items():
        assert actual[name].dtype == dtype
        assert_close(actual[name], expected, name)
