"""Which tile is the fastest: measured once for each kind of call and kind of GPU, and cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import triton

from graphattn.cache import user_cache, write_atomically
from graphattn.ops.triton.tiles import Tile

# Seconds after which no other tile is tried: with the forward and the two backward kernels, a first step stays below 30.
BUDGET = 6.0
# Below so many numbers read by a call it takes some ten microseconds, no longer than to launch it, whatever the tile.
_WORTH_TUNING = 2**26
_REPEATS = 5

_chosen: dict[str, Tile] = {}


def fastest(kind: tuple[Any, ...], candidates: list[Tile], work: int, run: Callable[[Tile], None]) -> Tile:
    """The fastest of some tiles; the first of them where it cannot be measured.

    Tiles are tried when a kind of call is first made, and the choice is kept in the user's cache folder: another process
    chooses, and so rounds, the same. They are not tried in Triton's interpreter, where the work is little, and while a CUDA
    graph is captured; and none but the first is taken under `torch.use_deterministic_algorithms(True)`, which so gives the
    same bits on a machine that has kept other choices.

    Args:
        kind: all that a choice may depend on, but the GPU.
        candidates: at least one.
        work: how many numbers a call reads.
        run: runs the kernel, as often as it likes.
    """
    if work < _WORTH_TUNING or torch.are_deterministic_algorithms_enabled() or not torch.cuda.is_available():
        return candidates[0]
    key = hashlib.sha256(repr((kind, candidates, _gpu(), triton.__version__)).encode()).hexdigest()[:20]
    if key not in _chosen:
        if torch.cuda.is_current_stream_capturing():
            return candidates[0]
        _chosen[key] = _kept(key, candidates) or _measured(key, kind, candidates, run)
    return _chosen[key]


def _measured(key: str, kind: tuple[Any, ...], candidates: list[Tile], run: Callable[[Tile], None]) -> Tile:
    begin, times = time.monotonic(), list[float]()
    for tile in candidates:
        if times and time.monotonic() - begin > BUDGET:
            break
        run(tile)  # compiles
        events = [torch.cuda.Event(enable_timing=True) for _ in range(_REPEATS + 1)]
        events[0].record()
        for event in events[1:]:
            run(tile)
            event.record()
        torch.cuda.synchronize()
        times.append(min(start.elapsed_time(end) for start, end in pairwise(events)))
    best = candidates[times.index(min(times))]
    record = {"kind": [str(part) for part in kind], "gpu": _gpu(), "milliseconds": times, "tile": list(best)}
    with contextlib.suppress(OSError, RuntimeError):  # nowhere to keep it: then every process measures again
        write_atomically(user_cache("tiles") / f"{key}.json", json.dumps(record, indent=1).encode())
    return best


def _kept(key: str, candidates: list[Tile]) -> Tile | None:
    with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        tile = Tile(*json.loads((user_cache("tiles") / f"{key}.json").read_bytes())["tile"])
        if tile in candidates:
            return tile
    return None


def _gpu() -> str:
    return torch.cuda.get_device_name()
