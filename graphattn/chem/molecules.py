"""SMILES → torch_geometric graphs: one molecule, or a whole list in parallel and cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import rdkit
import safetensors
import safetensors.numpy
import torch
from torch_geometric.data import Data

from graphattn.cache import drop_oldest, user_cache, write_atomically
from graphattn.chem.features import (
    ATOM_FEATURES,
    BOND_FEATURES,
    FEATURE_VERSION,
    MoleculeArrays,
    concatenate,
    featurise_chunk,
    one_hot,
)
from graphattn.chem.records import RECORD_VERSION, MoleculeRecords
from graphattn.chem.smiles import bad_smiles
from graphattn.errors import InputError

_CHUNK = 1000
# One core reads about 3,500 molecules in the time that workers take to start; two of them break even near 7,000.
_WORTH_WORKERS = 10_000
# Fewer are read again faster than they are found on disk.
_WORTH_CACHING = 500
_CACHE_LIMIT = 2**30  # bytes


@dataclass(frozen=True)
class Molecules:
    """The graphs of a list of SMILES, one entry per row.

    Attributes:
        graphs: for each row its graph, or None where the SMILES is bad.
        errors: number of a bad row → why.
        fingerprints: the packed Morgan fingerprint of each row, uint8, see `graphattn.chem.fingerprints`; 0 where it is bad.
        records: canonical SMILES, scaffold and Crippen logP of each row, where `featurise` was asked to describe them.
    """

    graphs: list[Data | None]
    errors: dict[int, str]
    fingerprints: np.ndarray
    records: MoleculeRecords | None = None

    def __len__(self) -> int:
        return len(self.graphs)


def from_smiles(smiles: str) -> Data:
    """The graph of one molecule.

    Returns:
        Data with x [atoms, ATOM_WIDTH] float32 one-hot, edge_index [2, edges] int64 (source above target, both
        directions of each bond, sorted by target), edge_attr [edges, BOND_WIDTH] float32 one-hot, and smiles.

    Raises:
        InputError: the SMILES is empty, has a syntax error, or describes a molecule that cannot be.
    """
    arrays = featurise_chunk([smiles])
    if arrays.errors:
        raise bad_smiles(smiles, arrays.errors[0])
    (graph,) = _graphs(arrays, torch.float32)
    graph.smiles = smiles
    return graph


def featurise(
    smiles: Iterable[object],
    *,
    n_jobs: int | None = None,
    cache: Path | str | None = "default",
    progress: Callable[[int], None] | None = None,
    describe: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Molecules:
    """The graphs of many molecules; the same for any number of jobs, with or without the cache.

    Each graph has x, edge_index and edge_attr as `from_smiles` gives them, as views of tensors that all molecules
    share: clone before writing into them. A float32 x takes 852 bytes an atom, about 23 KB a molecule of drug size, so feed
    very long lists in chunks.

    Args:
        smiles: SMILES, one a row; None, NaN and anything unreadable keep their row, with a reason in `errors`.
        n_jobs: worker processes, as in joblib (-1: one a core). None: one a core where the list is long enough to gain.
        cache: folder of the cache, or None for none. "default": the user's cache (`graphattn.cache.user_cache`), for
            lists long enough to gain. Entries are found by content, the least recently used go above 1 GiB, and a
            folder that cannot be written is no error.
        progress: called with the number of rows done since the last call.
        describe: whether to fill `records` in the same pass.
        dtype: of x and edge_attr; uint8 takes a quarter of the memory.

    Raises:
        InputError: `smiles` is one string.
    """
    if isinstance(smiles, str):
        raise InputError(f"smiles is one string, {smiles[:60]!r}, but must be a list of them; from_smiles takes one")
    rows = list(smiles)
    if cache == "default":
        cache = user_cache("molecules") if len(rows) >= _WORTH_CACHING else None
    path = None if cache is None else Path(cache) / f"molecules-{_key(rows, describe)}.safetensors"

    arrays = None if path is None else _load(path)
    if arrays is not None:
        if progress is not None:
            progress(len(rows))
    else:
        chunks = []
        for chunk in _featurise_chunks(rows, n_jobs, describe):
            chunks.append(chunk)
            if progress is not None:
                progress(len(chunk.atom_ptr) - 1)
        arrays = concatenate(chunks) if chunks else featurise_chunk([], describe)
        if path is not None:
            with contextlib.suppress(OSError):
                _store(path, arrays)
    graphs = [None if row in arrays.errors else graph for row, graph in enumerate(_graphs(arrays, dtype))]
    return Molecules(graphs, arrays.errors, arrays.fingerprints, arrays.records)


def _featurise_chunks(rows: list[object], n_jobs: int | None, describe: bool) -> Iterator[MoleculeArrays]:
    if n_jobs is None:
        n_jobs = -1 if len(rows) >= _WORTH_WORKERS else 1
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    if joblib.effective_n_jobs(n_jobs) == 1:
        yield from (featurise_chunk(chunk, describe) for chunk in chunks)
    else:
        parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
        yield from parallel(joblib.delayed(featurise_chunk)(chunk, describe) for chunk in chunks)


def _graphs(arrays: MoleculeArrays, dtype: torch.dtype) -> list[Data]:
    """A graph for every row; bad rows have empty ones."""
    atoms, edges = np.diff(arrays.atom_ptr).tolist(), np.diff(arrays.edge_ptr).tolist()
    xs = torch.from_numpy(one_hot(arrays.atoms, ATOM_FEATURES)).to(dtype).split(atoms)
    edge_indices = torch.from_numpy(arrays.edge_index.astype(np.int64)).split(edges, dim=1)
    edge_attrs = torch.from_numpy(one_hot(arrays.bonds, BOND_FEATURES)).to(dtype).split(edges)
    return [
        Data(x=x, edge_index=edge_index, edge_attr=edge_attr)
        for x, edge_index, edge_attr in zip(xs, edge_indices, edge_attrs, strict=True)
    ]


def _key(rows: list[object], describe: bool) -> str:
    """What the arrays depend on, and nothing else. RDKit counts: releases differ in what they call aromatic."""
    records = RECORD_VERSION if describe else None
    meaning = (FEATURE_VERSION, rdkit.__version__, ATOM_FEATURES, BOND_FEATURES, rows, records)
    return hashlib.sha256(repr(meaning).encode(errors="backslashreplace")).hexdigest()


def _checksum(tensors: Mapping[str, np.ndarray], errors: str) -> str:
    digest = hashlib.sha256(errors.encode())
    for name, array in sorted(tensors.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _store(path: Path, arrays: MoleculeArrays) -> None:
    fields = {name: array for name, array in arrays._asdict().items() if name not in ("errors", "records")}
    tensors = {**fields, **(arrays.records.pack() if arrays.records is not None else {})}
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    errors = json.dumps(arrays.errors)
    write_atomically(path, safetensors.numpy.save(tensors, {"errors": errors, "checksum": _checksum(tensors, errors)}))
    drop_oldest(path.parent, "molecules-*", _CACHE_LIMIT)


def _load(path: Path) -> MoleculeArrays | None:
    """The arrays of a cache file, or None where there is none or it is damaged."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        if metadata["checksum"] != _checksum(tensors, metadata["errors"]):
            return None
        errors = {int(row): reason for row, reason in json.loads(metadata["errors"]).items()}
        fields = {name: tensors[name] for name in MoleculeArrays._fields if name not in ("errors", "records")}
        records = MoleculeRecords.unpack(tensors) if "logp" in tensors else None
        arrays = MoleculeArrays(**fields, errors=errors, records=records)
        os.utime(path)  # used now: see drop_oldest
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays
