"""Whether kernels for a level of processors are slower than kernels for this very processor, and whether their bits differ.

    OMP_NUM_THREADS=1 python benchmarks/levels.py

Attention with the dot product and with an additive score, 8 heads of 8 channels, in float32 on a random graph of 10,000 nodes
and 320,000 edges: forward, and a training step. Each level runs in a process of its own, with `GRAPHATTN_CPU_LEVEL` set; the
processes take turns, one call each, in another order in every round. Times are in milliseconds; a ratio is that to "native".
Times are of the processor, so that other programs matter less. Where a process has its memory can cost some per cent alone:
`REPEATS` starts them anew.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch

from graphattn.ops import AdjacencyMask, attention
from graphattn.ops.cpu.level import served
from graphattn.ops.score import make_score

NODES, EDGES, HEADS, CHANNELS = 10_000, 320_000, 8, 8
CALLS = tuple(f"{score} {what}" for score in ("dot", "additive") for what in ("forward", "step"))
ROUNDS, REPEATS = 60, 2


def main() -> None:
    levels = served()
    times: dict[tuple[str, str], list[float]] = {(call, level): [] for call in CALLS for level in levels}
    bits: dict[tuple[str, str], str] = {}
    for _ in range(REPEATS):
        workers = {level: worker(level) for level in levels}
        for call in CALLS:
            for level in levels:
                bits[call, level] = ask(workers[level], f"bits {call}")
            for _ in range(ROUNDS):
                for level in random.sample(levels, len(levels)):
                    times[call, level].append(float(ask(workers[level], f"time {call}")))
        for process in workers.values():
            process.communicate()
    print(f"{'call':<18}{'level':<12}{'min ms':>8}{'median ms':>11}{'min':>7}{'median':>8}  bits")
    for call, level in times:
        mine, native = times[call, level], times[call, "native"]
        least, middle = min(mine), statistics.median(mine)
        same = "same" if bits[call, level] == bits[call, "native"] else "others"
        ratios = f"{least / min(native):>7.3f}{middle / statistics.median(native):>8.3f}"
        print(f"{call:<18}{level:<12}{least * 1e3:>8.2f}{middle * 1e3:>11.2f}{ratios}  {same}")


def worker(level: str) -> subprocess.Popen[str]:
    """A process that answers what it is asked, line by line."""
    environment = {**os.environ, "GRAPHATTN_CPU_LEVEL": level}
    command = [sys.executable, __file__, "worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], question: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    print(question, file=process.stdin, flush=True)
    return process.stdout.readline().strip()


def answer() -> None:
    """The worker's side: times of calls, and hashes of what they return."""
    calls = dict(prepared())
    for line in sys.stdin:
        what, _, call = line.strip().partition(" ")
        start = time.process_time()
        result = calls[call]()
        seconds = time.process_time() - start
        digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in result)).hexdigest()
        print(seconds if what == "time" else digest, flush=True)


def prepared() -> Iterator[tuple[str, Callable[[], tuple[torch.Tensor, ...]]]]:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    mask = AdjacencyMask.from_edge_index(torch.randint(NODES, (2, EDGES), generator=generator), NODES)
    query, key, value, weight = (torch.randn(rows, HEADS, CHANNELS, generator=generator) for rows in (NODES, NODES, NODES, 1))
    for name in ("dot", "additive"):
        yield f"{name} forward", lambda name=name: (attention(query, key, value, mask, score=score(name, weight[0])),)
        yield f"{name} step", lambda name=name: step(name, [tensor.clone() for tensor in (query, key, value, weight)], mask)


def score(name: str, weight: torch.Tensor) -> object:
    return make_score(name, weight if name == "additive" else None)


def step(name: str, tensors: list[torch.Tensor], mask: AdjacencyMask) -> tuple[torch.Tensor, ...]:
    query, key, value, weight = leaves = [tensor.requires_grad_() for tensor in tensors]
    out = attention(query, key, value, mask, score=score(name, weight[0]))
    out.sum().backward()
    return tuple(leaf.grad for leaf in leaves if leaf.grad is not None)


if __name__ == "__main__":
    answer() if sys.argv[1:] == ["worker"] else main()
