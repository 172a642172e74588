"""Graphs as tensors and arrays in a file: a torch_geometric `Data` or a dictionary saved by torch, or a NumPy archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch

from graphattn.errors import InputError
from graphattn.tables import text_frame
from graphattn.tables.open import MOST_BYTES, open_binary

_TORCH, _NUMPY = (".pt", ".pth"), (".npz",)
# Cells of `x` become text, as those of tables are.
_MOST_CELLS = 50_000_000


def is_saved(path: str | Path) -> bool:
    """Whether a file's name ends like those of saved tensors or arrays."""
    return PurePath(path).suffix.lower() in (*_TORCH, *_NUMPY)


def read_saved(path: str | Path, directed: bool, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Reads a graph: `edge_index`, and where it is there `x`, `y`, `num_nodes` and `class_names`.

    Nothing in the file can run code: torch reads it with `weights_only=True`, where torch_geometric's `Data` is the one class
    that is known beside tensors and plain values, and NumPy without pickles.

    Args:
        path: the file.
        directed: whether directions will be kept; the file does not say.
        notes: gets sentences on what was found.

    Returns:
        A table of its nodes: `id`, their numbers from 0; `y`, and a column `x.0`, `x.1`, … for each feature; and the ids of its
        edges: source, target, source, target, ….

    Raises:
        InputError: where it cannot be read, or holds no graph.
    """
    del directed
    content = _torch(path) if PurePath(path).suffix.lower() in _TORCH else _numpy(path)
    arrays = {name: _array(content.get(name), name, path) for name in ("edge_index", "x", "y")}
    edges, x, y = arrays["edge_index"], arrays["x"], arrays["y"]
    if edges is None or edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
        what = "none" if edges is None else f"{edges.dtype} {list(edges.shape)}"
        raise InputError(f"{path} must hold edge_index, integers of shape [2, edges], got {what}; it holds {_listed(content)}")
    sizes = {len(array) for array in (x, y) if array is not None and array.ndim}
    given = content.get("num_nodes")
    nodes = int(given) if given is not None else max([*sizes, int(edges.max(initial=-1)) + 1])
    if sizes - {nodes} or edges.max(initial=-1) >= nodes or edges.min(initial=0) < 0 or nodes < 1:
        raise InputError(f"{path} has x, y and edge_index of different numbers of nodes: {sorted({nodes, *sizes})}")
    columns: dict[str, Any] = {"id": list(range(nodes))}
    if y is not None:
        columns["y"] = _labels(y, content.get("class_names"), path)
    if x is not None:
        x = x.reshape(nodes, -1)
        if x.size > _MOST_CELLS:
            raise InputError(
                f"{path} has {x.size:,} entries of x; up to {_MOST_CELLS:,} are read from a file; use Python instead"
            )
        columns |= {f"x.{place}": x[:, place].tolist() for place in range(x.shape[1])}
    others = [name for name in content if name not in ("edge_index", "x", "y", "num_nodes", "class_names")]
    if others:
        notes.append(f"{path} also holds {_listed(others)}, which are not read")
    frame = text_frame(pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()}))
    return frame, [str(node) for node in edges.T.ravel().tolist()]


def _torch(path: str | Path) -> Mapping[str, Any]:
    from torch_geometric.data import Data
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    with open_binary(path) as file:
        stream = io.BytesIO(file.read(MOST_BYTES))
    known = torch.serialization.get_safe_globals()
    # Those that torch_geometric has registered itself stay: the end of the block would take them away.
    more = [kind for kind in (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage) if kind not in known]
    try:
        with torch.serialization.safe_globals(more):
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception:  # whatever the file makes of torch's reader; its message would advise to run the file's code
        raise InputError(
            f"{path} cannot be read safely: expected what torch.save writes of a torch_geometric Data, or of a dictionary of "
            "tensors such as data.to_dict()"
        ) from None
    # The files of torch_geometric's data sets hold a pair of the graph and where its parts are cut.
    content = content[0] if isinstance(content, tuple) and content else content
    content = content.to_dict() if isinstance(content, Data) else content
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds {type(content).__name__}; expected a torch_geometric Data or a dictionary of tensors")
    return content


def _numpy(path: str | Path) -> Mapping[str, Any]:
    with open_binary(path) as file:
        stream = io.BytesIO(file.read(MOST_BYTES))
    try:
        if not zipfile.is_zipfile(stream):
            raise ValueError("it is no archive of arrays")
        with np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged archives raise errors of many kinds
        raise InputError(f"{path} cannot be read as an .npz file of numbers: {' '.join(str(error).split())[:200]}") from None


def _array(value: Any, name: str, path: str | Path) -> np.ndarray | None:
    if value is None:
        return None
    try:
        dense = value.to_dense() if isinstance(value, torch.Tensor) and value.layout != torch.strided else value
        array = np.asarray(dense.double() if isinstance(dense, torch.Tensor) and dense.dtype == torch.bfloat16 else dense)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{path} holds {type(value).__name__} as {name}; expected a tensor or an array") from None
    if array.dtype.kind not in "biufU":
        raise InputError(f"{path} holds {name} of {array.dtype}; expected numbers")
    return array


def _labels(y: np.ndarray, class_names: Any, path: str | Path) -> list[Any]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"{path} holds y of shape {list(y.shape)}; expected one label a node")
    values = y.tolist()
    if y.dtype.kind in "iu":  # -1 is an unlabelled node
        names = None if class_names is None else [str(name) for name in class_names]
        if names is not None and y.max(initial=-1) >= len(names):
            raise InputError(f"{path} holds class {y.max()}, but class_names has {len(names)} names")
        return [None if value < 0 else value if names is None else names[value] for value in values]
    return values


def _listed(names: Any) -> str:
    return ", ".join(list(map(str, names))[:20]) or "nothing"
