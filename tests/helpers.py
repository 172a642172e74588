"""What tests of several folders share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch
from hypothesis import strategies as st
from torch import Tensor

from graphattn.ops.cpu.specialise import target


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Runs with so many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor and the libraries that a test ran on, for the message of one that compares bits."""
    threads = f"{torch.get_num_threads()} threads"
    return " · ".join([*target()[1:2], torch.backends.cpu.get_cpu_capability(), *_versions(), threads])


def _versions() -> list[str]:
    blas = re.findall(r"BLAS_INFO=(\w+)|(Math Kernel Library Version \S+)", torch.__config__.show())
    return [f"torch {torch.__version__}", f"numba {numba.__version__}", *sorted({"".join(names) for names in blas})]


@st.composite
def batches(draw: st.DrawFn, max_graphs: int, max_nodes: int) -> Tensor:
    """Graph numbers of the nodes of some graphs, some empty or of one node, in any order of their nodes."""
    sizes = draw(st.lists(st.integers(0, max_nodes), min_size=1, max_size=max_graphs))
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    if draw(st.booleans()):
        generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
        batch = batch[torch.randperm(batch.shape[0], generator=generator)]
    return batch
