"""The fastest that this machine can gather the rows of two tables by one list of indices: a bound for the message pass.

For every edge a dot product reads a row of K and a row of V, in the order of the mask's edges; nothing that fits into no cache
can be faster than reading them. Here the rows are only added up, with the same vectors, prefetches and threads as the kernels.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from numba import cfunc, types

from graphattn.ops import AdjacencyMask
from graphattn.ops.cpu import simd as vectors
from graphattn.ops.cpu import threads

DISTANCES = (0, 4, 8, 16, 32)  # edges ahead of which a row is asked for; 0: not at all
PIECE = 4096  # edges
ROUNDS = 7
NUM_ARGUMENTS = 8


@dataclass(frozen=True)
class Ceiling:
    """Seconds that one two-table gather takes, and what that means: bytes of a row, bytes a second, the best distance."""

    seconds: float
    row_bytes: int
    bytes_per_second: float
    prefetch_distance: int


def gather_ceiling(mask: AdjacencyMask, width: int) -> Ceiling:
    """Measures it on the edges of a mask, sorted by target, for rows of `width` float32, with torch's number of threads.

    The median over rounds of the best prefetch distance.
    """
    index = mask.source[mask.target.argsort(stable=True)].to(torch.int32)
    keys, values = (torch.randn(mask.num_sources, width) for _ in range(2))
    pieces = math.ceil(mask.num_edges / PIECE)
    sums = torch.empty(pieces, width)
    kernel = _gather(width)

    def gather(distance: int) -> float:
        arguments = (0, keys.data_ptr(), values.data_ptr(), index.data_ptr(), sums.data_ptr(), mask.num_edges, pieces, distance)
        start = time.perf_counter()
        threads.run(kernel.address, arguments, pieces)
        return time.perf_counter() - start

    gather(0)
    expected = (keys + values).double().t().matmul(torch.bincount(index, minlength=mask.num_sources).double())
    torch.testing.assert_close(sums.double().sum(0), expected, rtol=1e-3, atol=1e-2)
    timed = {distance: sorted(gather(distance) for _ in range(ROUNDS))[ROUNDS // 2] for distance in DISTANCES}
    best = min(timed, key=timed.__getitem__)
    return Ceiling(timed[best], 4 * width, 2 * mask.num_edges * 4 * width / timed[best], best)


def _gather(width: int) -> Any:
    """The kernel for rows of `width` numbers: each piece writes the sum of its rows, so that none can be left out."""
    simd: Any = vectors  # intrinsics are called with fewer arguments than they are written with
    row, lines = 4 * width, math.ceil(4 * width / 64)

    @cfunc(types.void(types.int64), error_model="numpy")
    def gather(place: int) -> None:
        _, keys, values, index, sums, edges, pieces, distance = simd.load_arguments(place, NUM_ARGUMENTS)
        piece = simd.take_next(place)
        while piece < pieces:
            total = simd.splat(0.0, width, "float32")
            for edge in range(piece * PIECE, min((piece + 1) * PIECE, edges)):
                if distance > 0:
                    ahead = simd.load_index(index + 4 * min(edge + distance, edges - 1), 32) * row
                    for line in range(lines):
                        simd.prefetch(keys + ahead + 64 * line)
                        simd.prefetch(values + ahead + 64 * line)
                source = simd.load_index(index + 4 * edge, 32) * row
                total = simd.add(
                    total, simd.add(simd.load(keys + source, width, "float32"), simd.load(values + source, width, "float32"))
                )
            simd.store(sums + piece * row, total, "float32")
            piece = simd.take_next(place)

    return gather
