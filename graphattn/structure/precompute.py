"""Structural encodings of many graphs at once: in parallel, and cached on disk.

What only this needs is imported where it is used: `graphattn.nn` imports the package of this file.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from graphattn.cache import drop_oldest, user_cache, write_atomically
from graphattn.errors import InputError
from graphattn.ops.mask.pairs import refuse_too_many_pairs
from graphattn.structure.graphs import refuse_adjacency
from graphattn.structure.transform import StructuralTransform

# What is computed, cached and lost by a killed run as one: so many graphs, or fewer of many pairs.
_CHUNK_GRAPHS, _CHUNK_PAIRS = 500, 2**20
# Seconds of work left from which on workers, which take some to start, are the quicker way on two cores.
_WORTH_WORKERS = 20.0
# Fewer nodes are encoded again faster than they are found on disk.
_WORTH_CACHING = 5_000
_CACHE_LIMIT = 2**32  # bytes
# Nodes of the largest graph up to which a second thread gains nothing.
_SMALL = 256
# Raised where files of the cache are written in another way.
_FORMAT = 1

Values = dict[str, Tensor]


def precompute(
    graphs: Sequence[Data],
    transform: BaseTransform | Sequence[BaseTransform],
    *,
    n_jobs: int | None = None,
    cache: Path | str | None = "default",
    progress: Callable[[int], None] | bool = False,
) -> list[Data]:
    """What `[transform(graph) for graph in graphs]` gives, for many graphs at a time; the same for any number of jobs.

    The new attributes are views of tensors that some hundred graphs share: clone before writing into them, or saving one alone.

    Args:
        graphs: one graph each, on the CPU; they are not changed.
        transform: a `StructuralTransform`, or a list or a torch_geometric `Compose` of them.
        n_jobs: worker processes, as in joblib (-1: one a core). None: one a core where the work left is long enough to gain.
        cache: folder of the cache, or None for none. "default": the user's cache (`graphattn.cache.user_cache`), where there is
            enough to gain. Entries are found by content: the edges (and their weights, where a transform reads them) of some
            hundred graphs in a row, the transform, its options and its version. Each is written as soon as it is computed and
            is whole or not there, so a run that was killed goes on where it was; a damaged file is computed again. The least
            recently used go above 4 GiB, and a folder that cannot be written is no error.
        progress: True for a progress bar on stderr; or a function, called with the number of graphs done since the last call.

    Raises:
        InputError: where a transform is of another kind, a graph has no nodes or edges that can be read, a transform refuses
            the graphs, or the values of all pairs would not fit in memory.
    """
    transforms, graphs = _flatten(transform), list(graphs)
    kept = [one for one in transforms if any(one.is_given(graph) for graph in graphs)]
    if kept:  # they look at each graph's own values
        others = [one for one in transforms if one not in kept]
        done = precompute(graphs, others, n_jobs=n_jobs, cache=cache, progress=progress)
        return [Compose(kept)(graph) for graph in done]
    sizes = [_num_nodes(graph, number) for number, graph in enumerate(graphs)]
    if cache == "default":
        cache = user_cache("structure") if sum(sizes) >= _WORTH_CACHING else None
    folder = None if cache is None else Path(cache)
    pairs = sum(size**2 for size in sizes)
    out = [copy.copy(graph) for graph in graphs]
    if progress is True:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task("structure of graphs", total=len(graphs))
            return precompute(graphs, transforms, n_jobs=n_jobs, cache=cache, progress=lambda done: bar.advance(task, done))

    def finish(chunk: slice, values: list[Values]) -> None:
        _refuse_too_large(transforms, values, sizes[chunk], pairs)
        _attach(out[chunk], transforms, values, sizes[chunk])
        if progress:
            progress(chunk.stop - chunk.start)

    unfinished = []
    for chunk in _chunks(sizes):
        bare = _side_by_side(graphs[chunk], sizes[chunk], chunk.start, transforms)
        paths = [None if folder is None else folder / f"structure-{key}.safetensors" for key in _keys(bare, transforms)]
        known = [None if path is None else _load(path) for path in paths]
        if None in known:
            unfinished.append((chunk, bare, paths, known))
        else:
            finish(chunk, [values for values in known if values is not None])
    tasks = [
        (bare, [(one, path) for one, path, values in zip(transforms, paths, known, strict=True) if values is None])
        for _, bare, paths, known in unfinished
    ]
    for (chunk, _, _, known), computed in zip(unfinished, _run(tasks, n_jobs), strict=True):
        missing = iter(computed)
        finish(chunk, [next(missing) if values is None else values for values in known])
    if folder is not None and tasks:
        drop_oldest(folder, "structure-*", _CACHE_LIMIT)
    return out


def _flatten(transform: BaseTransform | Sequence[BaseTransform]) -> list[StructuralTransform]:
    if isinstance(transform, StructuralTransform):
        return [transform]
    if isinstance(transform, Compose):
        transform = transform.transforms
    if not isinstance(transform, Sequence):
        kind = type(transform).__name__
        raise InputError(f"transform must be a StructuralTransform, or a list or Compose of them, got {kind}")
    return [one for part in transform for one in _flatten(part)]


def _num_nodes(graph: Data, number: int) -> int:
    if not isinstance(graph, Data) or graph.get("batch") is not None:
        kind = "a batch" if isinstance(graph, Data) else type(graph).__name__
        raise InputError(f"graphs must hold one torch_geometric Data for each graph, got {kind} at number {number}")
    if graph.num_nodes is None:
        raise InputError(f"graphs must have num_nodes, x or edge_index, but graph {number} has none of them")
    return graph.num_nodes


def _chunks(sizes: list[int]) -> Iterator[slice]:
    start = pairs = 0
    for end, size in enumerate(sizes):
        if end - start == _CHUNK_GRAPHS or (end > start and pairs + size**2 > _CHUNK_PAIRS):
            yield slice(start, end)
            start, pairs = end, 0
        pairs += size**2
    if start < len(sizes):
        yield slice(start, len(sizes))


def _side_by_side(graphs: list[Data], sizes: list[int], first: int, transforms: list[StructuralTransform]) -> Data:
    """A batch of the graphs with nothing but what the transforms read; `first` is the number of the first graph."""
    for graph in graphs:
        if graph.edge_index is None:
            refuse_adjacency(graph)
    edges = [torch.zeros(2, 0, dtype=torch.long) if graph.edge_index is None else graph.edge_index for graph in graphs]
    for number, edge_index in enumerate(edges, first):
        if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_floating_point():
            given = f"{edge_index.dtype} {list(edge_index.shape)}"
            raise InputError(f"edge_index of graph {number} must be integers of shape [2, edges], got {given}")
    size, count = torch.tensor(sizes), torch.tensor([edge_index.shape[1] for edge_index in edges])
    ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
    edge_index = torch.cat([part.as_subclass(Tensor).long() for part in edges], dim=1)
    outside = ((edge_index < 0) | (edge_index >= size.repeat_interleave(count))).any(0).nonzero()
    if len(outside):
        number = int((count.cumsum(0) <= outside[0]).sum())
        raise InputError(
            f"edge_index of graph {first + number} must hold nodes in [0, {sizes[number]}), got values from "
            f"{int(edges[number].min())} to {int(edges[number].max())}"
        )
    bare = Data(edge_index=edge_index + ptr[:-1].repeat_interleave(count), num_nodes=int(ptr[-1]), ptr=ptr)
    bare.batch = torch.arange(len(sizes)).repeat_interleave(size)
    for name in {transform.weight for transform in transforms} - {None}:
        weights = [graph.get(name) for graph in graphs]
        for number, weight in enumerate(weights):
            if not isinstance(weight, Tensor) or weight.numel() != int(count[number]):
                given = f"shape {list(weight.shape)}" if isinstance(weight, Tensor) else type(weight).__name__
                edge_count = f"one weight for each of {int(count[number])} edges"
                raise InputError(f"{name} of graph {first + number} must hold {edge_count}, got {given}")
        bare[name] = torch.cat([weight.detach().flatten().double() for weight in weights])
    return bare


def _keys(bare: Data, transforms: list[StructuralTransform]) -> list[str]:
    """For each transform the hash of all that its values depend on, and of nothing else."""
    keys = []
    for transform in transforms:
        kind = type(transform)
        digest = hashlib.sha256(repr((_FORMAT, kind.__module__, kind.__qualname__, kind.version, transform)).encode())
        for name in ("ptr", "edge_index", transform.weight):
            if name is not None:
                digest.update(repr(list(bare[name].shape)).encode())
                digest.update(bare[name].contiguous().numpy())
        keys.append(digest.hexdigest())
    return keys


def _run(tasks: list[tuple[Data, list[tuple[StructuralTransform, Path | None]]]], n_jobs: int | None) -> Iterator[list[Values]]:
    """The values of each task, in their order."""
    import joblib

    if n_jobs is None:
        n_jobs = -1
        for number, task in enumerate(tasks, 1):
            start = time.perf_counter()
            yield _compute(*task)
            # The first one also compiles kernels, and so says little about the others.
            if number > 1 and (time.perf_counter() - start) * (len(tasks) - number) > _WORTH_WORKERS:
                break
        tasks = tasks[number:] if tasks else []
    if len(tasks) < 2 or joblib.effective_n_jobs(n_jobs) == 1:
        yield from (_compute(*task) for task in tasks)
    else:
        yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator")(joblib.delayed(_compute)(*task) for task in tasks)


def _compute(bare: Data, transforms: list[tuple[StructuralTransform, Path | None]]) -> list[Values]:
    """What each transform adds to the graphs, written where it belongs."""
    out = []
    for transform, path in transforms:
        with _one_thread() if int(bare.ptr.diff().max()) <= _SMALL else contextlib.nullcontext():
            values = {name: value.contiguous() for name, value in transform(bare) if name not in bare}
        if path is not None:
            with contextlib.suppress(OSError):
                _store(path, values)
        out.append(values)
    return out


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small graphs are thousands of short operations; on busy cores it costs most that threads wait for each other in each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _attach(graphs: list[Data], transforms: list[StructuralTransform], values: list[Values], sizes: list[int]) -> None:
    """Gives each graph its part of the values."""
    rows = {"node": sizes, "pair": [size**2 for size in sizes]}
    for transform, added in zip(transforms, values, strict=True):
        for name, value in added.items():
            place = transform.adds[name]
            parts = value.split(rows[place]) if place in rows else _split_edges(transform, added, name, sizes)
            for graph, part in zip(graphs, parts, strict=True):
                graph[name] = part


def _split_edges(transform: StructuralTransform, added: Values, name: str, sizes: list[int]) -> tuple[Tensor, ...]:
    """The edges that a transform made for each graph, or an attribute with a row for each of them."""
    index = next(value for key, value in added.items() if transform.adds[key] == "edge_index")
    end = torch.tensor(sizes).cumsum(0)
    graph = torch.bucketize(index[0].contiguous(), end, right=True)
    order, counts = graph.argsort(stable=True), graph.bincount(minlength=len(sizes)).tolist()
    if transform.adds[name] == "edge":
        return added[name][order].split(counts)
    first = end - torch.tensor(sizes)
    return (index - first[graph])[:, order].split(counts, dim=1)


def _refuse_too_large(transforms: list[StructuralTransform], values: list[Values], sizes: list[int], all_pairs: int) -> None:
    """Raises where the pairs of all graphs would not fit in memory, estimated from those of one chunk."""
    made = zip(transforms, values, strict=True)
    held = sum(value.nbytes for one, added in made for name, value in added.items() if one.adds[name] == "pair")
    if held:
        refuse_too_many_pairs("encodings", all_pairs, held * all_pairs // sum(size**2 for size in sizes))


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(array.data)
    return digest.hexdigest()


def _store(path: Path, values: Values) -> None:
    import safetensors.numpy

    arrays = {name: value.numpy() for name, value in values.items()}
    write_atomically(path, safetensors.numpy.save(arrays, {"checksum": _checksum(arrays)}))


def _load(path: Path) -> Values | None:
    """The values of a cache file, or None where there is none or it is damaged."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np") as file:
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            if file.metadata()["checksum"] != _checksum(arrays):
                return None
        os.utime(path)  # used now: see drop_oldest
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return None
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
