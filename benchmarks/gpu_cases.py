"""The registry of the cases for a GPU: those of a Hopper chip's bars."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.cases import Bar, Case
from benchmarks.families import (
    DROPIN_GATV2,
    DROPIN_GPS_TRANSFORMER,
    DROPIN_TRANSFORMER_PLAIN,
    ENCODER,
    OP_DOT,
    OP_DOT_PACKED,
    OP_GATV2,
)


@dataclass(frozen=True)
class GpuCase(Case):
    """A computation on a GPU. Of `rows` the forward number counts: the rows of K and V that an edge must read.

    Args:
        dtype: what the inputs are stored in.
        beside: rivals that are timed.
        sampled: whether parity at full size is checked on some targets alone, because the baseline does not fit.
        captured: whether ours is timed as a CUDA graph, too.
    """

    dtype: torch.dtype = torch.float32
    beside: tuple[str, ...] = ("pyg",)
    sampled: bool = False
    captured: bool = False

    @property
    def rivals(self) -> tuple[str, ...]:
        return self.beside


FAST, SMALL = Bar("step pyg/ours", 8), Bar("memory pyg/ours", 8)
GATHER = Bar("gather bound", 0.5)
MOLECULES = (Bar("step pyg/ours", 5),)

_CASES = (
    GpuCase("gpu", "gpu-op-dot-arxiv", OP_DOT, "arxiv-sized", 1, 128, bars=(FAST, SMALL, GATHER), rows=(2, 6)),
    GpuCase(
        "gpu", "gpu-layer-transformer-arxiv", DROPIN_TRANSFORMER_PLAIN, "arxiv-sized", 1, 128, bars=(FAST, SMALL), rows=(2, 6)
    ),
    GpuCase(
        *("gpu", "gpu-op-gatv2-arxiv", OP_GATV2, "arxiv-sized", 8, 16),
        bars=(FAST, Bar("backward/forward", at_most=2.5), GATHER),
        rows=(1, 4),
    ),
    GpuCase("gpu", "gpu-layer-gatv2-arxiv", DROPIN_GATV2, "arxiv-sized", 8, 16, bars=(FAST,), rows=(1, 4)),
    GpuCase(
        *("gpu", "gpu-op-dot-products", OP_DOT_PACKED, "products-sized", 1, 128),
        baseline="reference",
        bars=(Bar("forward ms", at_most=25), Bar("backward/forward", at_most=3), GATHER),
        rows=(2, 6),
        dtype=torch.bfloat16,
        beside=(),
        sampled=True,
    ),
    GpuCase(
        *("gpu", "gpu-gps-molecules", DROPIN_GPS_TRANSFORMER, "molecules-1024", 4, 32),
        bars=MOLECULES,
        rows=(2, 6),
        captured=True,
    ),
    GpuCase(
        *("gpu", "gpu-encoder-molecules", ENCODER, "molecules-1024", 4, 32),
        baseline="reference",
        bars=MOLECULES,
        rows=(2, 6),
        captured=True,
    ),
)
GPU_CASES: dict[str, GpuCase] = {case.name: case for case in _CASES}
