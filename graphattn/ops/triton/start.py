"""Starting a kernel: its arguments go by their names, and one that is missing is an error before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from graphattn.ops.inputs import Inputs


def start(kernel: Any, grid: tuple[int, ...], arguments: Mapping[str, Any], **options: int) -> None:
    """Runs a kernel on a grid of programs.

    Args:
        kernel: a function under `triton.jit`.
        grid: programs in each dimension.
        arguments: name → value of its arguments and constants; others than those it takes are ignored.
        options: of the launch, such as `num_warps`.

    Raises:
        TypeError: naming the arguments that the kernel takes and nobody gives.
    """
    missing = [name for name in kernel.arg_names if name not in arguments]
    if missing:
        raise TypeError(f"{kernel.__name__} takes {', '.join(missing)}, which its launch does not give")
    kernel[grid](**{name: arguments[name] for name in kernel.arg_names}, **options)


def with_stride(name: str, table: Tensor | None) -> dict[str, Any]:
    """A tensor of nodes and the numbers from one node to the next, as kernels name them; 0 where there is no tensor."""
    return {name: table, f"{name}_stride": 0 if table is None else table.stride(0)}


def nodes_and_pairs(inputs: Inputs) -> dict[str, Any]:
    """What all kernels read of nodes and pairs, by the names of their arguments."""
    query, key, value = inputs.tables
    return {
        "queries": query,
        "query_stride": query.stride(0),
        "keys": key,
        "key_stride": key.stride(0),
        "values": value,
        "value_stride": value.stride(0),
        "bias": inputs.extras[1],
        # The seed, and the threshold that a random word must reach for its weight to be kept.
        "seed": inputs.seed,
        "threshold": math.ceil(inputs.dropout * 2**32),
    }
