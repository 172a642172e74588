"""What a run needs of a molecule besides its graph, made while it is parsed, so that no SMILES is parsed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from graphattn.chem.murcko import scaffold_of
from graphattn.chem.smiles import as_seen

RECORD_VERSION = 2
"""Raised whenever the same SMILES would have another record; part of the cache's key."""

Record = tuple[str, str, float]
BAD_RECORD: Record = ("", "", float("nan"))
"""That of a bad SMILES."""


@dataclass
class MoleculeRecords:
    """One entry for each SMILES of a list.

    Attributes:
        canonical: RDKit's canonical SMILES without isotopes and atom maps, which a model does not see: equal for molecules that
            it cannot tell apart; "" where the SMILES is bad.
        scaffolds: the Bemis–Murcko scaffold, see `graphattn.chem.scaffold`; "" where there is no ring or the SMILES is bad.
        logp: the Wildman–Crippen logP; NaN where the SMILES is bad.
    """

    canonical: list[str] = field(default_factory=list)
    scaffolds: list[str] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Appends what `record_of` found of a molecule, or `BAD_RECORD`."""
        for values, value in zip((self.canonical, self.scaffolds, self.logp), record, strict=True):
            values.append(value)  # type: ignore[attr-defined]

    def pack(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays: text as bytes, a line an entry."""
        return {
            "canonical": _bytes(self.canonical),
            "scaffolds": _bytes(self.scaffolds),
            "logp": np.array(self.logp, dtype=np.float64),
        }

    @classmethod
    def unpack(cls, arrays: dict[str, npt.NDArray[Any]]) -> MoleculeRecords:
        """The inverse of `pack`."""
        logp = arrays["logp"].tolist()
        return cls(_lines(arrays["canonical"], len(logp)), _lines(arrays["scaffolds"], len(logp)), logp)


def record_of(mol: Any, logp: float) -> Record:
    """Canonical SMILES, scaffold and logP of a molecule. Call it before stereo labels are set."""
    return str(Chem.MolToSmiles(as_seen(mol))), scaffold_of(mol), logp


def join_records(parts: Sequence[MoleculeRecords]) -> MoleculeRecords:
    """The records of lists of SMILES one after the other."""
    return MoleculeRecords(
        [text for part in parts for text in part.canonical],
        [text for part in parts for text in part.scaffolds],
        [value for part in parts for value in part.logp],
    )


def _bytes(texts: list[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer("\n".join(texts).encode(), dtype=np.uint8)


def _lines(content: npt.NDArray[np.uint8], count: int) -> list[str]:
    lines = content.tobytes().decode().split("\n") if count else []
    if len(lines) != count:
        raise ValueError(f"{len(lines)} lines for {count} molecules")
    return lines
