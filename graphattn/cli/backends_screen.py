"""The screen of `graphattn.backends()`: which backend serves each kind of attention call here, and why."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import graphattn
from graphattn.cache import user_cache
from graphattn.errors import InputError
from graphattn.ops import NORMALISERS, SCORES, EdgeFeatures, Score
from graphattn.ops.backends import CPU, MOST_EDGE_CHANNELS, MOST_HEADS, why_not_fused
from graphattn.ops.backends.report import server
from graphattn.ops.cpu import store, threads
from graphattn.ops.cpu.level import host, requested, served
from graphattn.ops.score import make_score
from graphattn.ops.settings import requested_backend

if TYPE_CHECKING:
    from rich.table import Table

_MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


def backends() -> None:
    """Prints which kernel runs each kind of attention call here, and why, with the settings that decide it.

    "fused" are kernels that make no tensor of the edges' size, in machine code for this processor on a CPU and in Triton on a
    GPU; "plain" is the formula in PyTorch, which does; "torch" is torch's own scaled_dot_product_attention. The environment
    variable `GRAPHATTN_BACKEND` chooses: "auto" takes fused kernels wherever they can serve, "reference" the plain version,
    "cpu" and "triton" one family of fused kernels or else an error.

    Raises:
        InputError: where `GRAPHATTN_BACKEND` has another value.
    """
    from rich.console import Console

    console = Console(highlight=False)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        notes: list[str] = []
        calls = _calls(device, notes)
        console.print(f"[bold]What runs graphattn.ops.attention on {device.upper()} tensors[/]")
        console.print(calls)
        for mark, note in zip(_MARKS, notes, strict=False):
            console.print(f"{mark} {note}", markup=False)
        console.print()
    console.print("[bold]What the fused kernels never serve[/]")
    console.print(_pairs(_unserved(devices)))
    console.print("\n[bold]Here[/]")
    console.print(_pairs(_here() | (_gpu() if "cuda" in devices else {})))


def _why_not(query: Tensor, edge_attr: EdgeFeatures | None = None, return_attention: bool = False) -> str | None:
    requested_backend()  # another error than that of a call which cannot be served
    try:
        return why_not_fused(query, query, edge_attr=edge_attr, return_attention=return_attention)
    except InputError as error:
        return str(error)


def _calls(device: str, notes: list[str]) -> Table:
    """A row a normaliser, a column a mask and score; reasons are added to `notes`, and marked in the cells."""
    table = _table()
    table.add_column("normaliser")
    for mask in ("masked", "full"):
        for name in SCORES:
            table.add_column(f"{mask}\n{name}")
    for normaliser in NORMALISERS:
        cells = []
        for full in (False, True):
            for kind_of_score in SCORES.values():
                kind, note = server(_example(kind_of_score), normaliser, full, device)
                if note is not None and note not in notes:
                    notes.append(note)
                cells.append(kind if note is None else f"{kind}{_MARKS[notes.index(note)]}")
        table.add_row(normaliser, *cells)
    return table


def _example(kind: type[Score]) -> Score:
    """A score of this kind, for one head of one channel."""
    shape = kind.weight_shape(1, 1)
    return make_score(kind.name, None if shape is None else torch.empty(shape))


def _unserved(devices: list[str]) -> dict[str, str]:
    """Calls that the kernels do not take, whatever the score, normaliser and mask, and why."""
    query = torch.empty(1, 1, 1, device="cpu")
    calls = {
        "returned weights": _why_not(query, return_attention=True),
        f"over {MOST_HEADS} heads": _why_not(torch.empty(1, MOST_HEADS + 1, 1, device="cpu")),
        f"over {MOST_EDGE_CHANNELS} edge channels": _why_not(
            query, edge_attr=EdgeFeatures(torch.empty(1, MOST_EDGE_CHANNELS + 1, device="cpu"))
        ),
    }
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        if device is not None and device.type not in devices:
            calls[f"tensors on {device}"] = _why_not(torch.empty(1, 1, 1, device=device))
    return {name: reason for name, reason in calls.items() if reason is not None}


def _here() -> dict[str, str]:
    level = requested()
    vectors = f"vectors of {level.vector_bits} bits" if level.vector_bits else "no vectors"
    serial = threads.why_serial()
    place, problem = store.store().folder, store.store().problem
    count, size = store.kept()
    keeps = f"{place}\n{count} kernels, {size / 1e6:.1f} MB; `graphattn warmup` compiles the common ones ahead"
    lost = "nowhere" if place is None else f"{place}, for this process alone"
    types = ", ".join(str(dtype).removeprefix("torch.") for dtype in CPU.types)
    return {
        "GRAPHATTN_BACKEND": requested_backend(),
        "threads": f"{torch.get_num_threads()}, torch's own" if serial is None else f"1: {serial}",
        "processor": host().processor,
        "GRAPHATTN_CPU_LEVEL": f"{level.name}, {vectors}; this processor serves {', '.join(served())}",
        "types": f"{types}; others are computed in float32",
        "kernels kept in": keeps if problem is None else f"{lost}: {problem}",
        "versions": f"graphattn {graphattn.__version__}, Python {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in ("torch", "numba", "llvmlite")),
    }


def _gpu() -> dict[str, str]:
    folder = user_cache("tiles")
    return {
        "GPU": torch.cuda.get_device_name(),
        "types on the GPU": "float16 as well",
        "tiles kept in": f"{folder}\n{len(list(folder.glob('*.json')))} choices; see graphattn.ops.triton.tune",
        "Triton": version("triton") if importlib.util.find_spec("triton") else "not installed",
    }


def _pairs(rows: dict[str, str]) -> Table:
    table = _table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _table(show_header: bool = True) -> Table:
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=show_header, header_style="")
