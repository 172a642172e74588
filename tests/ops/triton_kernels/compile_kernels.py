"""Compiles for a Hopper chip, without a GPU, whatever kernels a training step launches, form by form; prints JSON.

Run as a program: Triton decides when it is imported whether it compiles or interprets. A stand-in for the GPU's driver names
the chip, and every launch ends where the kernel would be loaded.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from graphattn.ops import Additive, AdjacencyMask, BlockDiagonalMask, Dot, EdgeFeatures, Mask, Score, Static, attention
from graphattn.ops.triton import backend, schedule

NODES, DEGREE = 100, 14


@dataclass(frozen=True)
class Form:
    """A call of attention.

    Args:
        usual: whether its kernels must keep all they hold in registers and read 128 bits at a time.
        degree: edges of a row.
        mask: "adjacency", or "block" for graphs of 25 and of 200 nodes.
        cut: whether rows are cut into parts, which takes kernels that merge them.
    """

    name: str
    heads: int
    channels: int
    dtype: torch.dtype = torch.float32
    score: str = "dot"
    normaliser: str = "softmax"
    edge_channels: int = 0
    bias: bool = False
    dropout: float = 0.0
    shared: bool = False
    usual: bool = False
    degree: int = DEGREE
    mask: str = "adjacency"
    cut: bool = False


FORMS = (
    Form("dot 1×128", 1, 128, usual=True),
    Form("dot 1×128 bfloat16", 1, 128, torch.bfloat16, usual=True, degree=50),
    Form("dot 4×32", 4, 32, usual=True),
    Form("GATv2 8×16", 8, 16, score="leaky_relu", shared=True, usual=True),
    Form("GAT 8×8", 8, 8, score="static", usual=True),
    Form("dot 4×32, edges", 4, 32, edge_channels=16, bias=True, dropout=0.5, cut=True),
    Form("tanh 4×32, edges", 4, 32, score="tanh", normaliser="sigmoid", edge_channels=16, bias=True, dropout=0.5, cut=True),
    Form("odd sizes", 3, 20, score="leaky_relu", normaliser="relu", edge_channels=5, cut=True),
    Form("many edge channels", 8, 8, edge_channels=128),
    Form("dot 1×300 float16", 1, 300, torch.float16, dropout=0.5),
    Form("float64", 2, 5, torch.float64, score="leaky_relu", edge_channels=3, bias=True, cut=True),
    Form("blocks 4×32", 4, 32, mask="block", usual=True),
    Form("blocks 4×32 bfloat16", 4, 32, torch.bfloat16, bias=True, dropout=0.5, mask="block"),
    Form("blocks GATv2", 2, 20, score="leaky_relu", normaliser="sigmoid", bias=True, mask="block"),
    Form("blocks float64", 2, 5, torch.float64, bias=True, mask="block"),
    Form("softmax1 4×32", 4, 32, normaliser="softmax1", dropout=0.5, cut=True),
    Form("blocks softmax1", 4, 32, normaliser="softmax1", mask="block"),
)


@dataclass(frozen=True)
class Compiled:
    """What became of a kernel.

    Args:
        registers: of a thread.
        stack: bytes of a thread that found no register.
        shared: bytes of shared memory of a program.
        bits: the width of each load from global memory in the code.
    """

    form: str
    kernel: str
    usual: bool
    registers: int
    stack: int
    shared: int
    bits: list[int]


class HopperDriver:
    """What Triton asks of a driver before it loads a kernel."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


@contextmanager
def recorded() -> Iterator[dict[tuple[str, bytes], Any]]:
    """Compiles what is launched meanwhile, and does not run it: kernels by name and machine code."""
    run, found = JITFunction.run, {}

    def compile_only(function: JITFunction, *args: Any, grid: object, warmup: bool, **options: Any) -> None:
        kernel = run(function, *args, grid=grid, warmup=True, **options)
        found[function.fn.__name__, kernel.asm["cubin"]] = kernel

    JITFunction.run = compile_only
    try:
        yield found
    finally:
        JITFunction.run = run


def step(form: Form) -> None:
    """Forward and backward; the numbers are whatever the memory held."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=form.dtype, requires_grad=True)

    mask: Mask
    if form.mask == "block":
        mask = BlockDiagonalMask.from_ptr(torch.tensor([0, 25, 225]))
        pairs = mask.num_pairs
    else:
        target = torch.arange(NODES).repeat_interleave(form.degree)
        mask = AdjacencyMask.from_edge_index(torch.stack([torch.randint(NODES, target.shape), target]), NODES)
        pairs = mask.num_edges
    heads, channels = form.heads, form.channels
    query, key = (normal(mask.num_targets, heads, channels) for _ in range(2))
    score: Score = Dot()
    if form.score == "static":
        score = Static(normal(2, heads, channels))
    elif form.score != "dot":
        score = Additive(normal(heads, channels), activation=form.score)
    features = None
    if form.edge_channels:
        key_weight, value_weight = (normal(heads, channels, form.edge_channels) for _ in range(2))
        features = EdgeFeatures(normal(pairs, form.edge_channels), key_weight, value_weight)
    options: dict[str, Any] = {"normaliser": form.normaliser, "edge_attr": features, "dropout": form.dropout}
    bias = normal(pairs, heads) if form.bias else None
    out = attention(query, key, key if form.shared else normal(*key.shape), mask, score=score, bias=bias, **options)
    assert isinstance(out, Tensor)
    out.backward(torch.ones_like(out))


def compile_form(form: Form) -> list[Compiled]:
    uncut = schedule.PART
    schedule.PART = form.degree // 4 if form.cut else uncut
    try:
        with recorded() as kernels:
            step(form)
    finally:
        schedule.PART = uncut
    return [report(form, name, kernel) for (name, _), kernel in kernels.items()]


def report(form: Form, name: str, kernel: Any) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    loads = re.findall(r"\bld\.global(?:\.\w+)*?(?:\.v([248]))?\.[bfsu](8|16|32|64)\b", kernel.asm["ptx"].replace("::", "_"))
    bits = [int(number or 1) * int(width) for number, width in loads]
    registers, stack = (int(number) for number in found.groups())
    return Compiled(form.name, name, form.usual, registers, stack, kernel.metadata.shared, bits)


def main() -> None:
    driver.set_active(HopperDriver())
    backend._why_not_on = lambda device: None  # on a CPU it would ask for the interpreter
    torch.manual_seed(0)
    print(json.dumps([asdict(compiled) for form in FORMS for compiled in compile_form(form)]))


if __name__ == "__main__":
    main()
