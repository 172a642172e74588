"""How alike molecules are: Morgan fingerprints, packed, and the Tanimoto similarity of the nearest of many."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit.Chem import rdFingerprintGenerator

BITS = 2048
_RADIUS = 2
# Molecules compared at a time, which keeps the product of both below 70 MB.
_BLOCK = 4096


def fingerprint_of(mol: Any) -> bytes:
    """The Morgan fingerprint of an RDKit molecule, radius 2, packed: `BITS` / 8 bytes.

    Source: Rogers & Hahn, "Extended-connectivity fingerprints" (2010).
    """
    bits: npt.NDArray[np.uint8] = _generator().GetFingerprintAsNumPy(mol)
    return np.packbits(bits).tobytes()


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=BITS)


def nearest(queries: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], count: int = 1) -> npt.NDArray[np.float32]:
    r"""The largest Tanimoto similarities of each molecule to others, descending.

    .. math::
        |a \cap b| / |a \cup b|

    of the bits of both; 0 where neither has any.

    Args:
        queries, others: packed fingerprints, [rows, BITS / 8].
        count: how many; where there are fewer others, 0 stands for those that lack.

    Returns:
        [queries, count].
    """
    best = np.zeros((len(queries), count), dtype=np.float32)
    for start in range(0, len(others), _BLOCK):
        block = _unpacked(others[start : start + _BLOCK])
        for first in range(0, len(queries), _BLOCK):
            rows = slice(first, first + _BLOCK)
            bits = _unpacked(queries[rows])
            common = bits @ block.T
            union = bits.sum(axis=1, keepdims=True) + block.sum(axis=1) - common
            alike = np.concatenate([best[rows], common / np.maximum(union, 1)], axis=1)
            best[rows] = -np.sort(-np.partition(alike, -count, axis=1)[:, -count:], axis=1)
    return best


def _unpacked(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.unpackbits(packed, axis=1).astype(np.float32)  # whose product is exact
