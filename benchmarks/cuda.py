"""What measuring on a CUDA GPU takes: events for time, the allocator's count for memory, graphs without launch overhead."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Seconds that a step takes from the first launch to the end of the last kernel."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def extra_memory(step: Callable[[], object]) -> int:
    """Bytes of tensors that a step holds at its peak beyond the state before it; its outputs and gradients count."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before


def copy_bandwidth(num_bytes: int = 4 << 30, rounds: int = 10) -> float:
    """Bytes read and written a second by copies of a large tensor."""
    source = torch.ones(num_bytes // 4, device="cuda")
    target = torch.empty_like(source)
    measured = [seconds(lambda: target.copy_(source), 1) for _ in range(rounds + 2)][2:]
    return 2 * num_bytes / statistics.median(measured)


def captured(step: Callable[[], T]) -> tuple[Callable[[], object], T]:
    """A step as a CUDA graph: what replays it, and the results that each replay writes anew."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()
    return graph.replay, results
