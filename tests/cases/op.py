"""The op from tensors by name: drawn, called, differentiated, and held against the plain version."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphattn.ops import Additive, BlockDiagonalMask, EdgeFeatures, Mask, Static, attention
from graphattn.ops.backends import CPU

from .compare import assert_close, gradients
from .graphs import Graphs
from .settings import backend

# Each shape costs seconds of compiling: tests of all folders use these, and so the same kernels, where they can.
HEADS, CHANNELS, VALUE_CHANNELS, EDGE_CHANNELS = 2, 3, 4, 2

Shape = tuple[int, int, int]
Tensors = dict[str, Tensor]


def tensors_of(
    pairs: int,
    sources: int,
    targets: int,
    score: str = "dot",
    *,
    shape: Shape = (HEADS, CHANNELS, VALUE_CHANNELS),
    bias: bool = True,
    edge_channels: int = 0,
    seed: int = 0,
) -> Tensors:
    """Every tensor that a form takes, by name, standard normal in float64; `shape` is heads, channels, value channels."""
    heads, channels, value_channels = shape
    shapes: dict[str, tuple[int, ...]] = {
        "query": (targets, heads, channels),
        "key": (sources, heads, channels),
        "value": (sources, heads, value_channels),
    }
    if score != "dot":
        shapes["weight"] = (2, heads, channels) if score == "static" else (heads, channels)
    if bias:
        shapes["bias"] = (pairs, heads)
    if edge_channels:
        shapes["attr"] = (pairs, edge_channels)
        shapes["key_weight"] = (heads, channels, edge_channels)
        shapes["value_weight"] = (heads, value_channels, edge_channels)
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in shapes.items()}


def draw(
    mask: Mask, score: str = "dot", *, edge_attr: bool = False, dtype: torch.dtype = torch.float64, **options: Any
) -> Tensors:
    """`tensors_of` the sizes of a mask, which may be graph blocks."""
    pairs = mask.num_pairs if isinstance(mask, BlockDiagonalMask) else mask.num_edges
    options = {"edge_channels": EDGE_CHANNELS if edge_attr else 0, **options}
    drawn = tensors_of(pairs, mask.num_sources, mask.num_targets, score, **options)
    return {name: tensor.to(dtype) for name, tensor in drawn.items()}


def attend(tensors: Tensors, mask: Mask, score: str = "dot", **options: Any) -> Any:
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
    return attention(*tables, mask, score=spec, **{"bias": tensors.get("bias"), "edge_attr": features, **options})


def step(tensors: Tensors, mask: Mask, **options: Any) -> Tensors:
    """The output, as "out", and the gradients of all tensors, by name, of a fixed random projection of it."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
    out = attend(leaves, mask, **options)
    return {"out": out.detach(), **dict(zip(leaves, gradients(out, list(leaves.values()), unused=False), strict=True))}


def expected_step(tensors: Tensors, mask: Mask, **options: Any) -> Tensors:
    """The same by the plain version, in float64 on the CPU, from the same rounded inputs."""
    with backend("reference"):
        return step({name: tensor.detach().double().cpu() for name, tensor in tensors.items()}, mask, **options)


def assert_parity(
    tensors: Tensors,
    mask: Mask,
    dtype: torch.dtype | None = None,
    *,
    by: str = "cpu",
    tolerance: float | None = None,
    **options: Any,
) -> None:
    """The fused kernels of the backend `by`, in `dtype` or that of the tensors, equal the plain version in float64."""
    rounded = {name: tensor.to(dtype or tensor.dtype) for name, tensor in tensors.items()}
    with backend(by):
        actual = step(rounded, mask, **options)
    for name, expected in expected_step(rounded, mask, **options).items():
        assert actual[name].dtype == next(iter(rounded.values())).dtype, name
        assert_close(actual[name], expected, name, tolerance=tolerance)


@dataclass(frozen=True)
class OpCase:
    """One form of `graphattn.ops.attention`."""

    mask: str
    score: str
    normaliser: str
    bias: bool
    edge_attr: bool
    backend: str = "cpu"

    def __str__(self) -> str:
        extras = "-bias" * self.bias + "-edges" * self.edge_attr
        return f"{self.mask}-{self.score}-{self.normaliser}{extras}"

    @property
    def fused(self) -> bool:
        """Whether the fused kernels know this form."""
        return self.normaliser in CPU.normalisers

    def kernels(self) -> AbstractContextManager[None]:
        """Runs by the fused kernels or not at all, instead of falling back to the plain version; `fused` forms only."""
        return backend(self.backend) if self.fused else nullcontext()

    def tensors(self, pairs: int, sources: int, targets: int, seed: int = 0, **shape: Shape) -> Tensors:
        """Every tensor that this form takes, each of which wants a gradient."""
        edge_channels = EDGE_CHANNELS if self.edge_attr else 0
        options: dict[str, Any] = {"bias": self.bias, "edge_channels": edge_channels, "seed": seed, **shape}
        drawn = tensors_of(pairs, sources, targets, self.score, **options)
        return {name: tensor.requires_grad_() for name, tensor in drawn.items()}

    def of(self, made: Graphs, seed: int = 0, **shape: Shape) -> Tensors:
        return self.tensors(len(made.pairs(self.mask)), made.num_nodes, made.num_nodes, seed, **shape)

    def __call__(self, mask: Mask, tensors: Tensors, **options: Any) -> Any:
        return attend(tensors, mask, self.score, **{"normaliser": self.normaliser, **options})

    def step(self, mask: Mask, tensors: Tensors, **options: Any) -> list[Tensor]:
        """The output, and the gradients of all tensors if they want any."""
        out = self(mask, tensors, **options)
        return [out.detach(), *(gradients(out, list(tensors.values())) if out.requires_grad else [])]

    def expected(self, mask: Mask, tensors: Tensors, **options: Any) -> list[Tensor]:
        """The same by the plain version, in float64 on the CPU, from the same rounded inputs."""
        return list(expected_step(tensors, mask, score=self.score, **{"normaliser": self.normaliser, **options}).values())
